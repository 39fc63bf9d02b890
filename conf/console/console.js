'use strict';

/*
 * The operator's console: a page over the operator's API (conf/admin.md).  What
 * comes from there becomes text of the page, never HTML.  The token is sent
 * once, to open a session, and kept nowhere: the session's cookie no script
 * sees.
 */

(() => {

const POLL = 5000;           // ms between two looks at the node
const KEPT = 720;            // samples that plots show at the most: an hour
const PAGE = 50;
const NODES = 16;            // whose counters are remembered

const state = {
    admin: null,             // where the API is
    me: null,                // { operator, role, expires_at }
    samples: [],             // of GET node, while this page is open
    nodes: new Map(),        // the last look at each: behind a balancer they take turns
    several: false,
    timer: null,
    tabs: null,              // tells the others who signs in
    view: 0                  // counted up with each one that is shown
};

const $ = id => document.getElementById(id);


/* Elements: strings are text, and nothing else ever is */

function h(tag, attributes, ...children) {
    const element = document.createElement(tag);

    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === null || value === undefined || value === false) {
            continue;
        } else if (name.startsWith('on')) {
            element.addEventListener(name.slice(2), value);
        } else {
            element.setAttribute(name, value === true ? '' : value);
        }
    }

    element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
    return element;
}

const text = value => value === null || value === undefined || value === '' ? '–' : String(value);
const number = value => value === null || value === undefined ? '–' : Number(value).toLocaleString('en');
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? '' : 's'}`;

function instant(value) {
    const date = new Date(value);

    return value && !Number.isNaN(date.getTime())
        ? h('time', { datetime: date.toISOString() }, date.toISOString().replace('T', ' ').slice(0, 19) + ' UTC')
        : '–';
}

function age(seconds) {
    const s = Math.max(0, Math.round(seconds));

    return s < 120 ? `${s} s` : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

let saidTimer = null;

function say(words) {
    $('said').textContent = words;
    clearTimeout(saidTimer);
    saidTimer = setTimeout(() => { $('said').textContent = ''; }, 8000);
}


/* The API */

class Refused extends Error {
    constructor(status, words) {
        super(words);
        this.status = status;
    }
}

async function call(method, path, body, headers) {
    let answer, data;

    try {
        answer = await fetch(state.admin + path, {
            method,
            headers: { 'X-Lines-Console': '1', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
            body: body === undefined ? undefined : JSON.stringify(body),
            credentials: 'same-origin',
            cache: 'no-store',
            redirect: 'error',
            signal: AbortSignal.timeout(20000)
        });
        data = await answer.json();
    } catch (error) {
        if (!answer) {
            throw new Refused(0, method === 'GET'
                ? 'The node did not answer. Is nginx running, and may you reach it?'
                : 'The node did not answer: whether it was done is not known. Look before you repeat it.');
        }
        throw new Refused(answer.status, `The node answered ${answer.status}, and no JSON: see nginx' error log.`);
    }

    if (answer.ok) {
        return data;
    }

    const words = data && data.error ? String(data.error) : `status ${answer.status}`;

    if (answer.status === 401 && state.me) {
        signedOut('Your session is over: sign in again.');
    }

    if (answer.status === 503) {
        const wait = answer.headers.get('Retry-After');
        throw new Refused(503, method === 'GET'
            ? `${words}. Redis or billing could not be asked, and nothing was done.` + (wait ? ` Try again in ${wait} s.` : '')
            : `${words}. Whether it was done is not known: look before you repeat it.`);
    }

    throw new Refused(answer.status, words);
}

const get = path => call('GET', path);
const may = () => state.me && state.me.role === 'all';
const part = encodeURIComponent;


/* What views are made of */

const card = (title, ...content) => h('section', { class: 'card' }, h('h2', {}, title), content);
const wide = section => { section.classList.add('wide'); return section; };
const empty = words => h('p', { class: 'empty' }, words);
const failed = error => h('p', { class: 'error', role: 'alert' }, error.message || String(error));
const button = (words, act, attributes) => h('button', { type: 'button', onclick: act, ...attributes }, words);
const id = value => value ? h('span', { class: 'id' }, value) : '–';
const theirs = value => h('bdi', {}, text(value));    // its characters turn round nothing beside it

function tenantLink(tenant) {
    const match = /^([wa]):(.+)$/.exec(tenant || '');

    return match ? h('a', { class: 'id', href: `#tenant/${match[1] === 'w' ? 'workspaces' : 'accounts'}/${part(match[2])}` }, tenant) : text(tenant);
}

/* columns: [title, cell(row), class]; rows: objects */
function table(caption, columns, rows, none) {
    if (!rows.length) {
        return empty(none);
    }

    return h('div', { class: 'scroll', role: 'region', tabindex: '0', 'aria-label': caption },
        h('table', {}, h('caption', {}, caption),
            h('thead', {}, h('tr', {}, columns.map(([title, , kind]) => h('th', { scope: 'col', class: kind === 'number' ? kind : null }, title)))),
            h('tbody', {}, rows.map(row => h('tr', {}, columns.map(([, cell, kind]) => h('td', { class: kind }, cell(row))))))));
}

const facts = pairs => h('dl', { class: 'facts' }, pairs.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));

function field(label, input, hint) {
    const hintId = hint ? `${input.id}-hint` : null;

    if (hintId) {
        input.setAttribute('aria-describedby', hintId);
    }

    return h('div', { class: 'field' }, h('label', { for: input.id }, label), input, hint ? h('p', { class: 'hint', id: hintId }, hint) : null);
}

/* a part of a view that is loaded: its words while it is, and when it fails */
function loaded(view, section, load) {
    const body = h('div', {}, empty('Loading …'));
    let turn = 0;
    const fill = async () => {
        const mine = ++turn;

        try {
            const content = await load(fill);

            /* what was asked for later is newer, whichever comes first */
            if (view === state.view && mine === turn) {
                body.replaceChildren(...[content].flat(Infinity).filter(Boolean));
            }
        } catch (error) {
            if (view === state.view && mine === turn) {
                body.replaceChildren(failed(error), button('Try again', fill));
            }
        }
    };

    section.append(body);
    fill();
    section.again = fill;
    return section;
}

/* the same, page by page, of a list that has a cursor */
function paged(view, section, path, show) {
    let rows = [];

    const ask = async cursor => {
        const data = await get(path + (cursor ? `&cursor=${part(cursor)}` : ''));
        return { data, cursor: data.cursor };
    };

    return loaded(view, section, async () => {
        const body = h('div');
        const next = async cursor => {
            const page = await ask(cursor);

            rows = cursor ? rows.concat(show.rows(page.data)) : show.rows(page.data);
            body.replaceChildren(show.table(rows, page.data), ...(page.cursor
                ? [button('Older', async event => {
                    event.target.disabled = true;
                    try { await next(page.cursor); } catch (error) { body.append(failed(error)); event.target.disabled = false; }
                })]
                : []));
        };

        await next();
        return body;
    });
}


