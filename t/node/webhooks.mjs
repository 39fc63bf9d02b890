// What the library of Standard Webhooks says of calls: a list of {secret, headers, body} as JSON on stdin, and a word for each
// on stdout, as JSON: "good", or why not.
import { judge } from './judges.mjs';

const { Webhook } = await judge('standardwebhooks');

let text = '';
for await (const part of process.stdin) text += part;

console.log(JSON.stringify(JSON.parse(text).map(({ secret, headers, body }) => {
    try {
        new Webhook(secret).verify(body, headers);
        return 'good';
    } catch (error) {
        return error.message;
    }
})));
