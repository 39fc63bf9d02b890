// Drives the billing sandbox with Stripe's own SDK. Usage: LINES_NODE=DIR node sandbox.mjs PORT SECRET_KEY
// Prints one JSON array a line: [passed, name, what was got].

import { judge } from './judges.mjs';

const { default: Stripe } = await judge('stripe');
const [port, key] = process.argv.slice(2);
const options = { host: '127.0.0.1', port, protocol: 'http', telemetry: false, maxNetworkRetries: 0 };
const stripe = new Stripe(key, options);

const print = (passed, name, got) => console.log(JSON.stringify([Boolean(passed), name, got ?? null]));
const is = (got, expected, name) => print(JSON.stringify(got) === JSON.stringify(expected), name, { got, expected });
const ok = (got, name) => print(got, name, got);

// The SDK judges by the body, so that the status is looked at besides.
const done = (object, name) => is(object.lastResponse.statusCode, 200, name);

async function refused(promise, expected, name) {
    try {
        const object = await promise;
        print(false, name, object);
        return {};
    } catch (error) {
        const got = Object.fromEntries(Object.keys(expected).map((member) => [member, error[member]]));
        is(got, expected, name);
        return error;
    }
}

async function control(path, body) {
    const answer = await fetch(`http://127.0.0.1:${port}/_sandbox/${path}`,
        body ? { method: 'POST', body: JSON.stringify(body) } : {});
    return answer.json();
}

const addOn = {
    customer: 'cus_card',
    items: [{ price: 'price_phone', quantity: 1 }],
    payment_behavior: 'default_incomplete',
    payment_settings: { save_default_payment_method: 'on_subscription', payment_method_types: ['card'] },
    metadata: { line_request: 'l1', tenant: 'w:one', lines_deployment: 'test' },
    expand: ['latest_invoice'],
};
const purchase = {
    customer: 'cus_card',
    items: [{ price: 'price_agent' }],
    payment_behavior: 'error_if_incomplete',
    off_session: true,
    metadata: { operation: 'o1', tenant: 'a:one', lines_deployment: 'test' },
};

// Customers

const customer = await stripe.customers.retrieve('cus_card');
done(customer, 'a customer');
is(customer.lastResponse.apiVersion, Stripe.API_VERSION, 'the version of the SDK is the version of the sandbox');
ok(customer.lastResponse.requestId.startsWith('req_'), 'the SDK finds the request id');
ok(customer.invoice_settings.default_payment_method, 'with a card');

const methods = await stripe.customers.listPaymentMethods('cus_card', { type: 'card', limit: 1 });
is(methods.data.map((method) => method.type), ['card'], 'a list of cards');
is((await stripe.customers.listPaymentMethods('cus_nocard', { type: 'card', limit: 1 })).data, [], 'an empty list of cards');

const missing = await refused(stripe.customers.retrieve('cus_x'),
    { type: 'StripeInvalidRequestError', statusCode: 404, code: 'resource_missing', param: 'id' }, 'no such customer');
ok(missing.requestId?.startsWith('req_'), 'an error has a request id');

await refused(new Stripe('sk_test_other', options).customers.retrieve('cus_card'),
    { type: 'StripeAuthenticationError', statusCode: 401 }, 'a wrong key');

// An add-on

const created = await stripe.subscriptions.create(addOn, { idempotencyKey: 'sdk-1' });
done(created, 'an add-on');
is([created.status, created.latest_invoice.status], ['incomplete', 'open'], 'waits for its payment');
ok(created.latest_invoice.hosted_invoice_url, 'with a page to pay at');
is(created.metadata.line_request, 'l1', 'metadata');
is(created.items.data[0].price.unit_amount, 2900, 'a number is a number');
is(created.latest_invoice.parent.subscription_details.subscription, created.id, 'the invoice names its subscription');

const replayed = await stripe.subscriptions.create(addOn, { idempotencyKey: 'sdk-1' });
is(replayed.id, created.id, 'the same key, the same object');
is(replayed.lastResponse.headers['idempotent-replayed'], 'true', 'replayed');