/*
 * Asks before something is done: says what, and does it once it is confirmed.
 * fields: elements with names; act: gets their values; what it returns is said,
 * or shown where it is an element.  look: what is to be seen before that is
 * loaded, as elements, and anew where it was refused.
 */
function confirm({ title, words, fields = [], does, act, look }) {
    const dialog = h('dialog', {
        'aria-labelledby': 'ask-title',

        /* the key that opened this may be held down still: it confirms nothing */
        onkeydown: event => { if (event.repeat && event.key === 'Enter' && event.target.tagName !== 'TEXTAREA') { event.preventDefault(); } }
    });
    const wrong = h('div', { role: 'alert' });
    const yes = h('button', { type: 'submit', class: 'strong' }, does);
    const no = button('Cancel', () => dialog.close());
    const before = document.activeElement;
    const seen = look ? h('div', { 'aria-live': 'polite' }) : null;
    let busy = false;

    const see = async () => {
        yes.disabled = true;
        seen.replaceChildren(empty('Loading …'));

        try {
            seen.replaceChildren(...await look());
            yes.disabled = false;
        } catch (error) {
            seen.replaceChildren(failed(error), button('Try again', see));
        }
    };

    const form = h('form', {
        novalidate: true,
        onsubmit: async event => {
            event.preventDefault();
            const values = Object.fromEntries(new FormData(form));

            wrong.replaceChildren();
            busy = yes.disabled = no.disabled = true;
            yes.textContent = 'Under way …';

            try {
                const done = await act(values);

                busy = false;

                if (done instanceof Node) {
                    const since = performance.now();
                    const title = h('h2', { id: 'ask-title', tabindex: '-1' }, 'Done');

                    /* a second click, or press, that was of the button before is no word to close it */
                    dialog.replaceChildren(title, done, h('div', { class: 'buttons' },
                        button('Close', () => { if (performance.now() - since > 500) { dialog.close(); } }, { class: 'strong' })));
                    title.focus();
                } else {
                    dialog.close();
                    say(done);
                }
            } catch (error) {
                wrong.replaceChildren(failed(error));
                busy = yes.disabled = no.disabled = false;
                yes.textContent = does;

                if (look) {
                    await see();
                }
            }
        }
    },
        h('h2', { id: 'ask-title' }, title),
        [words].flat().map(line => h('p', {}, line)),
        seen, fields, wrong, h('div', { class: 'buttons' }, no, yes));

    dialog.append(form);

    if (look) {
        see();
    }

    dialog.onclose = () => {
        /* what comes of it is told here, and a key just this once: Escape takes nothing back */
        if (busy && state.me) {
            dialog.showModal();
            return;
        }

        dialog.remove();
        (before && before.isConnected ? before : $('main')).focus();
    };
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector('input, select, textarea') || no).focus();
}


/* Plots: Chart.js', which draws; what they say stands beside them in words */

let plots = [];

const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plot(label, series, stacked) {
    const canvas = h('canvas', { role: 'img', 'aria-label': label });
    const box = h('div', { class: 'plot' }, canvas);

    if (typeof Chart === 'undefined') {
        box.replaceChildren(empty('The script that draws plots did not load.'));
        return { box, show() {} };
    }

    const paint = chart => {
        chart.data.datasets.forEach((set, i) => {
            set.borderColor = color(`--plot-${i % 6 + 1}`);
            set.backgroundColor = stacked ? `${set.borderColor}66` : 'transparent';
        });
        for (const axis of Object.values(chart.options.scales)) {
            axis.ticks.color = color('--quiet');
            axis.grid.color = color('--line');
        }
        chart.options.plugins.legend.labels.color = color('--text');
    };

    let chart = null;

    const show = samples => {
        if (!chart) {
            if (!canvas.isConnected) {
                return;
            }

            chart = new Chart(canvas, {
                type: 'line',
                data: { labels: [], datasets: series.map(([name], i) => ({
                    label: name, data: [], borderWidth: 2, pointRadius: context => context.chart.data.labels.length < 4 ? 3 : 0, pointHitRadius: 8, tension: 0, fill: stacked ? (i ? '-1' : 'origin') : false
                })) },
                options: {
                    animation: false, responsive: true, maintainAspectRatio: false,
                    interaction: { mode: 'index', intersect: false },
                    scales: {
                        x: { ticks: { maxRotation: 0, autoSkipPadding: 24 }, grid: { display: false } },
                        y: { beginAtZero: true, stacked: Boolean(stacked), ticks: { precision: stacked ? 0 : undefined, maxTicksLimit: 6 }, grid: {} }
                    },
                    plugins: { legend: { position: 'bottom', labels: { boxWidth: 12, boxHeight: 2 } } }
                }
            });
            paint(chart);
            plots.push({ chart, paint });
        }

        chart.data.labels = samples.map(sample => new Date(sample.at).toISOString().slice(11, 19));
        chart.data.datasets.forEach((set, i) => { set.data = samples.map(series[i][1]); });
        chart.update();
    };

    return { box, show };
}

function forgetPlots() {
    plots.forEach(({ chart }) => chart.destroy());
    plots = [];
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plots.forEach(({ chart, paint }) => { paint(chart); chart.update(); }));


/* The node's figures: counters of two looks make rates */

const total = object => Object.values(object || {}).reduce((sum, n) => sum + n, 0);

function counted(node) {
    const classes = { good: 0, client: 0, limited: 0, server: 0 };
    const buckets = node.bounds.map(() => 0).concat(0);
    let sum = 0;

    for (const request of node.requests) {
        for (const [code, n] of Object.entries(request.codes)) {
            classes[code === '429' ? 'limited' : code[0] === '5' ? 'server' : code[0] === '4' ? 'client' : 'good'] += n;
        }
        request.latency.buckets.forEach((n, i) => { buckets[i] += n; });
        sum += request.latency.sum;
    }

    return { at: node.at, classes, buckets, sum, node };
}

/* the bound below which that share of what was counted since lies; null of nothing */
function quantile(now, before, share, bounds) {
    const counts = now.map((n, i) => Math.max(0, n - (before ? before[i] : 0)));
    const all = counts.reduce((a, b) => a + b, 0);
    let seen = 0;

    if (!all) {
        return null;
    }

    for (let i = 0; i < counts.length; i++) {
        if (seen + counts[i] >= all * share) {
            const low = i ? bounds[i - 1] : 0;
            return i < bounds.length ? low + (bounds[i] - low) * (all * share - seen) / counts[i] : bounds[bounds.length - 1];
        }
        seen += counts[i];
    }

    return bounds[bounds.length - 1];
}

