// What both halves share: rows per operation, comparison, the vectors they store.

export class Suite {
    // known: the operations that the client has; notYet: { operation: what the server calls it }.
    constructor(transport, known, notYet) {
        this.transport = transport;
        this.known = new Set(known);
        this.notYet = notYet;
        this.rows = new Map(); // operation -> { ok, checks, errors }
    }

    row(name) {
        if (!this.rows.has(name)) this.rows.set(name, { ok: true, checks: 0, errors: [] });
        return this.rows.get(name);
    }

    // One exercise of an operation: it holds when f does not throw.
    async op(name, f) {
        const row = this.row(name);
        row.checks++;
        try {
            await f();
        } catch (e) {
            row.ok = false;
            row.errors.push(describe(e));
        }
    }

    // An operation that is on the list must be refused by name; refused(e) gives the server's text.
    async refuse(name, f, refused) {
        await this.op(name, async () => {
            let e;
            try {
                await f();
            } catch (x) {
                e = x;
            }
            if (e === undefined) throw new Error('it is served: take it off not_yet.json');
            equal(refused(e), `Not implemented: ${this.notYet[name]}`);
        });
    }

    // The rows, with one for each operation that was forgotten and each name that is none.
    finish() {
        for (const name of this.known)
            if (!this.rows.has(name)) {
                this.row(name).ok = false;
                this.row(name).errors.push('neither exercised nor on not_yet.json');
            }
        for (const name of [...this.rows.keys(), ...Object.keys(this.notYet)])
            if (!this.known.has(name)) {
                this.row(name).ok = false;
                this.row(name).errors.push('the client has no such operation');
            }
        return [...this.rows].map(([method, row]) => ({
            transport: this.transport,
            method,
            ok: row.ok,
            checks: row.checks,
            not_yet: method in this.notYet,
            errors: row.errors,
        }));
    }
}

export function describe(e) {
    let text = e instanceof Error ? e.message : String(e);
    if (e && e.data !== undefined) text += ` ${JSON.stringify(e.data)}`;
    const at = e instanceof Error && /\/(\w+\.mjs:\d+)/.exec(e.stack ?? '');
    return (at ? `${at[1]}: ` : '') + text.slice(0, 600);
}

const shown = (v) =>
    JSON.stringify(v, (_, x) => (typeof x === 'bigint' ? `${x}n` : x))?.slice(0, 300);

export function equal(got, want, what = '') {
    if (!same(got, want)) throw new Error(`${what} wanted ${shown(want)}, got ${shown(got)}`.trim());
}

export function ok(v, what) {
    if (!v) throw new Error(what);
}

function same(a, b) {
    if (a === b) return true;
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
    if (Array.isArray(a) !== Array.isArray(b)) return false;
    const ka = Object.keys(a).filter((k) => a[k] !== undefined);
    const kb = Object.keys(b).filter((k) => b[k] !== undefined);
    return ka.length === kb.length && ka.every((k) => same(a[k], b[k]));
}

// Every field of want is in got, with that value; got may say more.
export function includes(got, want, path = '') {
    if (typeof want !== 'object' || want === null) return equal(got, want, path);
    ok(typeof got === 'object' && got !== null, `${path}: wanted an object, got ${shown(got)}`);
    for (const k of Object.keys(want)) includes(got[k], want[k], `${path}.${k}`);
}

export function near(got, want, tolerance = 1e-4, what = '') {
    const bound = tolerance * Math.max(1, Math.abs(want));
    if (!(Math.abs(got - want) <= bound)) throw new Error(`${what} wanted about ${want}, got ${got}`);
}

export function nearAll(got, want, tolerance = 1e-4, what = '') {
    equal(got.length, want.length, `${what} length`);
    for (let i = 0; i < want.length; i++) near(got[i], want[i], tolerance, `${what}[${i}]`);
}

// ---- the data: the same on every run ----

let seed = 42;
export function random() {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 4294967296;
}

export const DIM = 8;
export const COUNT = 120;
export const COLORS = ['red', 'green', 'blue', 'black'];

// Points 1 .. COUNT: a vector, and a payload that every kind of value has a place in.
export const points = Array.from({ length: COUNT }, (_, i) => ({
    id: i + 1,
    vector: Array.from({ length: DIM }, () => Math.fround(random() * 2 - 1)),
    payload: {
        color: COLORS[i % 4],
        price: i * 1.5 + 0.25,
        count: i,
        new: i % 3 === 0,
        tags: i % 5 === 0 ? [] : [`t${i % 5}`, `t${i % 7}`],
        nothing: null,
        in: { deep: [{ x: i % 10 }, { x: 100 + i }], text: 'grüße 🏹',
            at: `2024-01-${String((i % 28) + 1).padStart(2, '0')}T12:00:00Z`,
            place: { lon: (i % 36) * 10 - 175, lat: 52.5 },
            title: `The ${COLORS[i % 4]} foxes, number ${i}` },
    },
}));

const dot = (a, b) => a.reduce((s, x, i) => s + x * b[i], 0);
const norm = (a) => Math.sqrt(dot(a, a));

// The score that a client sees.
export const scores = {
    Dot: dot,
    Cosine: (a, b) => dot(a, b) / (norm(a) * norm(b)),
    Euclid: (a, b) => Math.sqrt(a.reduce((s, x, i) => s + (x - b[i]) ** 2, 0)),
    Manhattan: (a, b) => a.reduce((s, x, i) => s + Math.abs(x - b[i]), 0),
};

// [{ id, score }] best first, over the points that keep() holds for.
export function nearest(distance, vector, limit, keep = () => true, from = points) {
    const sign = distance === 'Euclid' || distance === 'Manhattan' ? 1 : -1;
    return from
        .filter(keep)
        .map((p) => ({ id: p.id, score: scores[distance](vector, p.vector) }))
        .sort((a, b) => sign * (a.score - b.score) || a.id - b.id)
        .slice(0, limit);
}

export const query = Array.from({ length: DIM }, () => Math.fround(random() * 2 - 1));
