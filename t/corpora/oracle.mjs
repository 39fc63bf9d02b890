// Mints every case now, asks the official SDKs, writes out/{tokens,stripe,bodies,transport,wycheproof}.json.
// node oracle.mjs [keys-dir=keys] [out-dir=out]
import fs from 'node:fs';
import http from 'node:http';
import { verifyToken, createClerkClient } from '@clerk/backend';
import * as jose from 'jose';
import Stripe from 'stripe';
import * as L from './load.mjs';

const [dir = 'keys', out = 'out'] = process.argv.slice(2);
const K = L.loadKeys(dir);
fs.mkdirSync(out, { recursive: true });
const write = (f, o) => fs.writeFileSync(`${out}/${f}`, L.J(o, null, 1) + '\n');
const docs = { any: K.jwksText, hostile: K.hostileText, optional: K.optionalText };
let doc = docs.any;
const srv = http.createServer((q, r) => r.setHeader('content-type', 'application/json').end(doc)).listen(0, '127.0.0.1');
await new Promise((r) => srv.once('listening', r));
const apiUrl = `http://127.0.0.1:${srv.address().port}`;
const ap = { authorizedParties: [L.AZP, L.AZP2], clockSkewInMs: 5000 };
const short = (e) => String(e?.reason ?? e?.name ?? e).slice(0, 60);
const ask = async (f) => { try { await f(); return 'accept'; } catch (e) { return 'reject:' + short(e); } };
const client = createClerkClient({ publishableKey: L.PUBLISHABLE, secretKey: 'sk_test_x' });
const verdicts = {
  clerk_pem: (t) => ask(() => verifyToken(t, { jwtKey: K.pem, ...ap })),
  clerk_jwks: (t, m) => ask(() => verifyToken(t, { secretKey: 'sk_test_' + m, apiUrl, ...ap })),
  clerk_request: (t) => ask(async () => { // whole request, pending counts as signed out
    const s = await client.authenticateRequest(new Request('https://app.example.com/', { headers: { authorization: 'Bearer ' + t } }), { jwtKey: K.pem, ...ap });
    const a = s.toAuth(); if (!a?.userId) throw { reason: s.reason ?? 'signed-out' }; }),
  jose_strict: (t, m) => ask(async () => {
    const set = jose.createLocalJWKSet(JSON.parse(docs[m]));
    const { payload: p } = await jose.jwtVerify(t, set, { algorithms: ['RS256'], issuer: L.ISS, clockTolerance: 5, requiredClaims: ['exp', 'sub', 'azp'] });
    if (![L.AZP, L.AZP2].includes(p.azp) || typeof p.sub !== 'string' || p.sts === 'pending') throw { reason: 'claims' }; }),
};
const v = (s) => s.split(':')[0], rows = [], notes = [];
for (const c of L.tokens) {
  doc = docs[c.mode];
  const now = await L.mintNow(c.tight), token = c.make(new L.Ctx(K, now)), r = { name: c.name, mode: c.mode, expect: c.expect, why: c.why, token };
  const names = c.mode === 'any' ? Object.keys(verdicts) : ['clerk_jwks', 'jose_strict'];
  for (const n of names) r[n] = await verdicts[n](token, c.mode);
  const want = L.expectFor(c, 'jwks'), wantPem = L.expectFor(c, 'pem');
  r.differs = [...(want !== 'either' && v(r.clerk_jwks) !== want ? ['clerk_jwks'] : []), ...(r.clerk_pem && wantPem !== 'either' && v(r.clerk_pem) !== wantPem ? ['clerk_pem'] : []), ...(want !== 'either' && v(r.jose_strict) !== want ? ['jose_strict'] : [])];
  if (r.differs.length) notes.push(r);
  rows.push(r);
}
write('tokens.json', { minted: Math.floor(Date.now() / 1000), keys: JSON.parse(K.jwksText).keys, cases: rows });
const st = [];
for (const c of L.stripes) {
  const now = await L.mintNow(c.tight), q = c.make(now), h = q.headers.map((x) => x[1]).join(', ');
  const sdk = await ask(() => Stripe.webhooks ? Stripe.webhooks.constructEvent(q.body, h, L.STRIPE_SECRET) : new Stripe('sk_test_x').webhooks.constructEvent(q.body, h, L.STRIPE_SECRET));
  st.push({ name: c.name, expect: c.expect, why: c.why, headers: q.headers, body_b64: q.body.toString('base64'), sdk, differs: c.expect !== 'either' && v(sdk) !== c.expect });
}
write('stripe.json', { secret: L.STRIPE_SECRET, cases: st });
write('bodies.json', { cases: L.bodies.map((c) => { const q = c.make(); return { name: c.name, schema: c.schema, expect: c.expect, why: c.why, headers: q.headers ?? null, chunked: q.chunked ?? 0, bytes: q.body.length, body_b64: q.body.length > 4096 ? undefined : q.body.toString('base64') }; }) });
write('transport.json', { cases: L.transports.map((c) => ({ name: c.name, expect: c.expect, why: c.why, headers: c.make('TOKEN', 'BADTOKEN') })) });
let wy = '';
const w = L.data('wycheproof-jws.json');
if (w) {
  let bad = [];
  for (const c of w.cases) { const got = await ask(async () => { const k = w.keys[c.key]; await jose.compactVerify(c.token, await jose.importJWK(k, c.alg), { algorithms: [c.alg] }); }); c.jose = got; if (v(got) !== c.expect) bad.push(`${c.name}: want ${c.expect}, jose ${got}`); }
  write('wycheproof.json', w); wy = `; wycheproof ${w.cases.length} (jose differs on ${bad.length})`; for (const b of bad) console.log('  wycheproof ' + b);
}
srv.close(); srv.closeAllConnections();
for (const r of notes) console.log(`  ${r.name}: want ${typeof r.expect === 'string' ? r.expect : L.J(r.expect)}; ` + ['clerk_pem', 'clerk_jwks', 'clerk_request', 'jose_strict'].filter((n) => r[n]).map((n) => n + '=' + r[n]).join(' '));
for (const r of st) if (r.differs) console.log(`  ${r.name}: want ${r.expect}; stripe sdk ${r.sdk}`);
console.log(`tokens ${rows.length}, differing ${notes.length}; stripe ${st.length}, differing ${st.filter((r) => r.differs).length}; bodies ${L.bodies.length}; transport ${L.transports.length}${wy}`);