function rates(now, before) {
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    const rate = (a, b) => seconds > 0 ? Math.max(0, (a - b) / seconds) : null;
    const sample = { at: now.at, lines: now.node.fleet ? now.node.fleet.lines : null };

    for (const kind of Object.keys(now.classes)) {
        sample[kind] = before ? rate(now.classes[kind], before.classes[kind]) : null;
    }

    for (const [name, share] of [['p50', .5], ['p95', .95], ['p99', .99]]) {
        sample[name] = before ? quantile(now.buckets, before.buckets, share, now.node.bounds) : null;
    }

    const side = key => {
        const a = now.node[key], b = before && before.node[key];
        return !a ? null : {
            all: key === 'redis' ? a.commands : total(a.calls),
            rate: b ? rate(key === 'redis' ? a.commands : total(a.calls), key === 'redis' ? b.commands : total(b.calls)) : null,
            p99: b ? quantile(a.latency.buckets, b.latency.buckets, .99, now.node.bounds) : null
        };
    };

    sample.redis = side('redis');
    sample.billing = side('billing');
    return sample;
}

async function look() {
    const { me } = state;

    try {
        const now = counted(await get('node'));

        if (state.me !== me) {
            return;
        }

        const same = state.nodes.get(now.node.node);
        const before = same && same.at < now.at ? same : null;

        /* one that was begun anew is another, and does not come back */
        state.several = state.several || Boolean(same) && same !== state.last;

        state.stale = null;
        state.last = now;
        state.nodes.delete(now.node.node);
        state.nodes.set(now.node.node, now);
        if (state.nodes.size > NODES) { state.nodes.delete(state.nodes.keys().next().value); }
        state.samples.push(rates(now, before));
        state.samples.splice(0, Math.max(0, state.samples.length - KEPT));
        healthBanner(now.node.health);
    } catch (error) {
        state.stale = error;
        if (state.me) {
            $('banner').textContent = error.message;
        }
    }

    if (state.me && state.show) {
        state.show();
    }
}

function watch() {
    clearTimeout(state.timer);

    const next = async () => {
        if (!document.hidden) {
            await look();
        }
        if (state.me) {
            clearTimeout(state.timer);
            state.timer = setTimeout(next, POLL);
        }
    };

    next();
}

function healthBanner(health) {
    const wrong = [];

    if (health.redis.status !== 'ok') {
        wrong.push(`This node ${health.redis.status === 'partial' ? 'reaches only a part of Redis' : 'does not reach Redis'}` +
            (health.redis.reason ? `: ${health.redis.reason}` : '') + '. What is read or changed here is refused meanwhile (503).');
    }
    if (health.billing && health.billing.status !== 'ok' && health.billing.status !== 'unknown') {
        wrong.push(`Billing is ${health.billing.status}, as seen by this node: what is to be paid or given back waits.`);
    }
    if (health.database && health.database.status === 'held') {
        wrong.push(`The database is held (${health.database.reason}): nothing is charged, canceled or given back.`);
    }

    if ($('banner').textContent !== wrong.join(' ')) {
        $('banner').textContent = wrong.join(' ');
    }
}


/* Overview */

const STATES = ['awaiting_payment', 'provisioning', 'active', 'failed', 'canceled', 'released'];

function overview(main) {
    const share = value => value === null ? '–' : value < 10 ? value.toFixed(1) : number(Math.round(value));
    const ms = value => value === null ? '–' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
    const figure = name => { const dd = h('dd', {}, '–'); return { dd, box: h('div', {}, h('dt', {}, name), dd) }; };
    const set = (f, value, kind) => { if (f.dd.textContent !== value) { f.dd.textContent = value; } f.dd.className = kind || ''; };

    const traffic = plot('Requests per second of this node, by outcome, while this page is open; the latest figures are below',
        [['answered', s => s.good], ['refused (4xx)', s => s.client], ['limited (429)', s => s.limited], ['failed (5xx)', s => s.server]]);
    const latency = plot('Latency of this node\'s answers in milliseconds, while this page is open; the latest figures are below',
        [['median', s => s.p50], ['95 %', s => s.p95], ['99 %', s => s.p99]]);
    const lines = plot('Lines by state, of the fleet, while this page is open; the latest figures are below',
        STATES.map(name => [name, s => s.lines ? s.lines[name] : null]), true);

    const f = Object.fromEntries(Object.entries({
        good: 'answered', client: 'refused (4xx)', limited: 'limited (429)', server: 'failed (5xx)', p50: 'median', p95: '95 %', p99: '99 %',
        redis: 'status', breaker: 'breaker', flight: 'in flight', commands: 'commands', wrong: 'failed', redis99: '99 %',
        billing: 'status', calls: 'calls', waits: 'waited for the budget', billing99: '99 %', database: 'database',
        running: 'operations under way', stuck: 'operations stuck', tenants: 'tenants', free: 'numbers free'
    }).map(([key, name]) => [key, figure(name)]));
    const states = STATES.map(figure);
    const dl = (...figures) => h('dl', { class: 'figures' }, figures.map(one => one.box));
    const warnings = h('div'), outcomes = h('div'), billing = h('div', {}, dl(f.billing, f.database, f.calls, f.waits, f.billing99));
    const stand = h('p', { class: 'note' }, '');
    let fleetAge = h('p', { class: 'note' });

    main.append(
        h('div', { class: 'head' }, h('h1', {}, 'Overview'), stand),
        h('p', { class: 'note' }, 'Figures of this node, as it counted them by itself; only what is headed “of the fleet” is of all nodes.'),
        h('div', { class: 'grid' },
            card('Traffic of this node, per second', traffic.box, dl(f.good, f.client, f.limited, f.server)),
            card('Latency of this node', latency.box, dl(f.p50, f.p95, f.p99)),
            card('Redis, as this node sees it', dl(f.redis, f.breaker, f.flight, f.commands, f.wrong, f.redis99), warnings),
            card('Billing, as this node sees it', billing),
            wide(card('Limits of this node', outcomes)),
            wide(card('Lines by state, of the fleet', lines.box, dl(...states), fleetAge)),
            wide(card('Under way, of the fleet', dl(f.running, f.stuck, f.tenants, f.free)))));

    let shownLimits = '';

    state.show = () => {
        const sample = state.samples[state.samples.length - 1];

        if (!sample) {
            stand.textContent = state.stale ? 'Nothing could be read yet.' : 'Loading …';
            return;
        }

        const { node } = state.last, { health } = node;

        stand.textContent = `as of ${new Date(node.at).toISOString().slice(11, 19)} UTC` + (state.stale ? ': what is below is old, the last look failed' : `, each ${POLL / 1000} s`)
            + (state.several ? `, by ${node.node}: this address leads to several nodes in turn, and so do the plots` : '');
        stand.className = state.stale ? 'note bad' : 'note';
        traffic.show(state.samples);
        latency.show(state.samples);
        lines.show(state.samples);

        for (const kind of ['good', 'client', 'limited', 'server']) { set(f[kind], share(sample[kind])); }
        for (const kind of ['p50', 'p95', 'p99']) { set(f[kind], ms(sample[kind])); }

        if (state.stale) {
            for (const one of [f.redis, f.breaker, f.billing, f.database]) { set(one, 'not known'); }
            return;
        }

        set(f.redis, health.redis.status, health.redis.status === 'ok' ? 'good' : 'bad');
        set(f.breaker, health.redis.breaker.replace('_', ' '), health.redis.breaker === 'closed' ? '' : 'warn');
        set(f.flight, number(health.redis.inFlight));
        set(f.commands, sample.redis.rate === null ? number(node.redis.commands) : `${share(sample.redis.rate)} / s`);
        set(f.wrong, number(node.redis.errors + node.redis.timeouts + node.redis.refused));
        set(f.redis99, ms(sample.redis.p99));

        const wrong = [health.redis.reason, ...health.redis.warnings].filter(Boolean);
        warnings.replaceChildren(...(wrong.length ? [h('ul', {}, wrong.map(one => h('li', {}, one)))] : []));

        if (node.billing) {
            const status = health.billing ? health.billing.status : 'unknown';
            set(f.billing, status, status === 'ok' ? 'good' : status === 'unknown' ? '' : 'bad');
            set(f.database, health.database ? health.database.status : '–', health.database && health.database.status === 'held' ? 'bad' : '');
            set(f.calls, sample.billing.rate === null ? number(sample.billing.all) : `${share(sample.billing.rate)} / s`);
            set(f.waits, number(node.billing.waits));
            set(f.billing99, ms(sample.billing.p99));
        } else {
            billing.replaceChildren(empty('No billing is configured on this node.'));
        }

        const limits = JSON.stringify(node.limits);

        if (limits !== shownLimits) {
            shownLimits = limits;
            const sum = (limit, pattern) => number(Object.entries(limit.outcomes).filter(([name]) => pattern.test(name)).reduce((n, [, k]) => n + k, 0));

            outcomes.replaceChildren(table('Requests that met a limit, since this node began to count', [
                ['limit', limit => limit.limit],
                ['let through', limit => sum(limit, /^passed/), 'number'],
                ['of those without Redis', limit => sum(limit, /^passed_(local|open)$/), 'number'],
                ['refused', limit => sum(limit, /^(rejected|rejected_local|unavailable)$/), 'number'],
                ['would be refused (dry run)', limit => sum(limit, /dry_run$/), 'number']
            ], node.limits.filter(limit => total(limit.outcomes)), 'No request has met a limit yet.'));
        }

        if (node.fleet) {
            STATES.forEach((name, i) => set(states[i], number(node.fleet.lines[name])));
            fleetAge.textContent = `Counted ${age(node.fleet.age)} ago, by a pass over all tenants.`;
            set(f.running, number(node.fleet.operations.running));
            set(f.stuck, number(node.fleet.operations.stuck), node.fleet.operations.stuck ? 'bad' : '');
            set(f.tenants, number(node.fleet.tenants));
            set(f.free, number(node.fleet.numbers.free));
        } else {
            fleetAge.textContent = 'No pass over all tenants has ended yet.';
        }
    };

    state.show();
}


