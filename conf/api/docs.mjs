// Makes one page of an OpenAPI document, with all that it needs in it. Usage: node docs.mjs MODULES OPENAPI.yaml PAGE.html
// MODULES has what package-lock.json beside this file names.
//
// The page is Redoc's bundle as npm has it, but for what a strict policy has no room for: a mark that is fetched from
// elsewhere, and the style of scroll bars that are not used. What a browser may do with the page stands in its head: these
// scripts, no others, and no address at all. lines_docs sends the same as a header.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const [modules, source, page] = process.argv.slice(2);
const { resolve } = createRequire(join(modules, 'package.json'));
const { parse } = await import(resolve('yaml'));

const openapi = parse(readFileSync(source, 'utf8'), { merge: true, maxAliasCount: -1 });

// shared headers are written where they are used
delete openapi['x-headers'];

const redoc = (name) => readFileSync(join(modules, 'node_modules/redoc', name), 'utf8');

let bundle = redoc('bundles/redoc.standalone.js');

for (const [what, instead] of [
    [/https:\/\/cdn\.redoc\.ly\/redoc\/logo-mini\.svg/g, 'data:,'],
    [/s\.push\(\[e\.id,"\.ps\{.*?sourceRoot:""\}\]\),/gs, ''],
]) {
    if ([...bundle.matchAll(what)].length !== 1) {
        throw new Error(`redoc is another: ${what} is not in it once`);
    }

    bundle = bundle.replace(what, instead);
}

const options = {
    hideDownloadButton: true,
    nativeScrollbars: true,
    requiredPropsFirst: false,
    expandResponses: '',
    theme: {
        typography: {
            fontFamily: 'system-ui, sans-serif',
            headings: { fontFamily: 'system-ui, sans-serif' },
            code: { fontFamily: 'ui-monospace, monospace' },
        },
    },
};

// a script ends at its end tag, and "<!--" would hide that
const inline = (code) => code.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
const json = (value) => JSON.stringify(value).replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');

const scripts = [
    inline(bundle.trim()),
    `Redoc.init(${json(openapi)}, ${json(options)}, document.getElementById('docs'));`,
];
const style = 'body { margin: 0; }';

const hash = (text) => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;

// an empty style is what Redoc writes its rules into; its search runs beside the page
const policy = [
    "default-src 'none'",
    `script-src ${scripts.map(hash).join(' ')}`,
    `style-src ${[style, ''].map(hash).join(' ')}`,
    'img-src data:',
    'worker-src blob:',
    "base-uri 'none'",
    "form-action 'none'",
].join('; ');

const licenses = ['LICENSE', 'bundles/redoc.standalone.js.LICENSE.txt'].map(redoc).join('\n').replaceAll('--', '- -');
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

const html = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escaped(openapi.info.title)} API ${escaped(openapi.info.version)}</title>
<style>${style}</style>
</head>
<body>
<div id="docs"><noscript>This page needs JavaScript. The document itself is openapi.yaml.</noscript></div>
<script>${scripts[0]}</script>
<script>${scripts[1]}</script>
</body>
</html>
<!--
In this page is Redoc, and in it what its second list names.

${licenses}
-->
`;

mkdirSync(dirname(page), { recursive: true });
writeFileSync(`${page}.new`, html);
renameSync(`${page}.new`, page);
