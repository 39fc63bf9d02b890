// Puts the acceptance corpus (t/corpora, or LINES_CORPORA) to t/unit/verify and, for
// tokens, to the official @clerk/backend, and prints TAP.
//   node corpus.mjs VERIFY WORK-DIR [MODULES-DIR, where @clerk/backend is installed]
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';
import { spawn } from 'node:child_process';
import { pathToFileURL } from 'node:url';

const [verify, work, modules] = process.argv.slice(2);
const corpora = process.env.LINES_CORPORA;
const L = await import(pathToFileURL(path.join(corpora, 'load.mjs')));
const keysDir = path.join(work, 'keys');
const K = L.loadKeys(keysDir);
const settings = JSON.parse(fs.readFileSync(path.join(keysDir, 'settings.json')));

let n = 0, failed = 0;
const ok = (pass, name, ...notes) => {
  console.log(`${pass ? '' : 'not '}ok ${++n} - ${name}`);
  if (!pass) { failed++; for (const x of notes) console.log('#   ' + x); }
};

// ---- the logic under test
const hex = (s) => Buffer.from(s, typeof s === 'string' ? 'latin1' : undefined).toString('hex') || '=';
function judge(keys) {
  const p = spawn(verify, [path.join(keysDir, keys), settings.iss, settings.authorized_parties.join(','),
    String(settings.clock_skew_s * 1000), settings.stripe_secret], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = [];
  let code = null;
  readline.createInterface({ input: p.stdout }).on('line', (l) => waiting.shift()?.(l));
  p.on('exit', (c) => { code = c; for (const w of waiting) w('broken'); });
  return {
    ask: (...words) => new Promise((res) => { if (code !== null) return res('broken'); waiting.push(res); p.stdin.write(words.join(' ') + '\n'); }),
    end: () => new Promise((res) => { p.on('exit', res); p.stdin.end(); if (code !== null) res(code); }),
  };
}
const verdict = (s) => s.split(' ')[0];
const agrees = (expect, got) => got !== 'broken' && (expect === 'either' || expect === got);

// ---- the official SDK
// Where the logic is stricter than the SDK: token or key, and why.
const STRICTER = {
  'hdr-crit-unknown': 'RFC 7515 4.1.11: what is critical and unknown must be refused',
  'hdr-crit-null': 'RFC 7515 4.1.11: crit is a list of names',
  'kid-array': 'a kid is a string; JavaScript coerces ["ins_main"]',
  'exp-1e400': 'beyond a double: the SDK never lets Infinity expire',
  'exp-int64-max': 'beyond 2^53: no exact integer (RFC 7493)',
  'exp-2pow64-plus': 'beyond 2^53',
  'iat-1e18': 'beyond 2^53: the SDK takes an invalid Date for the past',
  'iss-missing': 'the issuer must match',
  'sub-crlf': 'control characters never reach a header or a log',
  'sub-lone-surrogate': 'no UTF-8 form',
  'sts-pending': 'signed out (the SDK says so a layer above verifyToken)',
  'hdr-cat-template': 'a template\'s token is made for third parties (the SDK refuses it a layer above verifyToken)',
  'json-bad-utf8': 'RFC 8259 8.1: JSON is UTF-8',
  'json-bom': 'RFC 8259 8.1: no byte order mark',
  'json-name-nul': 'U+0000 in a name',
  'json-unused-1e400': 'a number beyond a double',
  'json-deep-header-1500': 'nesting is bounded before anything is parsed',
  'b64-pad-sig': 'RFC 7515 2: no padding',
  'b64-pad-header': 'RFC 7515 2: no padding',
  'b64-pad-payload': 'RFC 7515 2: no padding',
  'v2-o-string': 'an organization that cannot be read is not guessed',
  'v2-o-array': 'an organization that cannot be read is not guessed',
  'v2-o-number': 'an organization that cannot be read is not guessed',
  'v2-o-id-number': 'an organization that cannot be read is not guessed',
  'v2-o-id-nul': 'U+0000 in a string',
  'alg-dup-none-then-good': 'a member that stands twice',
  'iss-dup-wrong-then-right': 'a member that stands twice',
  'json-dup-exp-expired-then-valid': 'a member that stands twice',
  'hostile-weak-1024': 'RFC 7518 3.3: RSA keys have 2048 bits or more',
  'hostile-nokid': 'a token and a key without kid do not belong together',
  'hostile-dup-last': 'a kid that names two keys names neither',
};
const sdk = modules ? createRequire(path.join(path.resolve(modules), 'package.json'))('@clerk/backend') : null;
let doc = '', hits = 0;
const srv = sdk && http.createServer((q, r) => { hits++; r.setHeader('content-type', 'application/json').end(doc); }).listen(0, '127.0.0.1');
if (srv) await new Promise((r) => srv.once('listening', r));
async function official(token, mode) {
  const how = mode === 'pem' ? { jwtKey: K.pem } : { secretKey: 'sk_test_' + mode, apiUrl: `http://127.0.0.1:${srv.address().port}` };
  try {
    await sdk.verifyToken(token, { ...how, authorizedParties: settings.authorized_parties, clockSkewInMs: settings.clock_skew_s * 1000 });
    return 'accept';
  } catch (e) { return 'reject'; }
}

const used = new Set();
const files = { jwks: 'jwks.json', pem: 'jwt.pem', hostile: 'jwks-hostile.json', optional: 'jwks-optional.json' };
for (const mode of Object.keys(files)) {
  const j = judge(files[mode]);
  doc = mode === 'hostile' ? K.hostileText : mode === 'optional' ? K.optionalText : K.jwksText;
  for (const c of L.tokens.filter((x) => L.applies(x, mode))) {
    const token = c.make(new L.Ctx(K, await L.mintNow(c.tight)));
    const got = await j.ask('token', hex(token)), expect = L.expectFor(c, mode);
    ok(agrees(expect, verdict(got)), `${mode}: ${c.name}`, `want ${expect}, got ${got} (${c.why})`);
    for (const [k, v] of verdict(got) === 'accept' ? Object.entries(c.claims ?? {}) : [])
      ok(got.includes(` ${k === 'org_id' ? 'tenant' : k}=${v}`), `${mode}: ${c.name}: ${k}`, got);
    if (!sdk) continue;
    const theirs = await official(token, mode);
    if (theirs === verdict(got)) continue;
    used.add(c.name);
    ok(theirs === 'accept' && c.name in STRICTER, `${mode}: ${c.name}: stricter than the SDK: ${STRICTER[c.name]}`, `the SDK says ${theirs}, we say ${got}`);
  }
  ok(await j.end() === 0, `${mode}: verify ends well`);
}
// ---- others like it: tokens with one or two members replaced. What we accept, the SDK accepts.
if (sdk) {
  const j = judge('jwks.json'), seed = Number(process.env.LINES_SEED ?? 1);
  let state = seed >>> 0;
  const rnd = (k) => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return Math.floor(state / 4294967296 * k); };
  const pick = (list) => list[rnd(list.length)];
  const odd = (now) => pick(['null', 'true', 'false', '0', '-0', '-1', '1e3', '2', '2.0', '"2"', '1e400', '-1e400', '1e-400', '9007199254740993', '""', '" "', '"\\u0000"',
    '"\\ud83d\\ude00"', '"\\ud800"', '[]', '{}', '[1]', '["JWT"]', '["RS256"]', '{"id":"org_2abc"}', '{"id":null}', '"JWT"', '"jwt"', '"RS256"', '"none"', '"ins_main"',
    '"ins_second"', '"__proto__"', '"constructor"', '"pending"', '"active"', `"${L.AZP}"`, `"${L.AZP}/"`, `"${L.ISS}"`, `"mch_1"`, '"cl_B7d4PD111AAA"', '"cl_I7d4PD111III"',
    '"cl_B7d4PD333AAA"', String(now), String(now - 4), String(now - 6), String(now + 4), String(now + 7), `${now - 3}.5`, `"${now + 60}"`, `${now + 60}000`, '+1', '01', '1.', '.5', 'NaN']);
  const edit = (text, names, now) => {
    for (let i = 1 + rnd(2); i; i--) {
      const name = JSON.stringify(pick(names)), value = odd(now), how = rnd(4), at = text.indexOf(name + ':');
      if (how === 0 || at < 0) text = text.replace(/^\{/, () => `{${name}:${value},`);                 // twice, or anew, first
      else if (how === 1) text = text.replace(/\}$/, () => `,${name}:${value}}`);                       // last
      else text = text.replace(new RegExp(name + ':("[^"]*"|-?\\d+|\\{[^}]*\\}|\\[[^\\]]*\\])'), () => name + ':' + value);
    }
    return text;
  };
  let accepted = 0, broken = 0;
  const lax = [];
  for (let i = 0; i < 1500; i++) {
    const now = Math.floor(Date.now() / 1000), c = new L.Ctx(K, now);
    const h = rnd(3) ? L.J(L.HDR) : edit(L.J(L.HDR), ['alg', 'typ', 'kid', 'cat', 'crit', 'b64', 'jwk', 'x'], now);
    const p = h !== L.J(L.HDR) && rnd(2) ? L.J(L.v2(now)) : edit(L.J(rnd(3) ? L.v2(now) : L.v1(now)), ['exp', 'nbf', 'iat', 'iss', 'azp', 'sub', 'sid', 'sts', 'v', 'o', 'org_id', 'x'], now);
    const token = c.jws({ h, p });
    const got = await j.ask('token', hex(token));
    if (got === 'broken') { broken++; break; }
    if (verdict(got) !== 'accept') continue;
    accepted++;
    if (await official(token, 'jwks') !== 'accept') lax.push(h + p);
  }
  ok(!broken && accepted > 100, `seed ${seed}: ${accepted} of 1500 altered tokens are accepted`);
  ok(!lax.length, 'the SDK accepts all of them', ...lax.slice(0, 10));
  ok(await j.end() === 0, 'altered: verify ends well');
}
if (sdk) {
  ok(hits > 0, 'the SDK asked for the keys');
  const stale = Object.keys(STRICTER).filter((x) => !used.has(x) && L.tokens.some((c) => c.name === x));
  ok(!stale.length, 'no listed difference that is none', stale.join(' '));
  srv.close(); srv.closeAllConnections();
} else console.log('# @clerk/backend is not installed: not asked');

