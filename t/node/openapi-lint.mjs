// Judges OpenAPI documents with Redocly's rules. Usage: LINES_NODE=DIR node openapi-lint.mjs FILE...
// Prints what it finds, a line each: the file, the rule, where, and what.

import { basename } from 'node:path';
import { judge } from './judges.mjs';

const { createConfig, lint } = (await judge('@redocly/openapi-core')).default;

const config = await createConfig({
    extends: ['recommended'],
    rules: {
        'no-invalid-media-type-examples': 'error',
        'no-invalid-schema-examples': 'error',
        'no-invalid-parameter-examples': 'error',
        'operation-operationId-unique': 'error',
        'operation-description': 'error',
        'parameter-description': 'error',
        'tag-description': 'error',
        // the address is the operator's own, and what needs no credentials refuses none
        'no-server-example.com': 'off',
        'operation-4xx-response': 'off',
    },
});

for (const file of process.argv.slice(2)) {
    for (const { ruleId, message, location } of await lint({ ref: file, config })) {
        console.log(`${basename(file)}: ${ruleId}: ${location[0]?.pointer ?? ''}: ${message.replaceAll('\n', ' ')}`);
    }
}
