// Makes the first inputs of the fuzzers from the acceptance corpus: node seeds.mjs CORPORA OUT-DIR
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [corpora, out] = process.argv.slice(2);
const L = await import(pathToFileURL(path.join(corpora, 'load.mjs')));
const K = L.loadKeys(path.join(out, 'keys'));
const NOW = 1700000000; // the fuzzers' clock stands still
const write = (target, name, data) => {
  const dir = path.join(out, target);
  fs.mkdirSync(dir, { recursive: true });
  fs.writeFileSync(path.join(dir, name), data);
};

for (const c of L.tokens) {
  if (/^(big-|pkcs1-rsa-[^1])/.test(c.name)) continue;
  const token = c.make(new L.Ctx(K, NOW));
  write('jwt', 'token-' + c.name, Buffer.from('t' + token, 'latin1'));
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url');
  if (payload.length && !c.name.startsWith('pkcs1')) write('jwt', 'claims-' + c.name, Buffer.concat([Buffer.from('c'), payload]));
}
for (const c of L.transports)
  for (const [k, v] of c.make('a.b.c', 'd.e.f')) write('jwt', `${k}-${c.name}`, (k === 'Cookie' ? 'k' : 'a') + v);
for (const c of L.stripes) {
  const q = c.make(NOW), body = q.body.subarray(0, 2000);
  write('stripe_signature', c.name, Buffer.concat([Buffer.from(q.headers.map((h) => h[1]).join(', ').slice(0, 2000) + '\n'), body]));
}
for (const [name, text] of Object.entries({ jwks: K.jwksText, hostile: K.hostileText, optional: K.optionalText, pem: K.pem })) write('jwk', name, text);
for (const k of JSON.parse(K.hostileText).keys) write('jwk', 'one-' + String(k.kid), JSON.stringify({ keys: [k, { ...k, kid: 'ins_main' }] }));
