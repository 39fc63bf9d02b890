// Replays cases against a live server. No dependencies.
// node drive.mjs --url http://127.0.0.1:8080 --path /me [--suite tokens|transport|stripe|bodies] [--via bearer|cookie]
//   [--mode jwks|pem|hostile|optional] [--keys keys] [--method GET] [--accept 200,204] [--schema action|preview]
//   [--only regex] [--corpus file.json] [--verbose] [--summary]
//   [--bearer KEY | --header "Name: value"]: an API key (a pair: --header twice) instead of a fresh token, for --suite bodies
// tokens are minted with a fresh "now" just before each request, so the server must use the same keys directory.
// --corpus replays a static list {cases:[{name,token,expect}]} instead (tokens age: run it within 50 s of minting).
import fs from 'node:fs';
import { parseArgs } from 'node:util';
import * as L from './load.mjs';

const { values: o } = parseArgs({ options: Object.fromEntries(['url', 'path', 'suite', 'via', 'mode', 'keys', 'method', 'accept', 'schema', 'only', 'corpus'].map((k) => [k, { type: 'string' }]).concat(['verbose', 'summary'].map((k) => [k, { type: 'boolean' }])).concat([['bearer', { type: 'string' }], ['header', { type: 'string', multiple: true }]])) });
const u = new URL(o.url ?? 'http://127.0.0.1:8080'), suite = o.suite ?? 'tokens', mode = o.mode ?? 'jwks', via = o.via ?? 'bearer';
const acceptSet = (o.accept ?? '200,201,202,204').split(',').map(Number);
const K = o.bearer || o.header ? null : L.loadKeys(o.keys ?? 'keys'), only = o.only ? new RegExp(o.only) : null;
const target = { host: u.hostname, port: +(u.port || 80), path: o.path ?? u.pathname };
const carry = (t) => via === 'cookie' ? [['Cookie', '__session=' + t]] : [['Authorization', 'Bearer ' + t]];
const credential = () => o.bearer ? [['Authorization', 'Bearer ' + o.bearer]] : o.header ? o.header.map((h) => h.split(/:\s*/, 2)) : carry(fresh());
const fresh = (x) => new L.Ctx(K, Math.floor(Date.now() / 1000)).ok(x);
const size = (h) => h.reduce((n, [k, v]) => n + k.length + v.length, 0);

// Server verdict: accept, reject, or 'broken' (5xx, dropped, timeout). A drop on an oversized header counts as reject.
const verdict = (r, hsize) => acceptSet.includes(r.status) ? 'accept' : r.status >= 500 ? 'broken' : r.status ? 'reject' : hsize > 16000 && r.error !== 'timeout' ? 'reject' : 'broken';
const bodyOk = { ok: (s) => ![400, 413, 415, 422].includes(s), bad: (s) => s === 400 || s === 422, type: (s) => s === 415 || s === 400, big: (s) => s === 413 || s === 400, 'bad|ok': () => true };
let n = 0, agree = 0; const bad = [];
async function run(c, expect, req) {
  let r;
  for (let i = 0; i < 3; i++) { r = await L.request({ ...target, ...req }); if (r.status || !/EPIPE|ECONNRESET/.test(r.error)) break; } // early close is a race; a crash repeats
  const got = verdict(r, size(req.headers));
  let why = '';
  if (suite === 'bodies') { if (!r.status || r.status >= 500 || r.status === 401 || !bodyOk[expect](r.status)) why = `want ${expect}`; }
  else if (got === 'broken' || (expect !== 'either' && got !== expect)) why = `want ${expect}`;
  if (r.headers['x-evil']) why += ' header injection';
  if (got === 'accept') for (const [k, v] of Object.entries(c.claims ?? {})) { const h = r.headers['x-claim-' + k]; if (h !== undefined && h !== v) why += ` x-claim-${k}=${h}, want ${v}`; }
  n++; if (why) bad.push(`${c.name}: ${why}, got ${r.status || r.error} (${c.why})`); else agree++;
  if (o.verbose) console.log(`${why ? 'DIFF' : 'ok  '} ${c.name} ${r.status || r.error}`);
}
const pick = (list) => list.filter((c) => !only || only.test(c.name));
if (o.corpus) for (const c of pick(JSON.parse(fs.readFileSync(o.corpus)).cases)) await run(c, typeof c.expect === 'string' ? c.expect : c.expect[mode === 'pem' ? 'pem' : 'jwks'], { method: o.method ?? 'GET', headers: carry(c.token) });
else if (suite === 'tokens') for (const c of pick(L.tokens).filter((c) => L.applies(c, mode))) {
  const now = await L.mintNow(c.tight);
  await run(c, L.expectFor(c, mode), { method: o.method ?? 'GET', headers: carry(c.make(new L.Ctx(K, now))) });
} else if (suite === 'transport') for (const c of pick(L.transports)) await run(c, c.expect, { method: o.method ?? 'GET', headers: c.make(fresh(), fresh({ exp: 1 })) });
else if (suite === 'stripe') for (const c of pick(L.stripes)) {
  const now = await L.mintNow(c.tight), q = c.make(now);
  await run(c, c.expect, { method: 'POST', headers: [['Content-Type', 'application/json'], ...q.headers], body: q.body, chunked: q.chunked });
} else if (suite === 'bodies') for (const c of pick(L.bodies).filter((c) => !o.schema || c.schema === o.schema)) {
  const q = c.make();
  await run(c, c.expect, { method: o.method ?? 'POST', headers: [...credential(), ...(q.headers ?? [['Content-Type', 'application/json']])], body: q.body, chunked: q.chunked });
} else throw new Error('unknown suite ' + suite);
console.log(`${n} cases, ${agree} agree, ${n - agree} disagree`);
if (!o.summary) for (const b of bad) console.log('  ' + b);
process.exitCode = bad.length ? 1 : 0;
