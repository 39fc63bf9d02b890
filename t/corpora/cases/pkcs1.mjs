// PKCS#1 v1.5 paddings lifted from the Wycheproof vectors (sig^e mod n), re-signed raw over a Clerk-shaped token.
import { T, data, rawRsa, sha256 } from '../lib.mjs';
const list = data('pkcs1.json') ?? [];
for (const v of list) T(v.name, v.expect, v.why, (c) => c.jws({ sig: (d) => { const em = Buffer.from(v.em, 'hex'); sha256(d).copy(em, v.off); return rawRsa(c.K.priv.main, em); } }));
