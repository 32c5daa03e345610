// Runs one part of the tests with both clients against a server and prints one JSON line:
//   node interop.mjs methods|kept|keys|tools CLIENTS_FOLDER http://127.0.0.1:PORT http://127.0.0.1:GRPC_PORT

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

import * as grpc from './grpc.mjs';
import * as rest from './rest.mjs';
import { describe } from './suite.mjs';
import * as tools from './tools.mjs';

const [part, folder, http, rpc] = process.argv.slice(2);
const clients = createRequire(resolve(folder, 'package.json'));
const notYet = JSON.parse(readFileSync(new URL('./not_yet.json', import.meta.url)));
const version = (name) =>
    JSON.parse(readFileSync(resolve(folder, 'node_modules', name, 'package.json'))).version;

// Warnings count: a client that finds the server incompatible says so there.
const warnings = [];
console.warn = (...args) => warnings.push(args.join(' '));

const parts = {
    methods: [[rest.run, http], [grpc.run, rpc]],
    kept: [[rest.kept, http]],
    keys: [[rest.keys, http], [grpc.keys, rpc]],
    tools: [[tools.run, rpc], [tools.run, http]],
};
const rows = [];
for (const [f, url] of parts[part])
    try {
        rows.push(...(await f(clients, new URL(url), notYet)));
    } catch (e) {
        rows.push({ transport: url, method: `(${part})`, ok: false, checks: 0, not_yet: false, errors: [describe(e)] });
    }
// A key without TLS is worth a warning to the clients, and meant here.
const bad = warnings.filter((w) => !(part === 'keys' && w.includes('unsecure connection')));
rows.push({ transport: 'both', method: `(no warnings: ${part})`, ok: bad.length === 0, checks: 1, not_yet: false,
    errors: bad });
console.log(JSON.stringify({
    node: process.version,
    clients: Object.fromEntries(['@qdrant/js-client-rest', '@qdrant/js-client-grpc'].map((n) => [n, version(n)])),
    rows,
}));
process.exit(0);
