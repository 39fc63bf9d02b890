// The same read for Node.js: fastify, ioredis, one script in Redis for a request; and a session token by Clerk's own SDK.
//
//     node server.mjs PORT REDIS_PORT DIRECTORY [PEM PARTY]
//
// It stands where its packages are: t/bench/lib/Bench/Peers.pm copies it there.

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { verifyToken } from '@clerk/backend';
import Fastify from 'fastify';
import Redis from 'ioredis';

const [port, redisPort, directory, pem, party] = process.argv.slice(2);
const redis = new Redis({ port: Number(redisPort), host: '127.0.0.1', enableAutoPipelining: true });
const app = Fastify({ logger: false, requestTimeout: 0, keepAliveTimeout: 600000 });
const jwtKey = pem && readFileSync(pem, 'utf8');
const gif = Buffer.from('R0lGODlhAQABAIABAAAAAP///yH5BAEAAAEALAAAAAABAAEAQAICTAEAOw==', 'base64');

redis.defineCommand('readLine', { numberOfKeys: 1, lua: readFileSync(`${directory}/read.lua`, 'utf8') });

app.get('/api/line-requests/:id', async (request, reply) => {
    const authorization = request.headers.authorization ?? '';

    if (!authorization.startsWith('Bearer ')) {
        return reply.code(401).send({ error: 'Unauthorized' });
    }

    const digest = createHash('sha256').update(authorization.slice(7)).digest('hex');
    const [status, left, seconds, json] = await redis.readLine(`key:${digest}`, request.params.id, 1000, 1000);

    reply.code(status)
        .header('content-type', 'application/json')
        .header('cache-control', 'no-store')
        .header('x-content-type-options', 'nosniff')
        .header('x-request-id', randomBytes(16).toString('hex'));

    if (left !== undefined) {
        reply.header('ratelimit-policy', '"api";q=1000;w=1').header('ratelimit', `"api";r=${left};t=${seconds}`);
    }

    return reply.send(json ?? `{"error":"${status}"}`);
});

app.get('/auth', async (request, reply) => {
    try {
        const claims = await verifyToken((request.headers.authorization ?? '').slice(7), { jwtKey, authorizedParties: [party] });
        return reply.header('content-type', 'image/gif').header('x-tenant', claims.o?.id ?? '').send(gif);
    } catch {
        return reply.code(401).send({ error: 'Unauthorized' });
    }
});

await app.listen({ port: Number(port), host: '127.0.0.1' });
