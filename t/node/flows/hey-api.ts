// The flows of the guides in conf/api, by what @hey-api/openapi-ts makes of the document: a line for each answer.

import { createClient, createConfig } from './hey/client/index.js';
import {
    confirmLine, createLineRequest, getAccountLimits, getAccountLine, getLineRequest, listAccountLines, listLineRequests, listLines,
    manageLineRequest, previewLine,
} from './hey/index.js';
import type { NewLineRequest } from './hey/index.js';
import { growth, keyId, keySecret, mini, starter, url } from './settings.js';

const workspace = (key: string) => createClient(createConfig({ baseUrl: url, auth: key }));
const account = createClient(createConfig({ baseUrl: url, auth: ({ name }) => (name === 'sb-api-key-id' ? keyId : keySecret) }));

const replayed = (response?: Response) => response?.headers.get('Idempotency-Replayed') ?? 'first';
const etag = (response?: Response) => response?.headers.get('ETag') ?? 'none';

async function requestPayPoll(): Promise<void> {
    const client = workspace(starter);
    const ada: NewLineRequest = { firstName: 'Ada', lastName: 'Lovelace', channelType: 'email', email: 'ada@example.com' };
    const bob: NewLineRequest = { firstName: 'Bob', lastName: 'Babbage', channelType: 'email', email: 'bob@example.com' };
    const headers = { 'Idempotency-Key': crypto.randomUUID() };

    const first = await createLineRequest({ client, headers, body: ada });
    if (!first.data) throw first.error;
    const { line, status, paymentUrl } = first.data;
    console.log('request', first.response?.status, status, replayed(first.response));

    const again = await createLineRequest({ client, headers, body: ada });
    console.log('again', again.response?.status, again.data?.line._id === line._id, replayed(again.response));

    const other = await createLineRequest({ client, headers, body: bob });
    console.log('other', other.response?.status, other.error && 'error' in other.error && other.error.error);

    const next = await createLineRequest({ client, body: bob });
    if (next.error && 'success' in next.error) console.log('next', next.response?.status, next.error.status, next.error.paymentUrl === paymentUrl);

    const path = { id: line._id };
    const link = await manageLineRequest({ client, path, body: { action: 'payment_link' } });
    console.log('link', link.response?.status, link.data && 'paymentUrl' in link.data && link.data.paymentUrl === paymentUrl);

    let known = etag((await getLineRequest({ client, path })).response);
    console.log('paid', (await fetch(`${paymentUrl}/pay`, { method: 'POST', redirect: 'manual' })).status);

    for (let last = status; last !== 'active';) {
        const read = await getLineRequest({ client, path, query: { wait: 30 }, headers: { 'If-None-Match': known } });
        if (read.response?.status === 304) continue;
        if (!read.data) throw read.error;
        last = read.data.status;
        known = etag(read.response);
        console.log('poll', read.response?.status, last, read.data.paymentStatus);
    }
}

async function previewConfirmRetry(): Promise<void> {
    const preview = await previewLine({ client: account });
    if (!preview.data) throw preview.error;
    const body = { preview_token: preview.data.preview_token };
    const headers = { 'Idempotency-Key': crypto.randomUUID() };
    console.log('preview', preview.response?.status, preview.data.status);

    const dry = await confirmLine({ client: account, body: { ...body, dry_run: true } });
    console.log('dry', dry.response?.status, dry.data && 'dry_run' in dry.data);

    const bought = await confirmLine({ client: account, headers, body });
    if (!bought.data) throw bought.error;
    if (!('worker_id' in bought.data)) throw new Error(bought.data.message);
    const phone_number = bought.data.phone_number;
    console.log('confirm', bought.response?.status, replayed(bought.response));

    const again = await confirmLine({ client: account, headers, body });
    console.log('retry', again.response?.status, again.data && 'phone_number' in again.data && again.data.phone_number === phone_number, replayed(again.response));

    const used = await confirmLine({ client: account, body });
    console.log('used', used.response?.status, used.error?.error, used.error?.state);

    const list = await listAccountLines({ client: account });
    console.log('list', list.data?.lines.some((line) => line.phone_number === phone_number && line.active));

    const one = await getAccountLine({ client: account, path: { phone_number } });
    console.log('one', one.response?.status, one.data?.line.status);
}

async function events(): Promise<void> {
    const client = workspace(growth);
    const made = await createLineRequest({ client, body: { firstName: 'Ada', lastName: 'Lovelace', channelType: 'phone' } });
    if (!made.data) throw made.error;
    const path = { id: made.data.line._id };
    console.log('made', made.response?.status, made.data.status);

    const headers = { 'If-None-Match': etag((await getLineRequest({ client, path })).response) };
    console.log('known', (await getLineRequest({ client, path, headers })).response?.status);

    const news = await getLineRequest({ client, path, headers, query: { wait: 30 } });
    console.log('news', news.response?.status, news.data?.status);

    const wrong = await getLineRequest({ client, path, headers, query: { wait: 61 } });
    console.log('wrong', wrong.response?.status, wrong.error?.error);
}

async function errors(): Promise<void> {
    // @ts-expect-error: the compiler misses the name before the server does
    const name = await createLineRequest({ client: workspace(growth), body: { firstName: 'Ada', channelType: 'phone' } });
    console.log('name', name.response?.status, name.error && 'error' in name.error && name.error.error);

    const plan = await createLineRequest({ client: workspace(mini), body: { firstName: 'Ada', lastName: 'Lovelace', channelType: 'phone' } });
    console.log('plan', plan.response?.status, plan.error && 'success' in plan.error && plan.error.status);

    const none = await listLineRequests({ client: workspace('none') });
    console.log('none', none.response?.status, none.error?.error);

    const id = await getLineRequest({ client: workspace(growth), path: { id: '6a092ebde4a7fbddc8a832da' } });
    console.log('id', id.response?.status, id.error?.error);

    const preview_token = 'lpv_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj';
    const token = await confirmLine({ client: account, body: { preview_token } });
    console.log('token', token.response?.status, token.error?.error);
}

async function limits(): Promise<void> {
    const lines = await listLines({ client: workspace(growth) });
    console.log('left', lines.response?.status, /^"tenant";r=\d+;t=\d+$/.test(lines.response?.headers.get('RateLimit') ?? ''));

    const windows = await getAccountLimits({ client: account });
    console.log('windows', windows.data?.limits.api_provision_daily.limit, windows.data?.limits.api_provision_monthly.limit);

    const page = await listLineRequests({ client: workspace(growth), query: { limit: 101 } });
    console.log('page', page.response?.status, page.error?.error);
}

for (const flow of [requestPayPoll, previewConfirmRetry, events, errors, limits]) await flow();