// ---- how a token is carried
{
  const j = judge('jwks.json'), now = () => Math.floor(Date.now() / 1000);
  for (const c of L.transports) {
    const headers = c.make(new L.Ctx(K, now()).ok(), new L.Ctx(K, now()).ok({ exp: 1 }));
    const of = (name) => headers.filter(([k]) => k === name).map(([, v]) => hex(v));
    const got = await j.ask('carry', of('Authorization')[0] ?? '-', ...of('Cookie'));
    ok(agrees(c.expect, verdict(got)), `transport: ${c.name}`, `want ${c.expect}, got ${got} (${c.why})`);
  }
  ok(await j.end() === 0, 'transport: verify ends well');
}

// ---- Stripe's signatures: one header reaches the logic; two are joined as HTTP says, and refused for the second time
{
  const j = judge('jwks.json');
  for (const c of L.stripes) {
    const q = c.make(await L.mintNow(c.tight));
    const got = await j.ask('stripe', hex(q.headers.map((h) => h[1]).join(', ')), hex(q.body));
    ok(agrees(c.expect, verdict(got)), `stripe: ${c.name}`, `want ${c.expect}, got ${got} (${c.why})`);
  }
  ok(await j.end() === 0, 'stripe: verify ends well');
}

// ---- Wycheproof: only the RSA keys; claims are no Clerk claims, so a good signature ends at the claims
const w = L.data('wycheproof-jws.json');
if (w) {
  const rsa = w.keys.map((k, i) => [k, i]).filter(([k]) => k.kty === 'RSA');
  for (const [key, i] of rsa) {
    const file = `wycheproof-${i}.json`, cases = w.cases.filter((c) => c.key === i);
    fs.writeFileSync(path.join(keysDir, file), JSON.stringify({ keys: [{ ...key, kid: key.kid ?? 'none' }, { ...K.jwks.keys[0], kid: 'beside' }] }));
    const j = judge(file);
    for (const c of cases) {
      const got = await j.ask('token', hex(c.token)), proven = got === 'reject token-invalid-claims';
      ok(verdict(got) === 'reject' && proven === (c.expect === 'accept' || c.proven === true), `wycheproof: ${c.name}`, `want ${c.expect}, got ${got} (${c.why})`);
    }
    ok(await j.end() === 0, `wycheproof: key ${i}: verify ends well`);
  }
}

console.log(`1..${n}`);
process.exitCode = failed ? 1 : 0;