/* Operations */

/* of src/operation/README.md, "Kinds and steps" */
const STEPS = {
    request: ['send', 'await', 'tell'],
    purchase: ['card', 'lease', 'charge', 'assign', 'tell', 'end'],
    refund: ['cancel'],
    release: ['cancel'],
    orphan: ['cancel'],
    plan: ['read'],
    lapse: ['read']
};

const STEP_WORDS = {
    send: 'it asks billing for the subscription that pays for the line',
    await: 'it waits for the customer to pay, or for news of it',
    tell: 'it tells the provisioner',
    card: 'it looks for the card that is to be charged',
    lease: 'it takes a number out of the inventory',
    charge: 'it asks billing for the money',
    assign: 'it gives the number to the line',
    end: 'it writes down what came of it',
    'undo:charge': 'it is undone: what was charged goes back',
    'undo:lease': 'it is undone: the number goes back',
    undone: 'it is undone, and writes that down',
    cancel: 'it cancels the subscription at billing, and gives back what is due',
    read: 'it reads at billing what is true by now',
    done: 'it has ended'
};

const EVENT_WORDS = {
    'purchase.begun': 'The purchase began',
    'purchase.undone': 'The purchase was undone',
    'operation.resolved': 'A person said what is true',
    'line.awaiting_payment': 'The line waits for its payment',
    'line.provisioning': 'The line is being provisioned',
    'line.active': 'The line is active',
    'line.failed': 'The line failed',
    'line.canceled': 'The line was canceled',
    'line.released': 'The line was released',
    'line.lapsed': 'The line’s subscription ended',
    'line.suspended': 'The line was suspended',
    'line.resumed': 'The line came back',
    'line.refunded': 'What was paid went back',
    'ticket.open': 'A ticket was opened',
    'ticket.fulfilled': 'A ticket was fulfilled',
    'ticket.cancelled': 'A ticket was canceled',
    'workspace.subscription': 'The workspace’s subscription changed',
    'webhook.paused': 'A webhook was paused'
};

function eventItem(event) {
    const { id: _, at, type, ...rest } = event;
    const more = Object.entries(rest).map(([name, value], i) => [i ? ', ' : ' ', `${name}: `, theirs(value)]);

    return h('li', {}, instant(at), ' ', h('strong', {}, EVENT_WORDS[type] || type), h('br'), h('code', {}, type), more);
}

const CAN_SAY = {
    settled: 'settled: what is due has been given back some other way, or will not be; or its subscription was canceled by you',
    canceled: 'canceled: the line or purchase is to end, and what was charged goes back'
};

const retry = (op, again) => confirm({
    title: 'Try this operation again?',
    words: [`Operation ${op.id} (${op.kind}, ${op.tenant}) is tried at once, under the same idempotency keys: nothing is charged or given back twice.`,
        `It is stuck in “${text(op.step)}”: ${text(op.stuck)}. Mend the cause first, or it will be stuck again.`],
    does: 'Try again',
    act: async () => {
        const now = await call('POST', `operations/${part(op.id)}/retry`);
        setTimeout(again, 700);
        return `It is being tried: ${text(now.step)}.`;
    }
});

