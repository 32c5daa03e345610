// Runs both clients against a server and prints one JSON line:
//   node interop.mjs CLIENTS_FOLDER http://127.0.0.1:PORT http://127.0.0.1:GRPC_PORT

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

import * as grpc from './grpc.mjs';
import * as rest from './rest.mjs';
import { describe } from './suite.mjs';

const [folder, http, rpc] = process.argv.slice(2);
const clients = createRequire(resolve(folder, 'package.json'));
const notYet = JSON.parse(readFileSync(new URL('./not_yet.json', import.meta.url)));
const version = (name) =>
    JSON.parse(readFileSync(resolve(folder, 'node_modules', name, 'package.json'))).version;

// Warnings count: a client that finds the server incompatible says so there.
const warnings = [];
console.warn = (...args) => warnings.push(args.join(' '));

const rows = [];
for (const [name, half, url] of [['rest', rest, http], ['grpc', grpc, rpc]])
    try {
        rows.push(...(await half.run(clients, new URL(url), notYet)));
    } catch (e) {
        rows.push({ transport: name, method: '(all)', ok: false, checks: 0, not_yet: false, errors: [describe(e)] });
    }
rows.push({ transport: 'both', method: '(no warnings)', ok: warnings.length === 0, checks: 1, not_yet: false,
    errors: warnings });
console.log(JSON.stringify({
    node: process.version,
    clients: Object.fromEntries(['@qdrant/js-client-rest', '@qdrant/js-client-grpc'].map((n) => [n, version(n)])),
    rows,
}));
process.exit(0);
