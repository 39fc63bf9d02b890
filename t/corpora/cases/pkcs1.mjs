// PKCS#1 v1.5 paddings lifted from the Wycheproof vectors (sig^e mod n), re-signed raw over a Clerk-shaped token.
import fs from 'node:fs';
import { T, rawRsa, sha256 } from '../lib.mjs';
// The data are third-party and not part of the project: in data/, or in the corpus beside the project, or not there.
const file = [process.env.LINES_CORPORA_DATA && 'file://' + process.env.LINES_CORPORA_DATA + '/', '../data/', '../../../../shared/corpora/data/']
  .filter(Boolean).map((d) => new URL('pkcs1.json', new URL(d, import.meta.url))).find((f) => fs.existsSync(f));
if (!file) console.error('pkcs1: skipped, data/pkcs1.json is not there');
const list = file ? JSON.parse(fs.readFileSync(file)) : [];
for (const v of list) T(v.name, v.expect, v.why, (c) => c.jws({ sig: (d) => { const em = Buffer.from(v.em, 'hex'); sha256(d).copy(em, v.off); return rawRsa(c.K.priv.main, em); } }));