const resolve = (op, again) => confirm({
    title: 'Say what is true of this operation?',
    words: [`Operation ${op.id} (${op.kind}, ${op.tenant}) looks at billing once more, and goes by what it sees there. Where that does not help, it goes to its end by your word, which is written down with your name.`,
        `It is stuck in “${text(op.step)}”: ${text(op.stuck)}.` +
        (op.due.invoice ? ` Due back: ${op.due.amount === null ? 'not counted' : op.due.amount} (smallest unit) of invoice ${op.due.invoice}.` : '')],
    fields: [
        h('fieldset', {}, h('legend', {}, 'What is true'), ['settled', 'canceled'].map((as, i) =>
            h('label', { class: 'pick' }, h('input', { type: 'radio', name: 'as', value: as, checked: i === 0 }), CAN_SAY[as]))),
        field('Why', h('textarea', { id: 'note', name: 'note', rows: '3', maxlength: '500', required: true }), 'For those who read it later: 1 to 500 characters.')],
    does: 'Say so',
    act: async values => {
        if (!values.note.trim()) { throw new Error('Write why: a note is required.'); }

        /* it goes by what stands above: the API's word is of whatever is the matter when it comes */
        const { operation: is } = await get(`operations/${part(op.id)}`);
        if (is.step !== op.step || is.stuck !== op.stuck || is.due.invoice !== op.due.invoice || is.due.amount !== op.due.amount) {
            throw new Error(`It is another matter by now: in “${text(is.step)}”${is.stuck ? `, ${is.stuck}` : ', and not stuck'}. Nothing was said: close this, and look again.`);
        }

        const now = await call('POST', `operations/${part(op.id)}/resolve`, { as: values.as, note: values.note });
        setTimeout(again, 700);
        return `It goes on by that: ${text(now.step)}.`;
    }
});

function opTable(caption, ops, again, none) {
    const columns = [
        ['operation', op => h('a', { class: 'id', href: `#operations/${part(op.id)}` }, op.id), 'id'],
        ['tenant', op => tenantLink(op.tenant)],
        ['kind', op => text(op.kind)],
        ['step', op => text(op.step)],
        ['why stuck', op => op.stuck ? h('span', { class: 'bad' }, op.stuck) : '–'],
        ['tries', op => text(op.tries), 'number'],
        ['due back', op => op.due.amount === null ? text(op.due.invoice) : `${op.due.amount} of ${text(op.due.invoice)}`],
        ['begun', op => instant(op.begun)]
    ];

    if (may() && ops.some(op => op.stuck)) {
        columns.push(['', op => op.stuck ? h('div', { class: 'buttons' },
            button('Retry', () => retry(op, again), { 'aria-label': `Retry ${op.id}` }),
            button('Resolve', () => resolve(op, again), { 'aria-label': `Resolve ${op.id}` })) : null]);
        columns[columns.length - 1][0] = 'actions';
    }

    return table(caption, columns, ops, none);
}

function operations(main, view, [one]) {
    if (one) {
        return operation(main, view, one);
    }

    const stuck = paged(view, card('Stuck: each needs a person'), `operations?state=stuck&limit=${PAGE}`, {
        rows: data => data.operations,
        table: rows => opTable('Stuck operations, the longest first', rows, () => stuck.again(), 'Nothing is stuck.')
    });
    const running = loaded(view, card('In flight'), async () => [
        h('p', { class: 'note' }, 'Those that are due next, up to a hundred: they go on by themselves.'),
        opTable('Operations under way', (await get('operations?state=running')).operations, () => running.again(), 'Nothing is under way.')
    ]);

    main.append(h('div', { class: 'head' }, h('h1', {}, 'Operations'), button('Refresh', () => { stuck.again(); running.again(); })), stuck, running);
}

function operation(main, view, opId) {
    const section = loaded(view, card(`Operation ${opId}`), async again => {
        const { operation: op, events } = await get(`operations/${part(opId)}`);
        const steps = STEPS[op.kind] || [];

        return [
            facts([
                ['tenant', tenantLink(op.tenant)], ['kind', text(op.kind)], ['step', text(op.step)],
                ['stuck', op.stuck ? h('span', { class: 'bad' }, op.stuck) : 'no'], ['begun', instant(op.begun)], ['tries of this step', text(op.tries)],
                ['attempts to charge', text(op.attempt)], ['line', id(op.line)], ['subscription', id(op.subscription)], ['invoice', id(op.invoice)],
                ['due back', op.due.invoice ? `${text(op.due.amount)} of ${op.due.invoice}` : '–'],
                ['a person said', op.resolved.as ? [`${op.resolved.as}, by ${text(op.resolved.by)}: “`, theirs(op.resolved.note), '”, ', instant(op.resolved.at)] : '–']
            ]),
            op.stuck && may() ? h('div', { class: 'buttons' }, button('Retry', () => retry(op, again)), button('Resolve', () => resolve(op, again))) : null,
            h('h3', {}, 'Where it is'),
            steps.includes(op.step) ? h('ol', { class: 'steps' }, steps.map(step => h('li', { 'aria-current': step === op.step ? 'step' : null }, step))) : null,
            h('p', {}, `${text(op.step)}${STEP_WORDS[op.step] ? `: ${STEP_WORDS[op.step]}` : ''}.`),
            h('h3', {}, 'What happened, step by step'),
            events.length ? h('ol', { class: 'story' }, [...events].reverse().map(eventItem))
                : empty('The tenant’s journal has nothing of it: it tells of what became of lines, not of each try.')
        ];
    });

    main.append(h('div', { class: 'head' }, h('h1', {}, 'An operation, and its story'), h('a', { href: '#operations' }, 'All operations'), button('Refresh', () => section.again())), section);
}


/* Audit */

function audit(main, view) {
    let timer = null;

    const section = loaded(view, card('Where Redis and billing, or two records, disagree'), async again => {
        const now = await get('audit');

        /* one look follows, however many were asked for, and while it is seen */
        const next = () => {
            clearTimeout(timer);
            timer = setTimeout(() => {
                if (view === state.view) { if (document.hidden) { next(); } else { again(); } }
            }, 2000);
        };

        if (now.running) {
            next();
        }

        return [
            facts([['a pass', now.running ? 'is under way' : 'is not under way'], ['the last began', instant(now.began)], ['the last whole one ended', instant(now.ended)],
                ['disagreements', number(now.disagreements.length)]]),
            table('Disagreements, the newest first', [
                ['kind', d => d.kind],
                ['outcome', d => d.outcome === 'repaired' ? h('span', { class: 'good' }, 'repaired') : h('span', { class: 'warn' }, 'shown: yours')],
                ['tenant', d => tenantLink(d.tenant)],
                ['what', d => id(d.id), 'id'],
                ['subscription', d => id(d.subscription)],
                ['here (Redis)', d => text(d.here)],
                ['there (billing, or another record)', d => text(d.there)],
                ['first seen', d => instant(d.firstSeenAt)],
                ['last seen', d => instant(d.lastSeenAt)]
            ], now.disagreements, now.ended ? 'All agrees.' : 'No whole pass has ended yet.')
        ];
    });

    main.append(h('div', { class: 'head' }, h('h1', {}, 'Audit'), h('div', { class: 'buttons' },
        button('Refresh', () => section.again()),
        may() ? button('Run a pass', () => confirm({
            title: 'Run a pass of the auditor?',
            words: ['It goes over Redis and all of billing’s lists once more, as soon as none is under way. What it repairs by itself it repairs as ever; it reads, at the pace that the configuration gives it.'],
            does: 'Run a pass',
            act: async () => { await call('POST', 'audit'); section.again(); return 'A pass begins as soon as none is under way.'; }
        })) : null)), section);
}


