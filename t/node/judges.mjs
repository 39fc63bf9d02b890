// Imports a package from the directory where t/node/install.sh put it: import { judge } from './judges.mjs';
//     const { default: Stripe } = await judge('stripe');

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

if (!process.env.LINES_NODE) {
    throw new Error('LINES_NODE must name the directory that t/node/install.sh made');
}

const { resolve } = createRequire(join(process.env.LINES_NODE, 'package.json'));

export const judge = (name) => import(pathToFileURL(resolve(name)));
