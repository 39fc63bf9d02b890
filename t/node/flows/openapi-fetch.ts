// The flows of the guides in conf/api, by openapi-fetch with the types of openapi-typescript: a line for each answer.

import createClient from 'openapi-fetch';
import type { paths } from './client.js';
import { growth, keyId, keySecret, mini, starter, url } from './settings.js';

const workspace = (key: string) => createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const account = createClient<paths>({ baseUrl: url, headers: { 'sb-api-key-id': keyId, 'sb-api-secret-key': keySecret } });

const replayed = (response: Response) => response.headers.get('Idempotency-Replayed') ?? 'first';
const etag = (response: Response) => response.headers.get('ETag') ?? 'none';

async function requestPayPoll(): Promise<void> {
    const client = workspace(starter);
    const ada = { firstName: 'Ada', lastName: 'Lovelace', channelType: 'email', email: 'ada@example.com' } as const;
    const bob = { firstName: 'Bob', lastName: 'Babbage', channelType: 'email', email: 'bob@example.com' } as const;
    const header = { 'Idempotency-Key': crypto.randomUUID() };

    const first = await client.POST('/api/line-requests', { params: { header }, body: ada });
    if (!first.data) throw first.error;
    const { line, status, paymentUrl } = first.data;
    console.log('request', first.response.status, status, replayed(first.response));

    const again = await client.POST('/api/line-requests', { params: { header }, body: ada });
    console.log('again', again.response.status, again.data?.line._id === line._id, replayed(again.response));

    const other = await client.POST('/api/line-requests', { params: { header }, body: bob });
    console.log('other', other.response.status, other.error && 'error' in other.error && other.error.error);

    const next = await client.POST('/api/line-requests', { body: bob });
    if (next.error && 'success' in next.error) console.log('next', next.response.status, next.error.status, next.error.paymentUrl === paymentUrl);

    const path = { id: line._id };
    const link = await client.POST('/api/line-requests/{id}', { params: { path }, body: { action: 'payment_link' } });
    console.log('link', link.response.status, link.data && 'paymentUrl' in link.data && link.data.paymentUrl === paymentUrl);

    let known = etag((await client.GET('/api/line-requests/{id}', { params: { path } })).response);
    console.log('paid', (await fetch(`${paymentUrl}/pay`, { method: 'POST', redirect: 'manual' })).status);

    for (let last = status; last !== 'active';) {
        const read = await client.GET('/api/line-requests/{id}', { params: { path, query: { wait: 30 }, header: { 'If-None-Match': known } } });
        if (read.response.status === 304) continue;
        if (!read.data) throw read.error;
        last = read.data.status;
        known = etag(read.response);
        console.log('poll', read.response.status, last, read.data.paymentStatus);
    }
}

async function previewConfirmRetry(): Promise<void> {
    const preview = await account.POST('/accounts/lines/provision-preview', {});
    if (!preview.data) throw preview.error;
    const body = { preview_token: preview.data.preview_token };
    const header = { 'Idempotency-Key': crypto.randomUUID() };
    console.log('preview', preview.response.status, preview.data.status);

    const dry = await account.POST('/accounts/lines/provision-confirm', { body: { ...body, dry_run: true } });
    console.log('dry', dry.response.status, dry.data && 'dry_run' in dry.data);

    const bought = await account.POST('/accounts/lines/provision-confirm', { params: { header }, body });
    if (!bought.data) throw bought.error;
    if (!('worker_id' in bought.data)) throw new Error(bought.data.message);
    const phone_number = bought.data.phone_number;
    console.log('confirm', bought.response.status, replayed(bought.response));

    const again = await account.POST('/accounts/lines/provision-confirm', { params: { header }, body });
    console.log('retry', again.response.status, again.data && 'phone_number' in again.data && again.data.phone_number === phone_number, replayed(again.response));

    const used = await account.POST('/accounts/lines/provision-confirm', { body });
    console.log('used', used.response.status, used.error?.error, used.error?.state);

    const list = await account.GET('/accounts/lines');
    console.log('list', list.data?.lines.some((line) => line.phone_number === phone_number && line.active));

    const one = await account.GET('/accounts/lines/{phone_number}', { params: { path: { phone_number } } });
    console.log('one', one.response.status, one.data?.line.status);
}

async function events(): Promise<void> {
    const client = workspace(growth);
    const made = await client.POST('/api/line-requests', { body: { firstName: 'Ada', lastName: 'Lovelace', channelType: 'phone' } });
    if (!made.data) throw made.error;
    const path = { id: made.data.line._id };
    console.log('made', made.response.status, made.data.status);

    const header = { 'If-None-Match': etag((await client.GET('/api/line-requests/{id}', { params: { path } })).response) };
    console.log('known', (await client.GET('/api/line-requests/{id}', { params: { path, header } })).response.status);

    const news = await client.GET('/api/line-requests/{id}', { params: { path, header, query: { wait: 30 } } });
    console.log('news', news.response.status, news.data?.status);

    const wrong = await client.GET('/api/line-requests/{id}', { params: { path, header, query: { wait: 61 } } });
    console.log('wrong', wrong.response.status, wrong.error?.error);
}

async function errors(): Promise<void> {
    // @ts-expect-error: the compiler misses the name before the server does
    const name = await workspace(growth).POST('/api/line-requests', { body: { firstName: 'Ada', channelType: 'phone' } });
    console.log('name', name.response.status, name.error && 'error' in name.error && name.error.error);

    const plan = await workspace(mini).POST('/api/line-requests', { body: { firstName: 'Ada', lastName: 'Lovelace', channelType: 'phone' } });
    console.log('plan', plan.response.status, plan.error && 'success' in plan.error && plan.error.status);

    const none = await workspace('none').GET('/api/line-requests');
    console.log('none', none.response.status, none.error?.error);

    const id = await workspace(growth).GET('/api/line-requests/{id}', { params: { path: { id: '6a092ebde4a7fbddc8a832da' } } });
    console.log('id', id.response.status, id.error?.error);

    const preview_token = 'lpv_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj';
    const token = await account.POST('/accounts/lines/provision-confirm', { body: { preview_token } });
    console.log('token', token.response.status, token.error?.error);
}

async function limits(): Promise<void> {
    const lines = await workspace(growth).GET('/api/lines/by-user');
    console.log('left', lines.response.status, /^"tenant";r=\d+;t=\d+$/.test(lines.response.headers.get('RateLimit') ?? ''));

    const windows = await account.GET('/accounts/limits');
    console.log('windows', windows.data?.limits.api_provision_daily.limit, windows.data?.limits.api_provision_monthly.limit);

    const page = await workspace(growth).GET('/api/line-requests', { params: { query: { limit: 101 } } });
    console.log('page', page.response.status, page.error?.error);
}

for (const flow of [requestPayPoll, previewConfirmRetry, events, errors, limits]) await flow();