/* Inventory */

const MARK = 'lines.low-water';

function inventory(main, view) {
    const mark = h('input', { id: 'mark', type: 'number', min: '0', step: '1', value: stored(MARK) || '10', inputmode: 'numeric' });
    const verdict = h('p', { role: 'status' });
    const filter = h('select', { id: 'state' }, [['', 'any state'], 'free', 'leased', 'assigned', 'quarantined'].map(one =>
        h('option', { value: Array.isArray(one) ? one[0] : one }, Array.isArray(one) ? one[1] : one)));
    const list = h('div');
    let counts = null;

    const judge = () => {
        const low = Number(mark.value);

        if (!counts) {
            return;
        }

        const short = counts.free < low;
        verdict.className = short ? 'bad' : 'good';
        verdict.textContent = short ? `Only ${plural(counts.free, 'number')} free: the mark is ${number(low)}. Add some.` : `${plural(counts.free, 'number')} free: the mark is ${number(low)}.`;
    };

    mark.addEventListener('input', () => { store(MARK, mark.value); judge(); });

    const section = loaded(view, card('Numbers'), async () => {
        counts = (await get('numbers?limit=1')).counts;
        judge();
        return h('dl', { class: 'figures' }, ['free', 'leased', 'assigned', 'quarantined'].map(name =>
            h('div', {}, h('dt', {}, name), h('dd', {}, number(counts[name])))));
    });
    section.append(verdict);

    const show = () => {
        const part = paged(view, h('section', { class: 'card' }, h('h2', {}, 'The list')), `numbers?limit=${PAGE}${filter.value ? `&state=${filter.value}` : ''}`, {
            rows: data => data.numbers,
            table: rows => table('Numbers, in their order', [
                ['number', row => row.phone_number], ['worker', row => text(row.worker_id)], ['state', row => row.state]
            ], rows, filter.value ? `No number is ${filter.value}.` : 'There are no numbers.')
        });
        list.replaceChildren(part);
    };

    filter.addEventListener('change', show);
    main.append(h('div', { class: 'head' }, h('h1', {}, 'Inventory'), button('Refresh', () => { section.again(); show(); })), section,
        h('form', { class: 'row', onsubmit: event => event.preventDefault() },
            field('Low-water mark', mark, 'Kept in this browser alone.'), field('Show', filter)), list);
    show();
}

function stored(name) { try { return localStorage.getItem(name); } catch { return null; } }
function store(name, value) { try { localStorage.setItem(name, value); } catch { /* not kept, then */ } }


/* A tenant */

function tenant(main, view, [kind, tenantId]) {
    const search = h('input', { id: 'tenant-id', value: tenantId || '', required: true, maxlength: '64', autocomplete: 'off', spellcheck: 'false' });
    const of = h('select', { id: 'tenant-kind' }, h('option', { value: 'workspaces' }, 'workspace'), h('option', { value: 'accounts' }, 'account'));
    const found = h('div');

    of.value = kind === 'accounts' ? 'accounts' : 'workspaces';

    main.append(h('div', { class: 'head' }, h('h1', {}, 'Tenant')),
        h('form', { class: 'row', role: 'search', onsubmit: event => {
            event.preventDefault();
            const to = search.value.trim().replace(/^([wa]):/, (all, letter) => { of.value = letter === 'w' ? 'workspaces' : 'accounts'; return ''; });
            if (to) { location.hash = `#tenant/${of.value}/${part(to)}`; }
        } }, field('Id', search), field('It is a', of), h('button', { type: 'submit', class: 'strong' }, 'Look')), found);

    if (!tenantId) {
        found.append(empty('Give the id of a workspace or an account. An id with “w:” or “a:” before it will do, too.'));
        search.focus();
        return;
    }

    const base = `${of.value}/${part(tenantId)}`;
    const about = loaded(view, card(`${kind === 'accounts' ? 'Account' : 'Workspace'} ${tenantId}`), async () => {
        const data = await get(base);

        rest();
        return facts(kind === 'accounts'
            ? [['plan', text(data.plan)], ['customer', id(data.customer)], ['lines', number(data.lines)],
                ['lines a day, of its own', text(data.limits.api_provision_daily)], ['lines a month, of its own', text(data.limits.api_provision_monthly)]]
            : [['plan', text(data.plan)], ['subscription', h('span', { class: data.subscription === 'active' ? 'good' : 'warn' }, data.subscription)], ['customer', id(data.customer)],
                ...['phone', 'email'].map(channel => [`${channel} lines`, `${data.lines[channel].included} included, ${data.lines[channel].paid} paid`])]);
    });
    const more = h('div');

    found.append(about, more);

    function rest() {
        const keys = tenantKeys(view, base, kind, tenantId);
        const limits = tenantLimits(view, base, tenantId);
        const lines = tenantLines(view, base, kind);
        const events = paged(view, card('Events'), `${base}/events?limit=${PAGE}`, {
            rows: data => data.events,
            table: rows => rows.length ? h('ul', { class: 'story' }, rows.map(eventItem)) : empty('Nothing has happened yet, or for 90 days.')
        });

        events.querySelector('h2').textContent = 'Events, the latest first';
        more.replaceChildren(lines, keys, limits, events);
    }
}

function tenantKeys(view, base, kind, tenantId) {
    const section = loaded(view, card('API keys'), async again => {
        const { keys } = await get(`${base}/keys`);
        const columns = [
            ['key', key => id((key.key_id || key.id).slice(0, 16) + '…'), 'id'], ['name', key => text(key.name)], ['role', key => key.role],
            ['made', key => instant(key.createdAt)], ['ends', key => key.expires_at ? instant(key.expires_at) : 'never'], ['last used', key => text(key.last_used)]
        ];

        if (may()) {
            columns.push(['actions', key => button('Revoke', () => confirm({
                title: 'Revoke this key?',
                words: [['The key ', key.name ? ['“', theirs(key.name), '” '] : '',
                    `(${(key.key_id || key.id).slice(0, 16)}…) of ${tenantId} stops working on every node within a second. It cannot be made good again.`]],
                does: 'Revoke the key',
                act: async () => { await call('DELETE', `${base}/keys/${part(key.id)}`); again(); return 'The key is revoked.'; }
            }), { 'aria-label': `Revoke ${key.name || (key.key_id || key.id).slice(0, 16)}` })]);
        }

        return [
            table('Keys that work, and the day of the last use of each', columns, keys, 'There is no key.'),
            may() ? h('p', {}, button('Issue a key', () => confirm({
                title: `Issue a key for ${tenantId}?`,
                words: 'Whoever has the key may do what its role lets him, in this tenant’s name, until it ends or is revoked. It is shown once, here.',
                fields: [
                    field('Name', h('input', { id: 'key-name', name: 'name', maxlength: '64', autocomplete: 'off' }), 'For you; may be empty.'),
                    field('Role', h('select', { id: 'key-role', name: 'role' }, h('option', { value: 'all' }, 'all'), h('option', { value: 'read' }, 'read'))),
                    field('Ends', h('input', { id: 'key-end', name: 'end', type: 'date' }), 'At the begin of that day, in UTC; empty: never.')],
                does: 'Issue the key',
                act: async values => {
                    const made = await call('POST', `${base}/keys`, {
                        role: values.role, ...(values.name.trim() ? { name: values.name.trim() } : {}), ...(values.end ? { expires_at: `${values.end}T00:00:00.000Z` } : {})
                    });
                    again();
                    return h('div', {}, h('p', {}, 'The key is shown this once: hand it on now.'),
                        (made.key ? [['key', made.key]] : [['key id', made.key_id], ['secret', made.secret]]).map(([name, value]) =>
                            h('div', {}, h('p', {}, name), h('code', { class: 'secret' }, value))));
                }
            }))) : null
        ];
    });

    return section;
}

