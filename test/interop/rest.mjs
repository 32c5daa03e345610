// The REST client. Its methods and, below them, every operation of its generated API are
// enumerated: calls are recorded as they pass.

import { COUNT, DIM, Suite, equal, includes, near, nearAll, nearest, ok, points, query,
         scores } from './suite.mjs';

const C = 'interop_rest';
const N = 'interop_rest_named';
const UUID = '0b1d8a7e-4f53-4c2e-9d5c-7f4f2a1b3c4d';

const ids = (list) => list.map((p) => p.id);
const refusedText = (e) => (e.status === 501 ? e.data?.status?.error : `status ${e.status}: ${e.message}`);

// The routes that newer clients call no more, and older ones still do.
async function post(url, path, body) {
    const r = await fetch(new URL(path, url), { method: 'POST', body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' } });
    const answer = await r.json();
    if (r.status !== 200) throw Object.assign(new Error(`${r.status} ${answer.status.error}`), { status: r.status });
    return answer.result;
}

async function status(f) {
    try {
        await f();
    } catch (e) {
        return e.status;
    }
    return 200;
}

function checkHits(got, want, what) {
    equal(ids(got), ids(want), `${what}: ids`);
    nearAll(got.map((p) => p.score), want.map((p) => p.score), 1e-4, `${what}: scores`);
}

const ring = (corners) => ({ points: [...corners, corners[0]].map(([lon, lat]) => ({ lon, lat })) });

// Filters, each with what it must select.
const color = (v) => ({ key: 'color', match: { value: v } });
export const filters = [
    ['value', { must: [color('red')] }, (p) => p.payload.color === 'red'],
    ['integer', { must: [{ key: 'count', match: { value: 7 } }] }, (p) => p.payload.count === 7],
    ['bool', { must: [{ key: 'new', match: { value: true } }] }, (p) => p.payload.new],
    ['any', { must: [{ key: 'color', match: { any: ['red', 'blue'] } }] },
        (p) => ['red', 'blue'].includes(p.payload.color)],
    ['except', { must: [{ key: 'color', match: { except: ['red', 'blue'] } }] },
        (p) => !['red', 'blue'].includes(p.payload.color)],
    ['range', { must: [{ key: 'price', range: { gte: 10, lt: 50.5 } }] },
        (p) => p.payload.price >= 10 && p.payload.price < 50.5],
    ['should', { should: [color('red'), color('green')] },
        (p) => ['red', 'green'].includes(p.payload.color)],
    ['must_not', { must_not: [color('red')] }, (p) => p.payload.color !== 'red'],
    ['min_should', { min_should: { conditions: [color('red'), { key: 'new', match: { value: true } },
        { key: 'count', range: { lt: 60 } }], min_count: 2 } },
        (p) => (p.payload.color === 'red') + p.payload.new + (p.payload.count < 60) >= 2],
    ['tags', { must: [{ key: 'tags', match: { value: 't1' } }] }, (p) => p.payload.tags.includes('t1')],
    ['has_id', { must: [{ has_id: [3, 5, 999] }] }, (p) => p.id === 3 || p.id === 5],
    ['is_empty', { must: [{ is_empty: { key: 'tags' } }] }, (p) => p.payload.tags.length === 0],
    ['is_empty, missing', { must: [{ is_empty: { key: 'absent' } }] }, () => true],
    ['is_null', { must: [{ is_null: { key: 'nothing' } }] }, () => true],
    ['values_count', { must: [{ key: 'tags', values_count: { gte: 2 } }] },
        (p) => p.payload.tags.length >= 2],
    ['path', { must: [{ key: 'in.deep[].x', match: { value: 105 } }] },
        (p) => p.payload.count === 5],
    ['nested', { must: [{ nested: { key: 'in.deep', filter: { must: [{ key: 'x', range: { lt: 3 } }] } } }] },
        (p) => p.payload.count % 10 < 3],
    ['datetime range', { must: [{ key: 'in.at', range: { gte: '2024-01-10', lt: '2024-01-20T00:00:00+00:00' } }] },
        (p) => p.payload.count % 28 >= 9 && p.payload.count % 28 < 19],
    ['geo_bounding_box', { must: [{ key: 'in.place', geo_bounding_box: { top_left: { lon: 160, lat: 60 },
        bottom_right: { lon: -160, lat: 40 } } }] }, (p) => Math.abs(p.payload.in.place.lon) > 160],
    ['geo_radius', { must: [{ key: 'in.place', geo_radius: { center: { lon: 5, lat: 52.5 }, radius: 1000000 } }] },
        (p) => [-5, 5, 15].includes(p.payload.in.place.lon)],
    ['geo_polygon', { must: [{ key: 'in.place', geo_polygon: { exterior: ring([[-20, 40], [20, 40], [20, 60], [-20, 60]]),
        interiors: [ring([[-8, 50], [0, 50], [0, 55], [-8, 55]])] } }] },
        (p) => [-15, 5, 15].includes(p.payload.in.place.lon)],
    ['text', { must: [{ key: 'in.title', match: { text: 'd fox' } }] }, (p) => p.payload.color === 'red'],
    ['text_any', { must: [{ key: 'in.title', match: { text_any: 'red gree' } }] },
        (p) => ['red', 'green'].includes(p.payload.color)],
    ['phrase', { must: [{ key: 'in.title', match: { phrase: 'blue foxes' } }] }, (p) => p.payload.color === 'blue'],
    ['prefix', { must: [{ key: 'in.title', match: { prefix: 'The bl' } }] },
        (p) => ['blue', 'black'].includes(p.payload.color)],
    ['slices', { should: [0, 1, 2].map((index) => ({ slice: { total: 3, index } })) }, () => true],
    ['sub-filter', { must: [{ should: [color('red'), color('blue')] }, { key: 'count', range: { gt: 50 } }] },
        (p) => ['red', 'blue'].includes(p.payload.color) && p.payload.count > 50],
];

async function collections(s, c) {
    await s.op('versionInfo', async () => {
        const v = await c.versionInfo();
        equal(v.title, 'qdrant - vector search engine');
        ok(/^1\.\d+\.\d+/.test(v.version), `version ${v.version}`);
        ok(/^[0-9a-f]{40}$/.test(v.commit), `commit ${v.commit}`);
    });
    await s.op('createCollection', async () => {
        equal(await c.createCollection(C, { vectors: { size: DIM, distance: 'Dot' },
            hnsw_config: { m: 24 }, optimizers_config: { indexing_threshold: 5000 } }), true);
        equal(await status(() => c.createCollection(C, { vectors: { size: 4, distance: 'Dot' } })), 409);
        equal(await c.createCollection(N, {
            vectors: { image: { size: DIM, distance: 'Cosine' },
                text: { size: 2, distance: 'Euclid', datatype: 'float16' },
                rows: { size: 3, distance: 'Dot', multivector_config: { comparator: 'max_sim' } } },
            sparse_vectors: { words: { modifier: 'idf' } } }), true);
    });
    await s.op('recreateCollection', async () => {
        equal(await c.recreateCollection('interop_again', { vectors: { size: 2, distance: 'Dot' } }), true);
        equal(await c.recreateCollection('interop_again', { vectors: { size: 3, distance: 'Dot' } }), true);
        equal((await c.getCollection('interop_again')).config.params.vectors.size, 3);
    });
    await s.op('collectionClusterInfo', async () => {
        const info = await c.collectionClusterInfo(C);
        equal([info.shard_count, info.local_shards.length, info.remote_shards.length], [1, 1, 0]);
        equal([info.local_shards[0].shard_id, info.local_shards[0].state], [0, 'Active']);
    });
    await s.op('updateCollectionCluster', async () => {
        const move = { move_shard: { shard_id: 0, from_peer_id: 1, to_peer_id: 2 } };
        equal(await status(() => c.updateCollectionCluster(C, move)), 405);
    });
    await s.op('clusterTelemetry', async () => equal(await status(() => c.clusterTelemetry()), 405));
    await s.op('collectionExists', async () => {
        equal(await c.collectionExists(C), { exists: true });
        equal(await c.collectionExists('nothing'), { exists: false });
    });
    await s.op('getCollections', async () => {
        const names = (await c.getCollections()).collections.map((x) => x.name);
        ok([C, N, 'interop_again'].every((n) => names.includes(n)), names.join());
    });
    await s.op('deleteCollection', async () => {
        equal(await c.deleteCollection('interop_again'), true);
        equal(await c.deleteCollection('interop_again'), false);
        equal(await c.collectionExists('interop_again'), { exists: false });
    });
    await s.op('createCollection', async () => {
        const strict = { enabled: true, max_query_limit: 3, unindexed_filtering_retrieve: false };
        await c.createCollection('interop_strict', { vectors: { size: 2, distance: 'Dot' }, strict_mode_config: strict });
        includes((await c.getCollection('interop_strict')).config.strict_mode_config, strict);
        equal(await status(() => c.scroll('interop_strict', { limit: 4 })), 400, 'limit');
        equal(await status(() => c.query('interop_strict', { query: [1, 2], limit: 2, filter: { must: [color('red')] } })),
            400, 'no index');
        equal((await c.query('interop_strict', { query: [1, 2], limit: 3 })).points, []);
        await c.deleteCollection('interop_strict');
    });
    await s.op('getCollection', async () => {
        const info = await c.getCollection(C);
        ok(['green', 'yellow', 'grey'].includes(info.status), `status ${info.status}`);
        equal(info.optimizer_status, 'ok');
        includes(info.config, { params: { vectors: { size: DIM, distance: 'Dot' }, shard_number: 1,
            replication_factor: 1, write_consistency_factor: 1, on_disk_payload: true },
            hnsw_config: { m: 24, ef_construct: 100 },
            optimizer_config: { indexing_threshold: 5000, deleted_threshold: 0.2 },
            wal_config: { wal_capacity_mb: 32 } });
        includes((await c.getCollection(N)).config.params, {
            vectors: { image: { size: DIM, distance: 'Cosine' }, text: { datatype: 'float16' },
                rows: { multivector_config: { comparator: 'max_sim' } } },
            sparse_vectors: { words: { modifier: 'idf' } } });
        equal(await status(() => c.getCollection('nothing')), 404);
    });
}

async function aliases(s, c) {
    const change = (...actions) => c.updateCollectionAliases({ actions });
    const create = (alias_name, collection_name = C) => ({ create_alias: { collection_name, alias_name } });
    const rename = (old_alias_name, new_alias_name) => ({ rename_alias: { old_alias_name, new_alias_name } });
    const drop = (alias_name) => ({ delete_alias: { alias_name } });
    const list = (...names) => ({ aliases: names.map((alias_name) => ({ alias_name, collection_name: C })) });
    await s.op('updateCollectionAliases', async () => {
        equal(await change(create('interop_b'), create('interop_a')), true);
        equal(await change(rename('interop_b', 'interop_c'), drop('interop_nothing')), true);
        equal(await status(() => change(drop('interop_a'), create('interop_d', 'nothing'))), 404);
        equal(await status(() => change(rename('interop_b', 'interop_d'))), 404);
        equal(await status(() => change(create(N))), 409);
        equal(await status(() => c.createCollection('interop_a', { vectors: { size: 2, distance: 'Dot' } })), 400);
        const throughAlias = await c.getCollection('interop_a');
        equal(throughAlias.config.params.vectors.size, DIM);
        equal(await c.collectionExists('interop_c'), { exists: true });
        equal(await c.deleteCollection('interop_c'), false);
    });
    await s.op('getAliases', async () => equal(await c.getAliases(), list('interop_a', 'interop_c')));
    await s.op('getCollectionAliases', async () => {
        equal(await c.getCollectionAliases(C), list('interop_a', 'interop_c'));
        equal(await c.getCollectionAliases(N), list());
    });
    await s.op('updateCollectionAliases', async () => {
        await c.createCollection('interop_gone', { vectors: { size: 2, distance: 'Dot' } });
        equal(await change(create('interop_g', 'interop_gone'), drop('interop_c')), true);
        equal((await c.upsert('interop_g', { points: [{ id: 1, vector: [1, 2] }] })).status, 'completed');
        equal((await c.query('interop_g', { query: [1, 2] })).points.length, 1);
        equal(await c.deleteCollection('interop_gone'), true);
        equal(await status(() => c.getCollection('interop_g')), 404);
        equal(await c.getAliases(), list('interop_a'));
    });
}

async function changes(s, c) {
    const X = 'interop_changed';
    const green = async () => {
        for (let i = 0; i < 400 && (await c.getCollection(X)).status !== 'green'; i++)
            await new Promise((r) => setTimeout(r, 25));
        equal((await c.getCollection(X)).status, 'green');
    };
    await c.createCollection(X, { vectors: { image: { size: DIM, distance: 'Dot' } }, metadata: { a: 1, b: 2 } });
    await c.upsert(X, { points: points.map((p) => ({ id: p.id, vector: { image: p.vector } })) });
    const check = async (what) => checkHits((await c.query(X, { query, using: 'image', limit: 5 })).points, nearest('Dot', query, 5), what);
    await s.op('updateCollection', async () => {
        equal(await c.updateCollection(X, { hnsw_config: { m: 32 }, optimizers_config: { indexing_threshold: 7000 },
            params: { on_disk_payload: false, read_fan_out_factor: 2 }, quantization_config: { scalar: { type: 'int8' } },
            vectors: { image: { hnsw_config: { ef_construct: 150 }, on_disk: true } }, metadata: { b: null, c: 'x' } }), true);
        await check('while it is built anew');
        await green();
        await check('built anew');
        const { config } = await c.getCollection(X);
        includes(config, { params: { vectors: { image: { size: DIM, hnsw_config: { ef_construct: 150 }, on_disk: true } },
            on_disk_payload: false, read_fan_out_factor: 2 }, hnsw_config: { m: 32, ef_construct: 100 },
            optimizer_config: { indexing_threshold: 7000 }, quantization_config: { scalar: { type: 'int8' } } });
        equal(config.metadata, { a: 1, c: 'x' });
        for (const quantization of [{ rescore: true, oversampling: 2.0 }, { ignore: true }, { rescore: false, oversampling: 3 }])
            checkHits((await c.query(X, { query, using: 'image', limit: 5, params: { quantization } })).points, nearest('Dot', query, 5), 'by codes');
        equal(await status(() => c.query(X, { query, using: 'image', params: { quantization: { oversampling: 0.5 } } })), 422);
        equal(await c.updateCollection(X, { quantization_config: { binary: { encoding: 'one_bit', always_ram: true } } }), true);
        await check('other codes');
        equal(await c.updateCollection(X, { quantization_config: 'Disabled' }), true);
        equal((await c.getCollection(X)).config.quantization_config, null);
        equal(await status(() => c.updateCollection(X, { vectors: { nothing: { on_disk: true } } })), 400);
        equal(await status(() => c.updateCollection(X, { params: { replication_factor: 2 } })), 501);
        equal(await status(() => c.updateCollection('nothing', {})), 404);
    });
    await s.op('createVectorName', async () => {
        equal((await c.createVectorName(X, 'more', { dense: { size: 2, distance: 'Euclid' } })).status, 'completed');
        equal((await c.createVectorName(X, 'more', { dense: { size: 2, distance: 'Euclid' } })).status, 'completed');
        equal(await status(() => c.createVectorName(X, 'more', { dense: { size: 3, distance: 'Euclid' } })), 400);
        equal((await c.createVectorName(X, 'words', { sparse: { modifier: 'idf' } })).status, 'completed');
        await c.updateVectors(X, { points: [{ id: 3, vector: { more: [1, 2], words: { indices: [4], values: [0.5] } } }] });
        const [p] = await c.retrieve(X, { ids: [3], with_vector: true });
        equal(p.vector.more, [1, 2]);
        equal(p.vector.words, { indices: [4], values: [0.5] });
        equal(ids((await c.query(X, { query: [1, 2], using: 'more' })).points), [3]);
        await check('with more vectors');
    });
    await s.op('deleteVectorName', async () => {
        equal((await c.deleteVectorName(X, 'more')).status, 'completed');
        equal((await c.deleteVectorName(X, 'more')).status, 'completed');
        equal(await status(() => c.query(X, { query: [1, 2], using: 'more' })), 400);
        equal(Object.keys((await c.retrieve(X, { ids: [3], with_vector: true }))[0].vector).sort(), ['image', 'words']);
        await c.createVectorName(X, 'more', { dense: { size: 3, distance: 'Dot' } });
        equal((await c.query(X, { query: [1, 2, 3], using: 'more' })).points, []);
        await check('after one was dropped');
        equal(await c.deleteCollection(X), true);
    });
}

async function upkeep(s, c) {
    await s.op('getOptimizations', async () => {
        const got = await c.getOptimizations(C, { with: ['queued', 'completed', 'idle_segments'].join() });
        ok(Number.isInteger(got.summary.queued_points) && Array.isArray(got.running), 'summary');
        equal(await status(() => c.getOptimizations('nothing')), 404);
    });
    await s.op('updateQuotas', async () => {
        equal(await c.updateQuotas({ enabled: true, max_disk_usage_percent: 1, release_margin_percent: 0 }), true);
        equal(await status(() => c.upsert(C, { points: [{ id: 5000, vector: query }] })), 507);
        equal((await c.delete(C, { wait: true, points: [5000] })).status, 'completed');
        equal(await status(() => c.updateQuotas({ max_disk_usage_percent: 101 })), 422);
    });
    await s.op('getQuotas', async () => {
        const { config, usage } = await c.getQuotas();
        equal(config, { enabled: true, max_resident_memory_percent: null, max_disk_usage_percent: 1, release_margin_percent: 0 });
        ok(usage.resident_memory_percent >= 0 && usage.disk_usage_percent > 0, JSON.stringify(usage));
        equal(await c.updateQuotas({}), true);
        equal((await c.getQuotas()).config.enabled, false);
    });
}

async function writes(s, c) {
    await s.op('upsert', async () => {
        const half = COUNT / 2;
        const done = await c.upsert(C, { points: points.slice(0, half) });
        equal(done.status, 'completed');
        ok(Number.isInteger(done.operation_id), 'operation_id');
        const rest = points.slice(half);
        const batch = await c.upsert(C, { batch: { ids: ids(rest), vectors: rest.map((p) => p.vector),
            payloads: rest.map((p) => p.payload) } });
        equal(batch.status, 'completed');
        equal((await c.upsert(C, { wait: false, points: [points[0]] })).status, 'acknowledged');
        equal((await c.count(C)).count, COUNT);
        equal(await status(() => c.upsert(C, { points: [{ id: 1, vector: [1, 2] }] })), 400);
        equal(await status(() => c.upsert('nothing', { points: [points[0]] })), 404);
        equal((await c.getCollection(C)).points_count, COUNT);
    });
    await s.op('upsert', async () => {
        await c.upsert(N, { points: [
            { id: 1, vector: { image: points[0].vector, text: [1, 2], words: { indices: [7, 3], values: [0.5, 0.25] } },
                payload: { a: 1 } },
            { id: UUID, vector: { image: points[1].vector, rows: [[1, 2, 3], [4, 5, 6]] } }] });
        const [p] = await c.retrieve(N, { ids: [1], with_vector: true });
        equal(p.vector.words, { indices: [3, 7], values: [0.25, 0.5] });
        nearAll(p.vector.text, [1, 2]);
        near(Math.hypot(...p.vector.image), 1, 1e-4, 'cosine vectors are normalised');
        const [q] = await c.retrieve(N, { ids: [UUID], with_vector: ['rows'] });
        equal(q.id, UUID);
        equal(q.vector, { rows: [[1, 2, 3], [4, 5, 6]] });
    });
    await s.op('upsert', async () => {
        const put = (id, n, more) => c.upsert(N, { points: [{ id, vector: {}, payload: { n } }], ...more });
        const n = async (id) => (await c.retrieve(N, { ids: [id] }))[0]?.payload.n;
        const is = (v) => ({ must: [{ key: 'n', match: { value: v } }] });
        await put(70, 1, { update_mode: 'update_only' });
        equal(await n(70), undefined, 'update_only makes nothing');
        await put(70, 1, { update_mode: 'insert_only' });
        equal((await put(70, 2, { update_mode: 'insert_only' })).status, 'completed');
        equal(await n(70), 1, 'insert_only leaves what is there');
        await put(70, 3, { update_filter: is(2) });
        equal(await n(70), 1, 'update_filter holds back');
        await put(70, 4, { update_filter: is(1), update_mode: 'update_only' });
        equal(await n(70), 4);
        await put(71, 5, { update_filter: is(1) });
        equal(await n(71), 5, 'a new point asks no filter');
        await c.batchUpdate(N, { operations: [
            { upsert: { points: [{ id: 70, vector: {}, payload: { n: 6 } }], update_filter: is(4) } },
            { upsert: { points: [{ id: 70, vector: {}, payload: { n: 7 } }], update_filter: is(4) } },
            { upsert: { points: [{ id: 71, vector: {}, payload: { n: 8 } }], update_mode: 'insert_only' } }] });
        equal([await n(70), await n(71)], [6, 5], 'each sees the one before');
        await c.delete(N, { wait: true, points: [70, 71] });
    });
    await s.op('retrieve', async () => {
        const got = await c.retrieve(C, { ids: [5, 2, 999], with_vector: true });
        equal(ids(got).sort(), [2, 5]);
        const p = got.find((x) => x.id === 5);
        equal(p.payload, points[4].payload);
        nearAll(p.vector, points[4].vector);
        const [q] = await c.retrieve(C, { ids: [5], with_payload: ['color', 'in.text'] });
        equal(q.payload, { color: 'red', in: { text: points[4].payload.in.text } });
        const [r] = await c.retrieve(C, { ids: [5], with_payload: { exclude: ['in', 'tags'] } });
        equal(Object.keys(r.payload).sort(), ['color', 'count', 'new', 'nothing', 'price']);
    });
    await s.op('updateVectors', async () => {
        equal((await c.updateVectors(N, { points: [{ id: 1, vector: { text: [3, 4] } }] })).status, 'completed');
        const [p] = await c.retrieve(N, { ids: [1], with_vector: true });
        nearAll(p.vector.text, [3, 4]);
        ok(p.vector.image.length === DIM, 'the other vector stays');
        equal(p.payload, { a: 1 });
        const text = async (a) => {
            // its own method leaves update_filter out
            await c.batchUpdate(N, { operations: [{ update_vectors: {
                points: [{ id: 1, vector: { text: [5, 6] } }],
                update_filter: { must: [{ key: 'a', match: { value: a } }] } } }] });
            return (await c.retrieve(N, { ids: [1], with_vector: ['text'] }))[0].vector.text;
        };
        nearAll(await text(2), [3, 4], 1e-4, 'held back');
        nearAll(await text(1), [5, 6]);
        ok((await status(() => c.updateVectors(N, { points: [{ id: 77, vector: { text: [3, 4] } }] }))) >= 400,
            'a missing point');
    });
    await s.op('deleteVectors', async () => {
        await c.deleteVectors(N, { points: [1], vector: ['text'] });
        const [p] = await c.retrieve(N, { ids: [1], with_vector: true });
        equal(Object.keys(p.vector).sort(), ['image', 'words']);
    });
}

async function payloads(s, c) {
    const payload = async (id) => (await c.retrieve(N, { ids: [id] }))[0].payload;
    await s.op('setPayload', async () => {
        await c.setPayload(N, { payload: { b: { x: 1 }, gone: 'x' }, points: [1] });
        equal(await payload(1), { a: 1, b: { x: 1 }, gone: 'x' });
        await c.setPayload(N, { payload: { y: 2 }, key: 'b', points: [1] });
        equal((await payload(1)).b, { x: 1, y: 2 });
        await c.setPayload(N, { payload: { f: true }, filter: { must: [{ key: 'a', match: { value: 1 } }] } });
        equal((await payload(1)).f, true);
    });
    await s.op('deletePayload', async () => {
        await c.deletePayload(N, { keys: ['gone', 'b.x'], points: [1] });
        equal(await payload(1), { a: 1, b: { y: 2 }, f: true });
    });
    await s.op('overwritePayload', async () => {
        await c.overwritePayload(N, { payload: { only: 'this' }, points: [1] });
        equal(await payload(1), { only: 'this' });
    });
    await s.op('clearPayload', async () => {
        await c.clearPayload(N, { points: [1] });
        equal(await payload(1), {});
    });
    await s.op('batchUpdate', async () => {
        const done = await c.batchUpdate(N, { operations: [
            { upsert: { points: [{ id: 50, vector: { text: [1, 1] }, payload: { k: 1 } },
                { id: 51, vector: { text: [2, 2] } }] } },
            { set_payload: { payload: { z: 9 }, points: [50] } },
            { overwrite_payload: { payload: { o: 1 }, points: [51] } },
            { update_vectors: { points: [{ id: 51, vector: { text: [5, 5] } }] } },
            { delete_payload: { keys: ['k'], points: [50] } },
            { delete_vectors: { vector: ['text'], points: [50] } },
            { clear_payload: { points: [51] } },
            { delete: { points: [1] } }] });
        equal(done.length, 8);
        ok(done.every((r) => r.status === 'completed'), JSON.stringify(done));
        equal(await payload(50), { z: 9 });
        const [p] = await c.retrieve(N, { ids: [51], with_vector: true });
        equal(p.payload, {});
        nearAll(p.vector.text, [5, 5]);
        equal(await c.retrieve(N, { ids: [1] }), []);
    });
    await s.op('delete', async () => {
        equal((await c.delete(N, { wait: true, points: [50] })).status, 'completed');
        equal(await c.retrieve(N, { ids: [50] }), []);
        await c.upsert(N, { points: [{ id: 60, vector: {}, payload: { del: 1 } }, { id: 61, vector: {}, payload: { del: 1 } }] });
        await c.delete(N, { wait: true, filter: { must: [{ key: 'del', match: { value: 1 } }] } });
        equal(await c.retrieve(N, { ids: [60, 61] }), []);
    });
    await s.op('createPayloadIndex', async () => {
        equal((await c.createPayloadIndex(C, { wait: true, field_name: 'color', field_schema: 'keyword' })).status,
            'completed');
        await c.createPayloadIndex(C, { wait: true, field_name: 'count',
            field_schema: { type: 'integer', lookup: true, range: false } });
        const schema = (await c.getCollection(C)).payload_schema;
        includes(schema, { color: { data_type: 'keyword' },
            count: { data_type: 'integer', params: { type: 'integer', lookup: true, range: false } } });
    });
    await s.op('createPayloadIndex', async () => {
        const title = (match) => ({ filter: { must: [{ key: 'in.title', match }] } });
        const options = { type: 'text', tokenizer: 'word', lowercase: true, min_token_len: 2, phrase_matching: true,
            stopwords: { languages: ['english'], custom: ['number'] }, stemmer: { type: 'snowball', language: 'english' } };
        await c.createPayloadIndex(C, { field_name: 'in.title', wait: true, field_schema: options });
        includes((await c.getCollection(C)).payload_schema['in.title'], { data_type: 'text', params: options });
        equal((await c.count(C, title({ text: 'the FOX red' }))).count, COUNT / 4, 'text with an index');
        equal((await c.count(C, title({ text: 'ed fox' }))).count, 0, 'no part of a word');
        equal((await c.count(C, title({ text_any: 'blue black white' }))).count, COUNT / 2, 'text_any with an index');
        equal((await c.count(C, title({ phrase: 'blue fox 14' }))).count, 1, 'phrase with an index');
        equal((await c.count(C, title({ phrase: 'fox blue' }))).count, 0, 'a phrase has an order');
        equal(await status(() => c.createPayloadIndex(C, { field_name: 'x',
            field_schema: { type: 'text', tokenizer: 'klingon' } })), 400);
        await c.deletePayloadIndex(C, 'in.title');
        equal((await c.count(C, title({ text: 'ed fox' }))).count, COUNT / 4, 'and without it again');
    });
    await s.op('deletePayloadIndex', async () => {
        await c.deletePayloadIndex(C, 'count');
        equal(Object.keys((await c.getCollection(C)).payload_schema), ['color']);
    });
}

async function reads(s, c, older, url) {
    await s.op('count', async () => {
        for (const [what, filter, keep] of filters)
            equal((await c.count(C, { filter })).count, points.filter(keep).length, what);
        equal((await c.count(N, { filter: { must: [{ has_vector: 'rows' }] } })).count, 1);
        const slices = await Promise.all([0, 1, 2].map((index) =>
            c.count(C, { filter: { must: [{ slice: { total: 3, index } }] } })));
        equal(slices.reduce((sum, r) => sum + r.count, 0), COUNT, 'slices');
        ok(slices.every((r) => r.count > 10), 'slices are about equal');
        equal(await status(() => c.count('nothing')), 404);
        equal(await status(() => c.count(C, { filter: { must: [{ key: 'a' }] } })), 422);
    });
    await s.op('scroll', async () => {
        const seen = [];
        let offset;
        do {
            const page = await c.scroll(C, { limit: 17, offset, with_vector: false });
            seen.push(...ids(page.points));
            offset = page.next_page_offset;
        } while (offset !== null && offset !== undefined);
        equal(seen, ids(points));
        for (const [what, filter, keep] of filters)
            equal(ids((await c.scroll(C, { filter, limit: 1000 })).points), ids(points.filter(keep)), what);
        const { points: [p] } = await c.scroll(C, { limit: 1, offset: 9, with_vector: true });
        equal(p.id, 9);
        nearAll(p.vector, points[8].vector);
        equal(await status(() => c.scroll(C, { limit: 0 })), 422);
    });
    await s.op('scroll', async () => {
        equal(await status(() => c.scroll(C, { order_by: 'price' })), 400, 'no index yet');
        await c.createPayloadIndex(C, { wait: true, field_name: 'price', field_schema: 'float' });
        const page = await c.scroll(C, { limit: 5, order_by: { key: 'price', direction: 'desc' } });
        equal(ids(page.points), [120, 119, 118, 117, 116]);
        equal(page.points[0].order_value, points[119].payload.price);
        equal(page.next_page_offset ?? null, null);
        const from = points[40].payload.price;
        const behind = await c.scroll(C, { limit: 3, order_by: { key: 'price', start_from: from },
            filter: { must_not: [{ has_id: [41] }] } });
        equal(ids(behind.points), [42, 43, 44]);
        equal(await status(() => c.scroll(C, { offset: 3, order_by: 'price' })), 400, 'no offset');
    });
    await s.op('query', async () => {
        const { points: ordered } = await c.query(C, { query: { order_by: 'price' }, limit: 3, offset: 2 });
        equal(ids(ordered), [3, 4, 5]);
        equal(ordered[0].order_value, points[2].payload.price);
        const { points: some } = await c.query(C, { query: { sample: 'random' }, limit: 20, filter: { must: [color('red')] } });
        equal(new Set(ids(some)).size, 20);
        ok(some.every((p) => points[p.id - 1].payload.color === 'red'), 'filtered');
        await c.deletePayloadIndex(C, 'price');
    });
    await s.op('facet', async () => {
        equal(await status(() => c.facet(C, { key: 'tags' })), 400, 'no index yet');
        await c.createPayloadIndex(C, { wait: true, field_name: 'tags', field_schema: 'keyword' });
        const want = (key, keep = () => true) => {
            const n = new Map();
            for (const p of points.filter(keep))
                for (const v of new Set([p.payload[key]].flat())) n.set(v, (n.get(v) ?? 0) + 1);
            return [...n].map(([value, count]) => ({ value, count }))
                .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
        };
        equal((await c.facet(C, { key: 'tags', limit: 100, exact: true })).hits, want('tags'));
        equal((await c.facet(C, { key: 'tags', limit: 2 })).hits, want('tags').slice(0, 2));
        equal((await c.facet(C, { key: 'color', filter: { must: [{ key: 'new', match: { value: true } }] } })).hits,
            want('color', (p) => p.payload.new));
        await c.createPayloadIndex(C, { wait: true, field_name: 'new', field_schema: 'bool' });
        equal((await c.facet(C, { key: 'new' })).hits, want('new'));
        await c.deletePayloadIndex(C, 'new');
        await c.deletePayloadIndex(C, 'tags');
        equal(await status(() => c.facet(C, { key: 'color', limit: 0 })), 422);
    });
    await older.op('search', async () => {
        const c = { search: (name, body) => post(url, `/collections/${name}/points/search`, { with_payload: true, ...body }) };
        checkHits(await c.search(C, { vector: query, limit: 10 }), nearest('Dot', query, 10), 'plain');
        const [first] = await c.search(C, { vector: query, limit: 1, with_vector: true });
        equal(first.payload, points[first.id - 1].payload);
        nearAll(first.vector, points[first.id - 1].vector);
        ok(Number.isInteger(first.version) && first.version > 0, `version ${first.version}`);
        const want = nearest('Dot', query, COUNT);
        const limit = want[4].score;
        checkHits(await c.search(C, { vector: query, limit: 50, score_threshold: limit - 1e-6 }),
            want.slice(0, 5), 'threshold');
        checkHits(await c.search(C, { vector: query, limit: 5, offset: 3 }), want.slice(3, 8), 'offset');
        for (const [what, filter, keep] of filters)
            checkHits(await c.search(C, { vector: query, limit: 7, filter, params: { hnsw_ef: 200 } }),
                nearest('Dot', query, 7, keep), what);
        equal(await status(() => c.search(C, { vector: [1, 2], limit: 1 })), 400);
    });
    await older.op('searchBatch', async () => {
        const got = await post(url, `/collections/${C}/points/search/batch`, { searches: [{ vector: query, limit: 3 },
            { vector: points[3].vector, limit: 2, params: { exact: true } }] });
        equal(got.length, 2);
        checkHits(got[0], nearest('Dot', query, 3), 'first');
        checkHits(got[1], nearest('Dot', points[3].vector, 2), 'second');
    });
    await s.op('query', async () => {
        checkHits((await c.query(C, { query, limit: 10 })).points, nearest('Dot', query, 10), 'plain');
        checkHits((await c.query(C, { query: { nearest: query }, limit: 4, params: { exact: true },
            with_payload: true })).points, nearest('Dot', query, 4), 'nearest');
        checkHits((await c.query(C, { query: 7, limit: 5 })).points,
            nearest('Dot', points[6].vector, 5, (p) => p.id !== 7), 'by id');
        equal(ids((await c.query(C, { limit: 4 })).points), [1, 2, 3, 4], 'no query');
        equal((await c.query(C, { query, limit: 2 })).points[0].payload ?? null, null, 'no payload unless asked');
        equal(await status(() => c.query(C, { query: 12345 })), 404);
    });
    await s.op('query', async () => {
        const vectors = points.slice(0, 30).map((p) => p.vector);
        for (const distance of Object.keys(scores))
            for (const datatype of ['float32', 'float16']) {
                const name = `interop_${distance}_${datatype}`;
                await c.createCollection(name, { vectors: { size: DIM, distance, datatype } });
                await c.upsert(name, { batch: { ids: vectors.map((_, i) => i + 1), vectors } });
                const { points: got } = await c.query(name, { query, limit: 5 });
                const want = nearest(distance, query, 5, (p) => p.id <= 30);
                nearAll(got.map((p) => p.score), want.map((p) => p.score), datatype === 'float32' ? 1e-4 : 5e-3, name);
                if (datatype === 'float32') equal(ids(got), ids(want), name);
                await c.deleteCollection(name);
            }
    });
    await s.op('queryBatch', async () => {
        const got = await c.queryBatch(C, { searches: [{ query, limit: 3, with_payload: ['color'] },
            { query: 7, limit: 2 }] });
        checkHits(got[0].points, nearest('Dot', query, 3), 'first');
        equal(got[0].points[0].payload, { color: points[got[0].points[0].id - 1].payload.color });
        checkHits(got[1].points, nearest('Dot', points[6].vector, 2, (p) => p.id !== 7), 'second');
    });
}

// What is not served yet, with arguments that its own checks would pass.
const vec = Array(DIM).fill(0.5);
const later = {
    updateCollectionCluster: (c) => c.updateCollectionCluster(C, { drop_replica: { shard_id: 0, peer_id: 1 } }),
    listShardKeys: (c) => c.listShardKeys(C),
    createShardKey: (c) => c.createShardKey(C, { shard_key: 'k' }),
    deleteShardKey: (c) => c.deleteShardKey(C, { shard_key: 'k' }),
    queryGroups: (c) => c.queryGroups(C, { query: vec, group_by: 'color' }),
    searchMatrixPairs: (c) => c.searchMatrixPairs(C, { sample: 2, limit: 1 }),
    searchMatrixOffsets: (c) => c.searchMatrixOffsets(C, { sample: 2, limit: 1 }),
};

// Parts of requests that are known and not served: refused by name, never passed over.
async function unserved(s, c) {
    const refusal = async (f) => {
        try {
            await f();
        } catch (e) {
            return refusedText(e);
        }
        return 'it was served';
    };
    const queries = {
        prefetch: { prefetch: { query }, query: { fusion: 'rrf' } },
        fusion: { query: { fusion: 'rrf' } },
        recommend: { query: { recommend: { positive: [1] } } },
        discover: { query: { discover: { target: 1, context: [] } } },
        context: { query: { context: [{ positive: 1, negative: 2 }] } },
        formula: { query: { formula: { sum: [1, 2] } } },
        lookup_from: { query: 1, lookup_from: { collection: N } },
        shard_key: { query, shard_key: 'k' },
    };
    for (const [name, body] of Object.entries(queries))
        await s.op('query', async () => equal(await refusal(() => c.query(C, body)), `Not implemented: ${name}`, name));
}

// After a restart: what was written before it.
export async function kept(clients, url) {
    const { QdrantClient } = clients('@qdrant/js-client-rest');
    const c = new QdrantClient({ url: url.origin, port: Number(url.port), timeout: 20000 });
    const s = new Suite('rest after a restart', ['collection', 'points', 'search'], {});
    await s.op('collection', async () => {
        equal((await c.getCollections()).collections.map((x) => x.name), [N]);
        includes((await c.getCollection(N)).config.params, {
            vectors: { image: { size: DIM, distance: 'Cosine' }, text: { datatype: 'float16' } },
            sparse_vectors: { words: { modifier: 'idf' } } });
    });
    await s.op('points', async () => {
        equal(ids((await c.scroll(N, {})).points), [51, UUID]);
        const [p] = await c.retrieve(N, { ids: [51], with_vector: true });
        equal(p.payload, {});
        nearAll(p.vector.text, [5, 5]);
        const [q] = await c.retrieve(N, { ids: [UUID], with_vector: true });
        equal(q.vector.rows, [[1, 2, 3], [4, 5, 6]]);
        nearAll(q.vector.image, points[1].vector.map((x) => x / Math.hypot(...points[1].vector)));
    });
    await s.op('search', async () => {
        const { points: got } = await c.query(N, { query, using: 'image', limit: 5 });
        equal(ids(got), [UUID]);
        near(got[0].score, scores.Cosine(query, points[1].vector));
        equal(await c.deleteCollection(N), true);
    });
    return s.finish();
}

// With keys set: none, a wrong one, the read-only one, the full one.
export async function keys(clients, url) {
    const { QdrantClient } = clients('@qdrant/js-client-rest');
    const client = (apiKey) => new QdrantClient({ url: url.origin, port: Number(url.port), timeout: 20000, apiKey,
        checkCompatibility: false });
    const s = new Suite(`rest with keys${url.protocol === 'https:' ? ' over TLS' : ''}`, ['none', 'wrong', 'read-only', 'full'], {});
    const make = (c) => c.createCollection('interop_keys', { vectors: { size: 2, distance: 'Dot' } });
    await s.op('none', async () => equal(await status(() => client().getCollections()), 401));
    await s.op('wrong', async () => equal(await status(() => client('full-kez').getCollections()), 401));
    await s.op('full', async () => equal(await make(client('full-key')), true));
    await s.op('read-only', async () => {
        const c = client('read-key');
        equal((await c.getCollections()).collections.length, 1);
        equal((await c.query('interop_keys', { query: [1, 2] })).points, []);
        equal(await status(() => c.upsert('interop_keys', { points: [{ id: 1, vector: [1, 2] }] })), 403);
        equal(await status(() => c.deleteCollection('interop_keys')), 403);
    });
    await s.op('full', async () => equal(await client('full-key').deleteCollection('interop_keys'), true));
    return s.finish();
}

// Operations of the generated API that no method of the client calls.
const direct = {
    healthz: async (api) => equal((await api.healthz({})).data, 'healthz check passed'),
    livez: async (api) => equal((await api.livez({})).data, 'healthz check passed'),
    readyz: async (api) => equal((await api.readyz({})).data, 'all shards are ready'),
    metrics: async (api) => ok(/^# (HELP|TYPE) /m.test((await api.metrics({})).data), 'not Prometheus text'),
    telemetry: async (api) => ok(typeof (await api.telemetry({})).data.result === 'object', 'no result'),
    clusterStatus: async (api) => equal((await api.clusterStatus({})).data.result, { status: 'disabled' }),
    clusterTelemetry: async (api) => equal(await status(() => api.clusterTelemetry({})), 405),
    recoverCurrentPeer: async (api) => equal(await status(() => api.recoverCurrentPeer({})), 405),
    removePeer: async (api) => equal(await status(() => api.removePeer({ peer_id: 1 })), 405),
    collectionClusterInfo: async (api) => equal((await api.collectionClusterInfo({ collection_name: C })).data.result.shard_count, 1),
    updateCollectionCluster: async (api) => equal(await status(() => api.updateCollectionCluster({ collection_name: C,
        abort_transfer: { shard_id: 0, from_peer_id: 1, to_peer_id: 2 } })), 405),
    getIssues: async (api) => equal((await api.getIssues({})).data.result, { issues: [] }),
    clearIssues: async (api) => equal((await api.clearIssues({})).data.result, true),
    getPoint: async (api) => {
        const p = (await api.getPoint({ collection_name: C, id: 3 })).data.result;
        equal(p.payload, points[2].payload);
        nearAll(p.vector, points[2].vector);
        equal(await status(() => api.getPoint({ collection_name: C, id: 99999 })), 404);
    },
};

// Of a collection, a shard and everything: made, listed, fetched, restored from a URL and by upload.
async function snapshots(s, c, url) {
    const R = 'interop_restored';
    const fetched = async (path) => {
        const r = await fetch(new URL(path, url));
        equal(r.status, 200, path);
        return new Uint8Array(await r.arrayBuffer());
    };
    const sha256 = async (bytes) => Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex');
    const count = async (name) => (await c.count(name)).count;
    const have = (await c.count(C)).count;
    let made;
    await s.op('createSnapshot', async () => {
        made = await c.createSnapshot(C);
        ok(/^interop_rest-\d+-\d{4}(-\d\d){5}\.snapshot$/.test(made.name), made.name);
        ok(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(made.creation_time), made.creation_time);
        const bytes = await fetched(`/collections/${C}/snapshots/${made.name}`);
        equal(bytes.length, made.size);
        equal(await sha256(bytes), made.checksum);
        equal(await status(() => c.createSnapshot('nothing')), 404);
    });
    await s.op('listSnapshots', async () => equal(await c.listSnapshots(C), [made]));
    const location = new URL(`/collections/${C}/snapshots/${made.name}`, url).href;
    await s.op('recoverSnapshot', async () => {
        equal(await c.recoverSnapshot(R, { location, priority: 'snapshot', checksum: made.checksum }), true);
        equal(await count(R), have);
        const [a, b] = [(await c.getCollection(C)).config, (await c.getCollection(R)).config];
        equal(b, a, 'config');
        const q = { query, limit: 10, params: { exact: true } };
        checkHits((await c.query(R, q)).points, (await c.query(C, q)).points, 'restored');
        await c.delete(R, { wait: true, points: [1, 2, 3] });
        equal(await count(R), have - 3);
        equal(await c.recoverSnapshot(R, { location }), true);
        equal(await count(R), have);
        equal(await status(() => c.recoverSnapshot(R, { location, checksum: '00' })), 400);
        equal(await status(() => c.recoverSnapshot(N, { location })), 400);
        equal(await status(() => c.recoverSnapshot(R, { location: 'file:///etc/hostname' })), 403);
        equal(await count(R), have);
    });
    await s.op('deleteSnapshot', async () => {
        equal(await c.deleteSnapshot(C, made.name), true);
        equal(await status(() => c.deleteSnapshot(C, made.name)), 404);
        equal(await c.listSnapshots(C), []);
    });
    await s.op('createShardSnapshot', async () => {
        made = await c.createShardSnapshot(C, 0, { wait: true });
        equal(await status(() => c.createShardSnapshot(C, 7, { wait: true })), 404);
    });
    await s.op('listShardSnapshots', async () => equal(await c.listShardSnapshots(C, 0), [made]));
    await s.op('recoverShardFromSnapshot', async () => {
        const from = new URL(`/collections/${C}/shards/0/snapshots/${made.name}`, url).href;
        await c.delete(R, { wait: true, points: [4, 5] });
        equal(await c.recoverShardFromSnapshot(R, 0, { wait: true, location: from }), true);
        equal(await count(R), have);
        equal(await status(() => c.recoverShardFromSnapshot('nothing', 0, { wait: true, location: from })), 404);
    });
    await s.op('deleteShardSnapshot', async () =>
        equal(await c.deleteShardSnapshot(C, 0, made.name, { wait: true }), true));
    await s.op('createFullSnapshot', async () => {
        made = await c.createFullSnapshot();
        ok(/^full-snapshot-.*\.snapshot$/.test(made.name), made.name);
    });
    await s.op('listFullSnapshots', async () => equal(await c.listFullSnapshots(), [made]));
    await s.op('deleteFullSnapshot', async () => {
        equal(await c.deleteFullSnapshot(made.name), true);
        equal(await c.listFullSnapshots(), []);
    });
    await c.deleteCollection(R);
}

// What the generated API has and the client does not wrap: files as bodies, both ways.
async function snapshotFiles(raw, api, url) {
    const R = 'interop_uploaded';
    const made = (await api.createSnapshot({ collection_name: C })).data.result;
    const upload = async (path, bytes) => {
        const form = new FormData();
        form.append('snapshot', new Blob([bytes]), 'x.snapshot');
        const r = await fetch(new URL(path, url), { method: 'POST', body: form });
        return [r.status, (await r.json()).result];
    };
    let bytes;
    await raw.op('getSnapshot', async () => {
        const r = await fetch(new URL(`/collections/${C}/snapshots/${made.name}`, url));
        equal(r.headers.get('content-type'), 'application/octet-stream');
        bytes = new Uint8Array(await r.arrayBuffer());
        equal(bytes.length, made.size);
        equal(await status(() => api.getSnapshot({ collection_name: C, snapshot_name: 'no.snapshot' })), 404);
    });
    await raw.op('recoverFromUploadedSnapshot', async () => {
        equal(await upload(`/collections/${R}/snapshots/upload?priority=snapshot&checksum=${made.checksum}`, bytes),
            [200, true]);
        bytes[bytes.length >> 1] ^= 1;
        equal((await upload(`/collections/${R}/snapshots/upload`, bytes))[0], 400);
        bytes[bytes.length >> 1] ^= 1;
        const r = (await api.getCollection({ collection_name: R })).data.result;
        equal(r.points_count, (await api.getCollection({ collection_name: C })).data.result.points_count);
        equal(await status(() => api.recoverFromUploadedSnapshot({ collection_name: R })), 400);
    });
    await raw.op('recoverShardFromUploadedSnapshot', async () => {
        equal(await upload(`/collections/${R}/shards/0/snapshots/upload`, bytes), [200, true]);
        equal(await status(() => api.recoverShardFromUploadedSnapshot({ collection_name: R, shard_id: 0 })), 400);
    });
    await raw.op('streamShardSnapshot', async () => {
        const r = await fetch(new URL(`/collections/${R}/shards/0/snapshot`, url));
        equal(await upload(`/collections/${R}/shards/0/snapshots/upload`, await r.arrayBuffer()), [200, true]);
        equal((await api.listShardSnapshots({ collection_name: R, shard_id: 0 })).data.result, []);
        equal(await status(() => api.streamShardSnapshot({ collection_name: 'nothing', shard_id: 0 })), 404);
    });
    await raw.op('getShardSnapshot', async () =>
        equal(await status(() => api.getShardSnapshot({ collection_name: R, shard_id: 0, snapshot_name: 'no.snapshot' })), 404));
    await raw.op('getFullSnapshot', async () => {
        const full = (await api.createFullSnapshot({})).data.result;
        const r = await fetch(new URL(`/snapshots/${full.name}`, url));
        equal((await r.arrayBuffer()).byteLength, full.size);
        equal(await status(() => api.getFullSnapshot({ snapshot_name: 'no.snapshot' })), 404);
        await api.deleteFullSnapshot({ snapshot_name: full.name });
    });
    await api.deleteSnapshot({ collection_name: C, snapshot_name: made.name });
    await api.deleteCollection({ collection_name: R });
}

export async function run(clients, url, notYet) {
    const { QdrantClient } = clients('@qdrant/js-client-rest');
    const c = new QdrantClient({ url: url.origin, port: Number(url.port), timeout: 20000 });
    const own = Object.getOwnPropertyNames(QdrantClient.prototype).filter((n) => n !== 'constructor' && n !== 'api');
    const s = new Suite('rest', own, notYet.rest);
    const api = c.api();
    const called = new Set();
    const bare = {};
    for (const name of Object.keys(api)) {
        const f = (bare[name] = api[name]);
        api[name] = Object.assign((...args) => (called.add(name), f(...args)), { Error: f.Error });
    }
    await collections(s, c);
    await aliases(s, c);
    await changes(s, c);
    await writes(s, c);
    await upkeep(s, c);
    await payloads(s, c);
    const older = new Suite('rest older', ['search', 'searchBatch'], {});
    await reads(s, c, older, url);
    await snapshots(s, c, url);
    await unserved(s, c);
    const exercised = new Set(called);
    for (const [name, f] of Object.entries(later)) if (name in notYet.rest) await s.refuse(name, () => f(c), refusedText);

    const raw = new Suite('rest api', Object.keys(api), notYet['rest api']);
    for (const name of exercised) raw.row(name).checks++; // their checks are above
    for (const [name, f] of Object.entries(direct)) await raw.op(name, () => f(bare));
    await snapshotFiles(raw, bare, url);
    const any = { collection_name: C, shard_id: 0, snapshot_name: 's', peer_id: 1, key: 'k', id: 1,
        field_name: 'f', vector_name: 'v' };
    for (const name of Object.keys(notYet['rest api'])) await raw.refuse(name, () => bare[name](any), refusedText);
    await c.deleteCollection(C); // N stays, for kept()
    return [...s.finish(), ...raw.finish(), ...older.finish()];
}
