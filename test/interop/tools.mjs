// What gRPC tools do that know nothing of the API: they ask server reflection for the services and
// messages, build a client out of the answer, and call it; and they watch the health service.

import { readFileSync } from 'node:fs';

import { Suite, equal, ok } from './suite.mjs';

const SERVICES = ['grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection',
    'grpc.reflection.v1alpha.ServerReflection', 'qdrant.Collections', 'qdrant.Points', 'qdrant.Qdrant',
    'qdrant.Snapshots'];
const CANCELLED = 1;

const call = (client, method, message) => new Promise((yes, no) => {
    client[method](message, { deadline: Date.now() + 20000 }, (e, r) => (e ? no(e) : yes(r)));
});

// The first message, and the code with which the stream ends after it was cancelled.
const watch = (client, service) => new Promise((yes) => {
    let first;
    const stream = client.Watch({ service });
    stream.on('data', (m) => { first ??= m.status; stream.cancel(); });
    stream.on('error', (e) => yes([first, e.code]));
    stream.on('end', () => yes([first, 0]));
});

export async function run(clients, url) {
    const grpc = clients('@grpc/grpc-js');
    const { GrpcReflection } = clients('grpc-js-reflection-client');
    const tls = url.protocol === 'https:';
    const credentials = tls ? grpc.credentials.createSsl(readFileSync(process.env.NODE_EXTRA_CA_CERTS))
        : grpc.credentials.createInsecure();
    const names = ['services', 'methods', 'a client of it', 'health', 'unknown symbols'];
    const s = new Suite(`tools${tls ? ' over TLS' : ''}`, names, {});
    const asked = new GrpcReflection(url.host, credentials);
    const made = async (name) => (await asked.getDescriptorBySymbol(name)).getPackageObject();
    await s.op('services', async () => equal((await asked.listServices()).sort(), SERVICES));
    await s.op('methods', async () => {
        const methods = (await asked.listMethods('qdrant.Points')).map((m) => m.name);
        ok(['Upsert', 'Query', 'Scroll', 'Count'].every((m) => methods.includes(m)), methods.join());
    });
    await s.op('a client of it', async () => {
        const { qdrant } = await made('qdrant.Collections');
        const c = new qdrant.Collections(url.host, credentials);
        const p = new (await made('qdrant.Points')).qdrant.Points(url.host, credentials);
        const collection_name = 'interop_tools';
        ok((await call(c, 'Create', { collection_name, vectors_config: { params: { size: 2, distance: 'Dot' } } })).result);
        await call(p, 'Upsert', { collection_name, wait: true,
            points: [{ id: { num: 7 }, vectors: { vector: { data: [1, 2] } } }] });
        const found = await call(p, 'Query', { collection_name, limit: 1,
            query: { nearest: { dense: { data: [3, 4] } } } });
        equal([Number(found.result[0].id.num), found.result[0].score], [7, 11]);
        ok((await call(c, 'Delete', { collection_name })).result);
        c.close();
        p.close();
    });
    await s.op('health', async () => {
        const h = new (await made('grpc.health.v1.Health')).grpc.health.v1.Health(url.host, credentials);
        equal((await call(h, 'Check', {})).status, 'SERVING');
        equal(await watch(h, 'qdrant.Points'), ['SERVING', CANCELLED]);
        equal(await watch(h, 'no.Such'), ['SERVICE_UNKNOWN', CANCELLED]);
        h.close();
    });
    await s.op('unknown symbols', async () => {
        for (const name of ['no.Such', 'qdrant', 'qdrant.Points.', ''])
            equal(await asked.getDescriptorBySymbol(name).then(() => 'found', () => 'error'), 'error');
    });
    return s.finish();
}