function tenantLimits(view, base, tenantId) {
    return loaded(view, card('Request limits'), async again => {
        const { limits } = await get('limits');
        const own = limits.filter(limit => ['tenant', 'key'].includes(limit.key));
        const rows = await Promise.all(own.map(async limit => {
            try {
                return { ...limit, own: await get(`${base}/limits/${part(limit.limit)}`) };
            } catch (error) {
                if (error.status === 404 || error.status === 400) { return { ...limit, own: null }; }
                throw error;
            }
        }));
        const columns = [
            ['limit', row => row.limit], ['as configured', row => `${row.rate}, burst ${row.burst}`],
            ['of its own', row => row.own ? `${row.own.rate}, burst ${row.own.burst}` : 'none']
        ];

        if (may()) {
            columns.push(['actions', row => h('div', { class: 'buttons' },
                button(row.own ? 'Change' : 'Set', () => confirm({
                    title: `Give ${tenantId} a rate of its own?`,
                    words: `It replaces the rate of its plan and of the configuration (${row.rate}, burst ${row.burst}) in the limit “${row.limit}”, on every node within a second.`,
                    fields: [
                        field('Rate', h('input', { id: 'rate', name: 'rate', required: true, value: row.own ? row.own.rate : row.rate, autocomplete: 'off' }), 'As 50r/s, 600r/m or 1000r/h.'),
                        field('Burst', h('input', { id: 'burst', name: 'burst', type: 'number', min: '1', value: row.own ? row.own.burst : '', inputmode: 'numeric' }), 'How many may come at once; empty: as many as in a second.')],
                    does: 'Set the rate',
                    act: async values => {
                        await call('PUT', `${base}/limits/${part(row.limit)}`, { rate: values.rate.trim(), ...(values.burst ? { burst: Number(values.burst) } : {}) });
                        again();
                        return 'The rate is set.';
                    }
                }), { 'aria-label': `${row.own ? 'Change' : 'Set'} the rate of ${row.limit}` }),
                row.own ? button('Remove', () => confirm({
                    title: `Take the rate of its own from ${tenantId}?`,
                    words: `In the limit “${row.limit}” it is back to its plan’s rate, or the configuration’s, on every node within a second.`,
                    does: 'Remove the rate',
                    act: async () => { await call('DELETE', `${base}/limits/${part(row.limit)}`); again(); return 'The rate is removed.'; }
                }), { 'aria-label': `Remove the rate of ${row.limit}` }) : null)]);
        }

        return table('Limits that count by tenant or key', columns, rows, 'No limit of the configuration counts by tenant or key.');
    });
}

/* in the currency's smallest units, as billing counts: how many make one of it, no API says */
const money = (amount, currency) => amount === null || amount === undefined ? 'unclear' : `${number(amount)} ${text(currency)}`;
const sums = due => Object.entries(due).map(([currency, amount]) => money(amount, currency)).join(', ') || 'nothing';

const STUCK_WORDS = {
    refund_failed: 'a refund of it failed: the rest is for people, and the operation will wait for them',
    money_unclear: 'its amounts do not fit together, or billing does not list all of them yet: the operation will wait until they do, or people have looked'
};

/* what goes back is shown first, and said with it: another amount by then is shown anew */
function refund(row, kind, again) {
    const path = `lines/${part(row.id)}/refund`;
    let due = null;
    let cursor = null;

    confirm({
        title: 'Refund this line?',
        words: [row.status === 'active'
            ? `Line ${row.id}${row.what ? ` (${row.what})` : ''} ends now, and does not come back. Its place in the plan is free, its billing is canceled, and what could still be paid of it is void.`
            : `Line ${row.id}${row.what ? ` (${row.what})` : ''} has ended. What was kept for it until now goes back, too.`,
            row.status === 'active' && kind === 'accounts' ? 'Its number rests a while, and then is free for others.' : '',
            'All that it cost and is left goes back to whoever paid it, of each of its invoices; nothing goes back twice. This cannot be taken back.'].filter(Boolean),
        look: async () => {
            const preview = await get(path);

            ({ due, cursor } = preview);
            return [
                table('Its invoices, the newest first, in the currency’s smallest units', [
                    ['invoice', one => id(one.invoice), 'id'], ['status', one => text(one.status)],
                    ['paid', one => money(one.paid, one.currency), 'number'], ['given back', one => money(one.given_back, one.currency), 'number'],
                    ['disputed', one => money(one.disputed, one.currency), 'number'], ['due', one => one.stuck ? h('span', {}, money(one.due, one.currency), h('br'), STUCK_WORDS[one.stuck] || text(one.stuck)) : money(one.due, one.currency), 'number']
                ], preview.invoices, 'None of its invoices was paid.'),
                h('p', {}, h('strong', {}, `Goes back: ${sums(preview.due)}`), preview.cursor ? ', and what is due of older invoices, which are more than are shown.' : '.')];
        },
        does: 'Refund the line',
        act: async () => { const { operation } = await call('POST', path, { due, cursor }); again(); return `The line is refunded by operation ${operation}.`; }
    });
}