await refused(stripe.subscriptions.create({ ...addOn, customer: 'cus_nocard' }, { idempotencyKey: 'sdk-1' }),
    { type: 'StripeIdempotencyError', statusCode: 400 }, 'the same key, other parameters');

await control(`invoices/${created.latest_invoice.id}/pay`, {});
is((await stripe.invoices.retrieve(created.latest_invoice.id)).status, 'paid', 'paid');
is((await stripe.subscriptions.retrieve(created.id)).status, 'active', 'and active');
await refused(stripe.invoices.voidInvoice(created.latest_invoice.id),
    { type: 'StripeInvalidRequestError', statusCode: 400 }, 'a paid invoice is not voided');

const second = await stripe.subscriptions.create(addOn);
is((await stripe.invoices.voidInvoice(second.latest_invoice.id)).status, 'void', 'voided');
is((await stripe.subscriptions.cancel(second.id)).status, 'canceled', 'canceled');
await refused(stripe.subscriptions.cancel(second.id),
    { type: 'StripeInvalidRequestError', statusCode: 404, code: 'resource_missing' }, 'canceled once');

// A purchase

const bought = await stripe.subscriptions.create(purchase, { idempotencyKey: 'sdk-2' });
is(bought.status, 'active', 'bought');
await refused(stripe.subscriptions.create({ ...purchase, customer: 'cus_declined' }),
    { type: 'StripeCardError', statusCode: 402, code: 'card_declined', decline_code: 'generic_decline' }, 'declined');
await refused(stripe.subscriptions.create({ ...purchase, customer: 'cus_3ds' }),
    { type: 'StripeCardError', statusCode: 402, code: 'authentication_required' }, 'authentication required');
await refused(stripe.subscriptions.create({ ...purchase, customer: 'cus_nocard' }),
    { type: 'StripeInvalidRequestError', statusCode: 400, code: 'resource_missing' }, 'no card');

const note = await stripe.creditNotes.create(
    { invoice: bought.latest_invoice, amount: 4900, refund_amount: 4900, metadata: { operation: 'o1' } },
    { idempotencyKey: 'sdk-3' });
is([note.status, note.refunds[0].amount_refunded], ['issued', 4900], 'refunded');
is((await stripe.creditNotes.list({ invoice: bought.latest_invoice })).data.map(({ id }) => id), [note.id], 'credit notes of an invoice');
is((await stripe.refunds.list()).data.map(({ amount }) => amount), [4900], 'refunds');
await refused(stripe.creditNotes.create({ invoice: bought.latest_invoice, amount: 4900, refund_amount: 4900 }),
    { type: 'StripeInvalidRequestError', statusCode: 400 }, 'not refunded twice');

// Where the money of an invoice is

const paid = await stripe.invoicePayments.list({ invoice: created.latest_invoice.id, status: 'paid' });
is(paid.data.map(({ amount_paid, payment }) => [amount_paid, payment.type]), [[2900, 'payment_intent']], 'payments of an invoice');
const { payment } = paid.data[0];
is((await stripe.invoicePayments.list({ payment })).data.map(({ id }) => id), [paid.data[0].id], 'the invoice of a payment');
is((await stripe.invoicePayments.retrieve(paid.data[0].id)).invoice, created.latest_invoice.id, 'one payment');
is((await stripe.invoices.retrieve(created.latest_invoice.id, { expand: ['payments'] })).payments.data.length, 1, 'expanded');

const part = await stripe.refunds.create({ payment_intent: payment.payment_intent, amount: 900 });
is([part.status, part.amount], ['succeeded', 900], 'a part is refunded');
is((await stripe.refunds.list({ payment_intent: payment.payment_intent })).data.map(({ id }) => id), [part.id], 'refunds of a payment');
is((await stripe.refunds.list({ created: { gte: part.created, lte: part.created }, charge: part.charge })).data.length, 1, 'by instant');
is((await stripe.refunds.list({ created: { gt: part.created + 3600 } })).data.length, 0, 'none later');

const linked = await stripe.creditNotes.create({ invoice: created.latest_invoice.id, amount: 1000, credit_amount: 100,
    refunds: [{ refund: part.id, amount_refunded: 900 }] });
is([linked.post_payment_amount, linked.pre_payment_amount, linked.refunds[0].refund], [1000, 0, part.id], 'a note takes up a refund');
ok(linked.customer_balance_transaction, 'and credits the balance');
is((await stripe.creditNotes.list({ created: { gte: linked.created } })).data.some(({ id }) => id === linked.id), true, 'credit notes by instant');
is((await stripe.customers.listBalanceTransactions('cus_card')).data.map(({ type, amount }) => [type, amount]), [['credit_note', -100]], 'the balance');
await stripe.customers.createBalanceTransaction('cus_card', { amount: 100, currency: 'usd' });
is((await stripe.customers.retrieve('cus_card')).balance, 0, 'is settled');

const outside = await stripe.subscriptions.create(addOn);
const settled = await stripe.invoices.pay(outside.latest_invoice.id, { paid_out_of_band: true });
is([settled.status, settled.amount_paid, settled.amount_remaining, settled.amount_overpaid], ['paid', 2900, 0, 0], 'paid outside of Stripe');
is((await stripe.subscriptions.cancel(outside.id)).status, 'canceled', 'and canceled');

const dispute = await control('disputes', { charge: part.charge });
is((await stripe.disputes.retrieve(dispute.id)).status, 'needs_response', 'a dispute');
is((await stripe.disputes.list({ charge: part.charge })).data.map(({ id, is_charge_refundable: can }) => [id, can]), [[dispute.id, false]], 'of a charge');
await refused(stripe.refunds.create({ charge: part.charge }),
    { type: 'StripeInvalidRequestError', statusCode: 400, code: 'charge_disputed' }, 'a charge that was taken back is not refunded');

// Lists, as the SDK pages through them

for (let i = 0; i < 6; i += 1) {
    await stripe.subscriptions.create({ ...addOn, metadata: { n: String(i) } });
}

const all = [];
for await (const subscription of stripe.subscriptions.list({ customer: 'cus_card', status: 'all', limit: 5 })) {
    all.push(subscription.id);
}
is([all.length, new Set(all).size], [10, 10], 'every subscription of a customer, page by page');
ok(all.includes(second.id), 'canceled ones too');

const events = await stripe.events.list({ type: 'customer.subscription.deleted' });
is(events.data.map(({ data }) => data.object.id), [outside.id, second.id], 'events');

// The SDK's own retries

const patient = new Stripe(key, { ...options, maxNetworkRetries: 3 });

for (const kind of ['409', '429', '500', 'drop_before', 'drop_after']) {
    const before = (await control('ledger')).entries.length;
    await control('faults', { path: '/v1/subscriptions', kind, times: 1 });
    const retried = await patient.subscriptions.create(purchase);
    is(retried.status, 'active', `the SDK gets over ${kind}`);
    is((await control('ledger')).entries.length - before, 2, `and ${kind} costs one charge`);
}

await control('faults', { path: '/v1/subscriptions', kind: '500_stored' });
await refused(patient.subscriptions.create(purchase), { type: 'StripeAPIError', statusCode: 500 }, 'a stored 500 is final');
is((await control('requests')).requests.at(-1).replayed, false, 'and the SDK heeds the advice not to try again');

await control('faults', { path: '/v1/subscriptions', kind: '429' });
await refused(stripe.subscriptions.create(purchase), { type: 'StripeRateLimitError', statusCode: 429 }, 'a rate limit');

// Webhooks: those that were received come on standard input, as JSON: [[body, signature], …]

const hooks = JSON.parse(await new Promise((resolve) => {
    let text = '';
    process.stdin.on('data', (piece) => { text += piece; }).on('end', () => resolve(text || '[]'));
}));

for (const [body, signature] of hooks) {
    const event = stripe.webhooks.constructEvent(body, signature, 'whsec_test');
    is(event.livemode, false, `the SDK accepts the signature of ${event.type}`);
    await refused(Promise.resolve().then(() => stripe.webhooks.constructEvent(`${body} `, signature, 'whsec_test')),
        { type: 'StripeSignatureVerificationError' }, 'and of no other body');
}

print(true, 'to the end');

// The SDK's timeout of a dropped call would keep the process for 80 s.
process.exit(0);