function tenantLines(view, base, kind) {
    const section = paged(view, card('Lines'), `${base}/lines?limit=${PAGE}`, {
        rows: data => data.lines.map(line => kind === 'accounts'
            ? { id: line.id, what: line.phone_number, status: line.status, paid: true, reason: line.reason, at: line.created_at, named: line.customer_reference, who: '' }
            : {
                id: line._id, what: line.phone || line.email || line.channelType, status: line.provisioningStatus, reason: line.reason,
                paid: line.paymentStatus === 'paid',
                at: line.createdAt, named: line.customerReference, who: [line.firstName, line.lastName].filter(Boolean).join(' ')
            }),
        table: rows => {
            const columns = [
                ['line', row => id(row.id), 'id'], ['name', row => text(row.who || row.named)], ['number or channel', row => text(row.what)],
                ['status', row => row.status], ['reason', row => text(row.reason)], ['made', row => instant(row.at)]
            ];

            if (may()) {
                columns.push(['actions', row => h('div', { class: 'buttons' },
                    row.status === 'active' ? button('Release', () => confirm({
                        title: 'Release this line?',
                        words: [`Line ${row.id}${row.what ? ` (${row.what})` : ''} ends now, and does not come back. Its place in the plan is free, its billing is canceled, what could still be paid of it is void, and what was paid since goes back.`,
                            kind === 'accounts' ? 'Its number rests a while, and then is free for others.' : ''].filter(Boolean),
                        does: 'Release the line',
                        act: async () => { await call('POST', `lines/${part(row.id)}/release`); section.again(); return 'The line is released.'; }
                    }), { 'aria-label': `Release ${row.id}` }) : null,
                    row.paid && ['active', 'canceled'].includes(row.status) ? button('Refund', () => refund(row, kind, section.again), { 'aria-label': `Refund ${row.id}` }) : null)]);
            }

            return table('Lines, the newest first', columns, rows, 'It has no lines.');
        }
    });

    return section;
}


/* Log */

function log(main, view) {
    const section = paged(view, card('What operators asked for'), `audit-log?limit=${PAGE}`, {
        rows: data => data.entries,
        table: rows => table('Requests that were to change something, the latest first', [
            ['when', row => instant(row.at)], ['who', row => row.operator], ['asked for', row => h('code', {}, `${row.method} ${row.path}`)],
            ['with', row => row.body ? h('code', {}, row.body) : '–'], ['refused unread', row => text(row.status)], ['from', row => row.address], ['request', row => id(row.request_id)]
        ], rows, 'Nobody has asked for anything yet.')
    });

    main.append(h('div', { class: 'head' }, h('h1', {}, 'Log'), button('Refresh', () => section.again())),
        h('p', { class: 'note' }, 'Each is written down before it is done; what came of it is in the access log, by its request, and in the tenant’s events.'), section);
}


/* Signing in and out; which view */

const VIEWS = { overview, operations, audit, inventory, tenant, log };
const TITLES = { overview: 'Overview', operations: 'Operations', audit: 'Audit', inventory: 'Inventory', tenant: 'Tenant', log: 'Log' };

function signIn(words) {
    const token = h('input', { id: 'token', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false' });
    const wrong = h('div', { role: 'alert' }, words ? failed(new Error(words)) : null);
    const yes = h('button', { type: 'submit', class: 'strong' }, 'Sign in');

    document.title = 'Sign in · Lines console';
    $('nav').hidden = $('who').hidden = true;
    $('banner').textContent = '';
    forgetPlots();
    $('main').replaceChildren(h('section', { class: 'card login' }, h('h1', {}, 'Sign in'), wrong,
        h('form', { onsubmit: async event => {
            event.preventDefault();

            const value = token.value.trim();

            token.value = '';
            wrong.replaceChildren();
            yes.disabled = true;

            try {
                if (!/^[\x21-\x7e]+$/.test(value)) { throw new Refused(401, ''); }
                state.me = await call('POST', 'session', undefined, { Authorization: `Bearer ${value}` });
                signedIn();
                state.tabs.postMessage('');
            } catch (error) {
                wrong.replaceChildren(failed(error.status === 401 ? new Error('This token is none of the node’s. Look into the token_file of lines_admin.') : error));
                yes.disabled = false;
                token.focus();
            }
        } },
        field('An operator’s token', token, 'One of the token_file of lines_admin. It is sent once, and neither this page nor Redis keeps it: what stays is a session of eight hours.'),
        yes)));
    token.focus();
}

function signedIn() {
    $('nav').replaceChildren(h('ul', {}, Object.entries(TITLES).map(([name, title]) => h('li', {}, h('a', { href: `#${name}` }, title)))));
    $('who').replaceChildren(h('span', {}, `${state.me.operator}, ${state.me.role === 'all' ? 'may change things' : 'may only read'}`), button('Sign out', async () => {
        try {
            await call('DELETE', 'session');
            signedOut();
        } catch (error) {
            say(error.message);
        }
    }));
    $('nav').hidden = $('who').hidden = false;
    watch();
    show();
}

function signedOut(words) {
    state.me = null;
    state.show = null;
    state.samples = [];
    state.last = null;
    state.nodes.clear();
    state.view++;
    clearTimeout(state.timer);
    document.querySelectorAll('dialog[open]').forEach(dialog => dialog.close());
    signIn(words);
}

function show() {
    if (!state.me) {
        return;
    }

    const [name, ...rest] = location.hash.replace(/^#/, '').split('/').map(word => { try { return decodeURIComponent(word); } catch { return word; } });
    const view = Object.hasOwn(VIEWS, name) ? name : 'overview';
    const main = $('main');

    state.view++;
    state.show = null;
    forgetPlots();
    document.title = `${TITLES[view]} · Lines console`;
    main.replaceChildren();

    for (const link of $('nav').querySelectorAll('a')) {
        if (link.getAttribute('href') === `#${view}`) { link.setAttribute('aria-current', 'page'); } else { link.removeAttribute('aria-current'); }
    }

    VIEWS[view](main, state.view, rest);
    scrollTo(0, 0);
}

addEventListener('hashchange', () => {
    show();
    if (state.me && document.activeElement === document.body) { $('main').focus({ preventScroll: true }); }
});

document.addEventListener('visibilitychange', () => { if (!document.hidden && state.me) { watch(); } });

/* a link of a view's own would be one */
$('skip').addEventListener('click', event => { event.preventDefault(); $('main').focus(); });

(async () => {
    $('main').replaceChildren(empty('Loading …'));

    try {
        state.admin = (await (await fetch('config.json', { cache: 'no-cache' })).json()).admin;
    } catch {
        $('main').replaceChildren(failed(new Error('The node did not answer. Load this page again.')));
        return;
    }

    /* the cookie is all tabs': who signs in in one is who acts in the others */
    state.tabs = new BroadcastChannel(`lines-console ${state.admin}`);
    state.tabs.onmessage = async () => {
        try {
            const me = await get('session');

            document.querySelectorAll('dialog[open] form').forEach(form => form.closest('dialog').close());
            state.me = me;
            signedIn();
        } catch { /* the next look says why */ }
    };

    let asked = false;

    /* a session that cannot be asked for may be good: it counts as soon as it can */
    const begin = async () => {
        try {
            const me = await get('session');

            if (!state.me) {
                state.me = me;
                signedIn();
            }
        } catch (error) {
            if (!state.me && !asked) {
                signIn(error.status === 401 ? '' : error.message);
            }
            if (!state.me && error.status !== 401) {
                asked = true;
                setTimeout(() => { if (!state.me) { begin(); } }, POLL);
            }
        }
    };

    begin();
})();

})();
