// The gRPC client, with its defaults (compression among them). Its services' methods are
// enumerated from the service descriptors that the client was generated with.

import http2 from 'node:http2';

import { COLORS, COUNT, DIM, Suite, equal, near, nearAll, nearest, ok, points, query,
         scores } from './suite.mjs';

const C = 'interop_grpc';
const N = 'interop_grpc_named';
const SERVICES = { collections: 'Collections', points: 'Points', snapshots: 'Snapshots', service: 'Qdrant' };
const UUID = '0b1d8a7e-4f53-4c2e-9d5c-7f4f2a1b3c4d';

// ---- short ways to write messages ----

const num = (n) => ({ pointIdOptions: { case: 'num', value: BigInt(n) } });
const uuid = (u) => ({ pointIdOptions: { case: 'uuid', value: u } });
const dense = (data) => ({ vector: { case: 'dense', value: { data } } });
const sparse = (indices, values) => ({ vector: { case: 'sparse', value: { indices, values } } });
const multi = (rows) => ({ vector: { case: 'multiDense', value: { vectors: rows.map((data) => ({ data })) } } });
const one = (data) => ({ vectorsOptions: { case: 'vector', value: dense(data) } });
const named = (vectors) => ({ vectorsOptions: { case: 'vectors', value: { vectors } } });
const byIds = (...list) => ({ pointsSelectorOneOf: { case: 'points', value: { ids: list.map(num) } } });
const byFilter = (filter) => ({ pointsSelectorOneOf: { case: 'filter', value: filter } });
const all = { selectorOptions: { case: 'enable', value: true } };
const field = (f) => ({ conditionOneOf: { case: 'field', value: f } });
const ring = (corners) => ({ points: [...corners, corners[0]].map(([lon, lat]) => ({ lon, lat })) });
const match = (key, kind, value) => field({ key, match: { matchValue: { case: kind, value } } });
const nearestTo = (data) => ({ variant: { case: 'nearest', value: { variant: { case: 'dense', value: { data } } } } });
const nearestId = (n) => ({ variant: { case: 'nearest', value: { variant: { case: 'id', value: num(n) } } } });

function value(v) {
    if (v === null) return { kind: { case: 'nullValue', value: 0 } };
    if (Array.isArray(v)) return { kind: { case: 'listValue', value: { values: v.map(value) } } };
    switch (typeof v) {
    case 'boolean': return { kind: { case: 'boolValue', value: v } };
    case 'string': return { kind: { case: 'stringValue', value: v } };
    case 'number': return Number.isInteger(v) ? { kind: { case: 'integerValue', value: BigInt(v) } }
        : { kind: { case: 'doubleValue', value: v } };
    default: return { kind: { case: 'structValue', value: { fields: payload(v) } } };
    }
}
const payload = (o) => Object.fromEntries(Object.entries(o).map(([k, v]) => [k, value(v)]));

function plain(v) {
    switch (v.kind.case) {
    case 'nullValue': return null;
    case 'integerValue': return Number(v.kind.value);
    case 'listValue': return v.kind.value.values.map(plain);
    case 'structValue': return plainMap(v.kind.value.fields);
    default: return v.kind.value;
    }
}
const plainMap = (m) => Object.fromEntries(Object.entries(m).map(([k, v]) => [k, plain(v)]));
const idOf = (p) => (p.id.pointIdOptions.case === 'num' ? Number(p.id.pointIdOptions.value) : p.id.pointIdOptions.value);
const ids = (list) => list.map(idOf);

async function code(f) {
    try {
        await f();
    } catch (e) {
        return e.code;
    }
    return 0;
}
const INVALID = 3, NOT_FOUND = 5, EXISTS = 6, UNIMPLEMENTED = 12;
const refusedText = (e) => (e.code === UNIMPLEMENTED ? e.rawMessage : `code ${e.code}: ${e.message}`);

function checkHits(got, want, what) {
    equal(ids(got), want.map((p) => p.id), `${what}: ids`);
    nearAll(got.map((p) => p.score), want.map((p) => p.score), 1e-4, `${what}: scores`);
}

const red = match('color', 'keyword', 'red');
const filters = [
    ['keyword', { must: [red] }, (p) => p.payload.color === 'red'],
    ['integer', { must: [match('count', 'integer', 7n)] }, (p) => p.payload.count === 7],
    ['boolean', { must: [match('new', 'boolean', true)] }, (p) => p.payload.new],
    ['keywords', { must: [match('color', 'keywords', { strings: ['red', 'blue'] })] },
        (p) => ['red', 'blue'].includes(p.payload.color)],
    ['except', { must: [match('count', 'exceptIntegers', { integers: [1n, 2n] })] },
        (p) => ![1, 2].includes(p.payload.count)],
    ['range', { must: [field({ key: 'price', range: { gte: 10, lt: 50.5 } })] },
        (p) => p.payload.price >= 10 && p.payload.price < 50.5],
    ['should', { should: [red, match('color', 'keyword', 'green')] }, (p) => ['red', 'green'].includes(p.payload.color)],
    ['mustNot', { mustNot: [red] }, (p) => p.payload.color !== 'red'],
    ['minShould', { minShould: { conditions: [red, match('new', 'boolean', true)], minCount: 2n } },
        (p) => p.payload.color === 'red' && p.payload.new],
    ['hasId', { must: [{ conditionOneOf: { case: 'hasId', value: { hasId: [num(3), num(5)] } } }] },
        (p) => p.id === 3 || p.id === 5],
    ['isEmpty', { must: [{ conditionOneOf: { case: 'isEmpty', value: { key: 'tags' } } }] },
        (p) => p.payload.tags.length === 0],
    ['isNull', { must: [{ conditionOneOf: { case: 'isNull', value: { key: 'nothing' } } }] }, () => true],
    ['valuesCount', { must: [field({ key: 'tags', valuesCount: { gte: 2n } })] }, (p) => p.payload.tags.length >= 2],
    ['nested', { must: [{ conditionOneOf: { case: 'nested', value: { key: 'in.deep',
        filter: { must: [field({ key: 'x', range: { lt: 3 } })] } } } }] }, (p) => p.payload.count % 10 < 3],
    ['datetimeRange', { must: [field({ key: 'in.at', datetimeRange: { gte: { seconds: 1704844800n, nanos: 0 },
        lt: { seconds: 1705708800n, nanos: 0 } } })] }, (p) => p.payload.count % 28 >= 9 && p.payload.count % 28 < 19],
    ['geoBoundingBox', { must: [field({ key: 'in.place', geoBoundingBox: { topLeft: { lon: 160, lat: 60 },
        bottomRight: { lon: -160, lat: 40 } } })] }, (p) => Math.abs(p.payload.in.place.lon) > 160],
    ['geoRadius', { must: [field({ key: 'in.place', geoRadius: { center: { lon: 5, lat: 52.5 }, radius: 1000000 } })] },
        (p) => [-5, 5, 15].includes(p.payload.in.place.lon)],
    ['geoPolygon', { must: [field({ key: 'in.place', geoPolygon: { exterior: ring([[-20, 40], [20, 40], [20, 60], [-20, 60]]),
        interiors: [ring([[-8, 50], [0, 50], [0, 55], [-8, 55]])] } })] },
        (p) => [-15, 5, 15].includes(p.payload.in.place.lon)],
    ['text', { must: [match('in.title', 'text', 'd fox')] }, (p) => p.payload.color === 'red'],
    ['textAny', { must: [match('in.title', 'textAny', 'red gree')] },
        (p) => ['red', 'green'].includes(p.payload.color)],
    ['phrase', { must: [match('in.title', 'phrase', 'blue foxes')] }, (p) => p.payload.color === 'blue'],
    ['prefix', { must: [match('in.title', 'prefix', 'The bl')] }, (p) => ['blue', 'black'].includes(p.payload.color)],
    ['slices', { should: [0, 1, 2].map((index) => ({ conditionOneOf: { case: 'slice', value: { total: 3, index } } })) },
        () => true],
    ['filter', { must: [{ conditionOneOf: { case: 'filter', value: { should: [red] } } },
        field({ key: 'count', range: { gt: 50 } })] }, (p) => p.payload.color === 'red' && p.payload.count > 50],
];

async function collections(op, collectionsApi, p) {
    await op('collections.create', async () => {
        const made = await collectionsApi.create({ collectionName: C, hnswConfig: { m: 24n },
            vectorsConfig: { config: { case: 'params', value: { size: BigInt(DIM), distance: 3 } } } });
        equal(made.result, true);
        ok(made.time > 0, 'time');
        equal((await collectionsApi.create({ collectionName: N,
            vectorsConfig: { config: { case: 'paramsMap', value: { map: {
                image: { size: BigInt(DIM), distance: 1 },
                text: { size: 2n, distance: 2, datatype: 3 },
                rows: { size: 3n, distance: 3, multivectorConfig: { comparator: 0 } } } } } },
            sparseVectorsConfig: { map: { words: { modifier: 1 } } },
            metadata: payload({ owner: 'interop', n: 3 }) })).result, true);
        equal(await code(() => collectionsApi.create({ collectionName: C,
            vectorsConfig: { config: { case: 'params', value: { size: 4n, distance: 3 } } } })), EXISTS);
        equal(await code(() => collectionsApi.create({ collectionName: 'bad',
            vectorsConfig: { config: { case: 'params', value: { size: 0n, distance: 3 } } } })), INVALID);
    });
    await op('collections.create', async () => {
        const collectionName = 'interop_grpc_strict';
        await collectionsApi.create({ collectionName, strictModeConfig: { enabled: true, upsertMaxBatchsize: 1n },
            vectorsConfig: { config: { case: 'params', value: { size: 1n, distance: 3 } } } });
        const put = (...list) => p.upsert({ collectionName, wait: true,
            points: list.map((id) => ({ id: num(id), vectors: one([id]) })) });
        await put(1);
        equal(await code(() => put(1, 2)), INVALID);
        await collectionsApi.delete({ collectionName });
    });
    await op('collections.get', async () => {
        const { result } = await collectionsApi.get({ collectionName: C });
        ok([1, 2, 4].includes(result.status), `status ${result.status}`);
        equal(result.optimizerStatus.ok, true);
        equal(result.config.params.vectorsConfig.config.value.size, BigInt(DIM));
        equal(result.config.params.vectorsConfig.config.value.distance, 3);
        equal(result.config.hnswConfig.m, 24n);
        equal(result.config.hnswConfig.efConstruct, 100n);
        equal(result.config.walConfig.walCapacityMb, 32n);
        const { params, metadata } = (await collectionsApi.get({ collectionName: N })).result.config;
        const map = params.vectorsConfig.config.value.map;
        equal(Object.keys(map).sort(), ['image', 'rows', 'text']);
        equal(map.text.datatype, 3);
        equal(map.rows.multivectorConfig.comparator, 0);
        equal(params.sparseVectorsConfig.map.words.modifier, 1);
        equal(plainMap(metadata), { owner: 'interop', n: 3 });
        equal(await code(() => collectionsApi.get({ collectionName: 'nothing' })), NOT_FOUND);
    });
    await op('collections.list', async () => {
        const names = (await collectionsApi.list({})).collections.map((c) => c.name);
        ok(names.includes(C) && names.includes(N), names.join());
    });
    await op('collections.collectionClusterInfo', async () => {
        const info = await collectionsApi.collectionClusterInfo({ collectionName: C });
        equal([Number(info.shardCount), info.localShards.length, info.remoteShards.length], [1, 1, 0]);
        equal(info.localShards[0].shardId, 0);
    });
    await op('collections.collectionExists', async () => {
        equal((await collectionsApi.collectionExists({ collectionName: C })).result.exists, true);
        equal((await collectionsApi.collectionExists({ collectionName: 'nothing' })).result.exists, false);
    });
    await op('collections.delete', async () => {
        equal((await collectionsApi.delete({ collectionName: 'nothing' })).result, false);
    });
}

async function aliases(op, api) {
    const action = (kind, value) => ({ action: { case: kind, value } });
    const change = (...actions) => api.updateAliases({ actions });
    const create = (aliasName, collectionName = C) => action('createAlias', { collectionName, aliasName });
    const rename = (oldAliasName, newAliasName) => action('renameAlias', { oldAliasName, newAliasName });
    const drop = (aliasName) => action('deleteAlias', { aliasName });
    const names = (list) => list.aliases.map((a) => [a.aliasName, a.collectionName]);
    await op('collections.updateAliases', async () => {
        equal((await change(create('interop_gb'), create('interop_ga'))).result, true);
        equal((await change(rename('interop_gb', 'interop_gc'))).result, true);
        equal(await code(() => change(drop('interop_ga'), create('interop_gd', 'nothing'))), NOT_FOUND);
        equal(await code(() => change(rename('interop_gb', 'interop_gd'))), NOT_FOUND);
        equal(await code(() => change(create(N))), EXISTS);
        equal((await api.get({ collectionName: 'interop_gc' })).result.config.hnswConfig.m, 24n);
    });
    await op('collections.listAliases', async () =>
        equal(names(await api.listAliases({})).filter(([a]) => a.startsWith('interop_g')),
            [['interop_ga', C], ['interop_gc', C]]));
    await op('collections.listCollectionAliases', async () => {
        equal(names(await api.listCollectionAliases({ collectionName: C })), [['interop_ga', C], ['interop_gc', C]]);
        equal(names(await api.listCollectionAliases({ collectionName: N })), []);
        equal((await change(drop('interop_ga'), drop('interop_gc'))).result, true);
    });
}

async function changes(op, api, p) {
    const collectionName = 'interop_grpc_changed';
    await api.create({ collectionName, metadata: payload({ a: 1, b: 2 }),
        vectorsConfig: { config: { case: 'paramsMap', value: { map: { image: { size: BigInt(DIM), distance: 3 } } } } } });
    await p.upsert({ collectionName, wait: true, points: points.map((x) => ({ id: num(x.id), vectors: named({ image: dense(x.vector) }) })) });
    const search = (using, data) => p.query({ collectionName, query: nearestTo(data), using, limit: 5n });
    await op('collections.update', async () => {
        equal((await api.update({ collectionName, hnswConfig: { m: 32n }, optimizersConfig: { indexingThreshold: 7000n },
            params: { onDiskPayload: false, readFanOutFactor: 2 }, quantizationConfig: { quantization: { case: 'scalar', value: { type: 1 } } },
            vectorsConfig: { config: { case: 'paramsMap', value: { map: { image: { hnswConfig: { efConstruct: 150n } } } } } },
            metadata: payload({ b: null, c: 'x' }) })).result, true);
        checkHits((await search('image', query)).result, nearest('Dot', query, 5), 'while it is built anew');
        const { config } = (await api.get({ collectionName })).result;
        equal(config.hnswConfig.m, 32n);
        equal(config.optimizerConfig.indexingThreshold, 7000n);
        equal(config.params.onDiskPayload, false);
        equal(config.params.readFanOutFactor, 2);
        equal(config.quantizationConfig.quantization.case, 'scalar');
        equal(config.params.vectorsConfig.config.value.map.image.hnswConfig.efConstruct, 150n);
        equal(plainMap(config.metadata), { a: 1, c: 'x' });
        for (const quantization of [{ rescore: true, oversampling: 2 }, { ignore: true }, { rescore: false, oversampling: 3 }])
            checkHits((await p.query({ collectionName, query: nearestTo(query), using: 'image', limit: 5n, params: { quantization } })).result,
                nearest('Dot', query, 5), 'by codes');
        equal(await code(() => p.query({ collectionName, query: nearestTo(query), using: 'image', params: { quantization: { oversampling: 0.5 } } })), INVALID);
        equal((await api.update({ collectionName, quantizationConfig: { quantization: { case: 'disabled', value: {} } } })).result, true);
        equal((await api.get({ collectionName })).result.config.quantizationConfig, undefined);
        equal(await code(() => api.update({ collectionName, params: { replicationFactor: 2 } })), UNIMPLEMENTED);
        equal(await code(() => api.update({ collectionName: 'nothing' })), NOT_FOUND);
    });
    await op('points.createVectorName', async () => {
        const more = { case: 'denseConfig', value: { size: 2n, distance: 2 } };
        equal((await p.createVectorName({ collectionName, vectorName: 'more', vectorConfig: more })).result.status, 2);
        equal(await code(() => p.createVectorName({ collectionName, vectorName: 'more',
            vectorConfig: { case: 'denseConfig', value: { size: 3n, distance: 2 } } })), INVALID);
        await p.createVectorName({ collectionName, vectorName: 'words', vectorConfig: { case: 'sparseConfig', value: { modifier: 1 } } });
        await p.updateVectors({ collectionName, wait: true, points: [{ id: num(3), vectors: named({ more: dense([1, 2]), words: sparse([4], [0.5]) }) }] });
        equal(ids((await search('more', [1, 2])).result), [3]);
        checkHits((await search('image', query)).result, nearest('Dot', query, 5), 'with more vectors');
    });
    await op('points.deleteVectorName', async () => {
        equal((await p.deleteVectorName({ collectionName, vectorName: 'more' })).result.status, 2);
        equal(await code(() => search('more', [1, 2])), INVALID);
        const { result: [x] } = await p.get({ collectionName, ids: [num(3)], withVectors: all });
        equal(Object.keys(x.vectors.vectorsOptions.value.vectors).sort(), ['image', 'words']);
        await api.delete({ collectionName });
    });
}

async function snapshots(op, api) {
    let made;
    await op('snapshots.create', async () => {
        made = (await api.create({ collectionName: C })).snapshotDescription;
        ok(/^interop_grpc-\d+-\d{4}(-\d\d){5}\.snapshot$/.test(made.name), made.name);
        ok(made.size > 0n && /^[0-9a-f]{64}$/.test(made.checksum), `${made.size} ${made.checksum}`);
        near(Number(made.creationTime.seconds), Date.now() / 1000, 1e-3);
        equal(await code(() => api.create({ collectionName: 'nothing' })), NOT_FOUND);
    });
    await op('snapshots.list', async () => {
        equal((await api.list({ collectionName: C })).snapshotDescriptions.map((d) => [d.name, d.checksum]),
            [[made.name, made.checksum]]);
        equal(await code(() => api.list({ collectionName: 'nothing' })), NOT_FOUND);
    });
    await op('snapshots.delete', async () => {
        await api.delete({ collectionName: C, snapshotName: made.name });
        equal(await code(() => api.delete({ collectionName: C, snapshotName: made.name })), NOT_FOUND);
        equal((await api.list({ collectionName: C })).snapshotDescriptions.length, 0);
    });
    await op('snapshots.createFull', async () => {
        made = (await api.createFull({})).snapshotDescription;
        ok(/^full-snapshot-/.test(made.name), made.name);
    });
    await op('snapshots.listFull', async () =>
        equal((await api.listFull({})).snapshotDescriptions.map((d) => d.name), [made.name]));
    await op('snapshots.deleteFull', async () => {
        await api.deleteFull({ snapshotName: made.name });
        equal((await api.listFull({})).snapshotDescriptions.length, 0);
        equal(await code(() => api.deleteFull({ snapshotName: made.name })), NOT_FOUND);
    });
}

async function writes(op, p) {
    const COMPLETED = 2, ACKNOWLEDGED = 1;
    const struct = (x) => ({ id: num(x.id), vectors: one(x.vector), payload: payload(x.payload) });
    await op('points.upsert', async () => {
        const done = await p.upsert({ collectionName: C, wait: true, points: points.map(struct) });
        equal(done.result.status, COMPLETED);
        ok(typeof done.result.operationId === 'bigint', 'operation_id');
        // The form of older clients: numbers in `data`, unpacked by nothing but the field's number.
        const old = await p.upsert({ collectionName: C, points: [{ ...struct(points[0]),
            vectors: { vectorsOptions: { case: 'vector', value: { data: points[0].vector } } } }] });
        equal(old.result.status, ACKNOWLEDGED);
        equal((await p.count({ collectionName: C })).result.count, BigInt(COUNT));
        equal(await code(() => p.upsert({ collectionName: C, points: [{ id: num(1), vectors: one([1, 2]) }] })), INVALID);
        equal(await code(() => p.upsert({ collectionName: 'nothing', points: [struct(points[0])] })), NOT_FOUND);
    });
    await op('points.upsert', async () => {
        await p.upsert({ collectionName: N, wait: true, points: [
            { id: num(1), payload: payload({ a: 1 }),
                vectors: named({ image: dense(points[0].vector), text: dense([1, 2]), words: sparse([7, 3], [0.5, 0.25]) }) },
            { id: uuid(UUID), vectors: named({ image: dense(points[1].vector), rows: multi([[1, 2, 3], [4, 5, 6]]) }) }] });
        const { result: [a] } = await p.get({ collectionName: N, ids: [num(1)], withVectors: all });
        const v = a.vectors.vectorsOptions.value.vectors;
        equal(v.words.vector.value.indices, [3, 7]);
        equal(v.words.indices.data, [3, 7]);
        nearAll(v.words.vector.value.values, [0.25, 0.5]);
        nearAll(v.text.vector.value.data, [1, 2]);
        nearAll(v.text.data, [1, 2]);
        near(Math.hypot(...v.image.vector.value.data), 1, 1e-4, 'normalised');
        const { result: [b] } = await p.get({ collectionName: N, ids: [uuid(UUID)],
            withVectors: { selectorOptions: { case: 'include', value: { names: ['rows'] } } } });
        equal(idOf(b), UUID);
        const rows = b.vectors.vectorsOptions.value.vectors.rows;
        equal(rows.vector.value.vectors.map((r) => [...r.data]), [[1, 2, 3], [4, 5, 6]]);
        equal(rows.vectorsCount, 2);
    });
    await op('points.upsert', async () => {
        const put = (id, n, more) => p.upsert({ collectionName: N, wait: true, ...more,
            points: [{ id: num(id), vectors: named({}), payload: payload({ n }) }] });
        const n = async (id) => {
            const { result } = await p.get({ collectionName: N, ids: [num(id)], withPayload: all });
            return result.length ? plainMap(result[0].payload).n : undefined;
        };
        const is = (v) => ({ must: [match('n', 'integer', BigInt(v))] });
        const INSERT_ONLY = 1, UPDATE_ONLY = 2;
        await put(70, 1, { updateMode: UPDATE_ONLY });
        equal(await n(70), undefined, 'update_only makes nothing');
        await put(70, 1, { updateMode: INSERT_ONLY });
        await put(70, 2, { updateMode: INSERT_ONLY });
        equal(await n(70), 1, 'insert_only leaves what is there');
        await put(70, 3, { updateFilter: is(2) });
        equal(await n(70), 1, 'update_filter holds back');
        const change = (x) => ({ operation: { case: 'upsert', value: { ...x,
            points: [{ id: num(70), vectors: named({}), payload: payload({ n: 9 }) }] } } });
        await p.updateBatch({ collectionName: N, wait: true,
            operations: [change({ updateMode: INSERT_ONLY }), change({ updateFilter: is(5) })] });
        equal(await n(70), 1);
        await p.updateBatch({ collectionName: N, wait: true,
            operations: [change({ updateFilter: is(1), updateMode: UPDATE_ONLY })] });
        equal(await n(70), 9);
        await p.delete({ collectionName: N, wait: true, points: byIds(70) });
        equal(await code(() => put(70, 1, { updateMode: 7 })), INVALID);
    });
    await op('points.get', async () => {
        const { result } = await p.get({ collectionName: C, ids: [num(5), num(999)], withPayload: all, withVectors: all });
        equal(ids(result), [5]);
        equal(plainMap(result[0].payload), points[4].payload);
        nearAll(result[0].vectors.vectorsOptions.value.vector.value.data, points[4].vector);
        const { result: [q] } = await p.get({ collectionName: C, ids: [num(5)],
            withPayload: { selectorOptions: { case: 'include', value: { fields: ['color'] } } } });
        equal(plainMap(q.payload), { color: 'red' });
        const { result: [r] } = await p.get({ collectionName: C, ids: [num(5)],
            withPayload: { selectorOptions: { case: 'exclude', value: { fields: ['in', 'tags', 'color'] } } } });
        equal(Object.keys(r.payload).sort(), ['count', 'new', 'nothing', 'price']);
        equal(await code(() => p.get({ collectionName: C, ids: [uuid('no-uuid')] })), INVALID);
    });
    await op('points.updateVectors', async () => {
        const done = await p.updateVectors({ collectionName: N, wait: true,
            points: [{ id: num(1), vectors: named({ text: dense([3, 4]) }) }] });
        equal(done.result.status, COMPLETED);
        const { result: [a] } = await p.get({ collectionName: N, ids: [num(1)], withVectors: all, withPayload: all });
        nearAll(a.vectors.vectorsOptions.value.vectors.text.vector.value.data, [3, 4]);
        ok('image' in a.vectors.vectorsOptions.value.vectors, 'the other vector stays');
        equal(plainMap(a.payload), { a: 1 });
        const text = async (n) => {
            await p.updateVectors({ collectionName: N, wait: true, updateFilter: { must: [match('a', 'integer', n)] },
                points: [{ id: num(1), vectors: named({ text: dense([5, 6]) }) }] });
            const { result: [b] } = await p.get({ collectionName: N, ids: [num(1)], withVectors: all });
            return b.vectors.vectorsOptions.value.vectors.text.vector.value.data;
        };
        nearAll(await text(2n), [3, 4], 1e-4, 'held back');
        nearAll(await text(1n), [5, 6]);
    });
    await op('points.deleteVectors', async () => {
        await p.deleteVectors({ collectionName: N, wait: true, pointsSelector: byIds(1), vectors: { names: ['text'] } });
        const { result: [a] } = await p.get({ collectionName: N, ids: [num(1)], withVectors: all });
        equal(Object.keys(a.vectors.vectorsOptions.value.vectors).sort(), ['image', 'words']);
    });
}

async function payloads(op, p, collectionsApi) {
    const get = async (id) => plainMap((await p.get({ collectionName: N, ids: [num(id)], withPayload: all })).result[0].payload);
    const base = { collectionName: N, wait: true };
    await op('points.setPayload', async () => {
        await p.setPayload({ ...base, payload: payload({ b: { x: 1 }, gone: 'x' }), pointsSelector: byIds(1) });
        equal(await get(1), { a: 1, b: { x: 1 }, gone: 'x' });
        await p.setPayload({ ...base, payload: payload({ y: 2 }), key: 'b', pointsSelector: byIds(1) });
        equal((await get(1)).b, { x: 1, y: 2 });
        await p.setPayload({ ...base, payload: payload({ f: true }),
            pointsSelector: byFilter({ must: [match('a', 'integer', 1n)] }) });
        equal((await get(1)).f, true);
    });
    await op('points.deletePayload', async () => {
        await p.deletePayload({ ...base, keys: ['gone', 'b.x'], pointsSelector: byIds(1) });
        equal(await get(1), { a: 1, b: { y: 2 }, f: true });
    });
    await op('points.overwritePayload', async () => {
        await p.overwritePayload({ ...base, payload: payload({ only: 'this' }), pointsSelector: byIds(1) });
        equal(await get(1), { only: 'this' });
    });
    await op('points.clearPayload', async () => {
        await p.clearPayload({ ...base, points: byIds(1) });
        equal(await get(1), {});
    });
    await op('points.updateBatch', async () => {
        const operation = (kind, v) => ({ operation: { case: kind, value: v } });
        const done = await p.updateBatch({ ...base, operations: [
            operation('upsert', { points: [{ id: num(50), vectors: named({ text: dense([1, 1]) }), payload: payload({ k: 1 }) },
                { id: num(51), vectors: named({ text: dense([2, 2]) }) }] }),
            operation('setPayload', { payload: payload({ z: 9 }), pointsSelector: byIds(50) }),
            operation('overwritePayload', { payload: payload({ o: 1 }), pointsSelector: byIds(51) }),
            operation('updateVectors', { points: [{ id: num(51), vectors: named({ text: dense([5, 5]) }) }] }),
            operation('deletePayload', { keys: ['k'], pointsSelector: byIds(50) }),
            operation('deleteVectors', { pointsSelector: byIds(50), vectors: { names: ['text'] } }),
            operation('clearPayload', { points: byIds(51) }),
            operation('deletePoints', { points: byIds(1) })] });
        equal(done.result.length, 8);
        ok(done.result.every((r) => r.status === 2), 'all completed');
        equal(await get(50), { z: 9 });
        equal(await get(51), {});
        equal((await p.get({ collectionName: N, ids: [num(1)] })).result, []);
    });
    await op('points.delete', async () => {
        equal((await p.delete({ ...base, points: byIds(50) })).result.status, 2);
        await p.delete({ ...base, points: byFilter({ must: [{ conditionOneOf: { case: 'hasId', value: { hasId: [num(51)] } } }] }) });
        equal((await p.get({ collectionName: N, ids: [num(50), num(51)] })).result, []);
    });
    await op('points.createFieldIndex', async () => {
        equal((await p.createFieldIndex({ collectionName: C, wait: true, fieldName: 'color', fieldType: 0 })).result.status, 2);
        await p.createFieldIndex({ collectionName: C, wait: true, fieldName: 'count', fieldType: 1,
            fieldIndexParams: { indexParams: { case: 'integerIndexParams', value: { lookup: true, range: false } } } });
        const schema = (await collectionsApi.get({ collectionName: C })).result.payloadSchema;
        equal(schema.color.dataType, 1);
        equal(schema.count.dataType, 2);
        equal(schema.count.params.indexParams.case, 'integerIndexParams');
        equal(schema.count.params.indexParams.value.lookup, true);
        equal(schema.count.params.indexParams.value.range, false);
    });
    await op('points.createFieldIndex', async () => {
        const TEXT = 4, WORD = 3, TOKEN = { tokenizer: WORD, lowercase: true, minTokenLen: 2n, phraseMatching: true,
            stopwords: { languages: ['english'], custom: ['number'] },
            stemmer: { stemmingParams: { case: 'snowball', value: { language: 'english' } } } };
        const declare = (more) => p.createFieldIndex({ collectionName: C, wait: true, fieldName: 'in.title', fieldType: TEXT,
            fieldIndexParams: { indexParams: { case: 'textIndexParams', value: { ...TOKEN, ...more } } } });
        const n = async (kind, text) => Number((await p.count({ collectionName: C, exact: true,
            filter: { must: [match('in.title', kind, text)] } })).result.count);
        await declare({});
        equal(await n('text', 'the FOX red'), COUNT / 4, 'text with an index');
        equal(await n('text', 'ed fox'), 0, 'no part of a word');
        equal(await n('textAny', 'blue black white'), COUNT / 2, 'textAny with an index');
        equal(await n('phrase', 'blue fox 14'), 1, 'phrase with an index');
        equal(await code(() => declare({ stopwords: { languages: ['klingon'], custom: [] } })), INVALID);
        await p.deleteFieldIndex({ collectionName: C, wait: true, fieldName: 'in.title' });
        equal(await n('text', 'ed fox'), COUNT / 4, 'and without it again');
    });
    await op('points.deleteFieldIndex', async () => {
        await p.deleteFieldIndex({ collectionName: C, wait: true, fieldName: 'count' });
        equal(Object.keys((await collectionsApi.get({ collectionName: C })).result.payloadSchema), ['color']);
    });
}

async function reads(op, p, collectionsApi) {
    const base = { collectionName: C };
    await op('points.count', async () => {
        for (const [what, filter, keep] of filters)
            equal((await p.count({ ...base, filter, exact: true })).result.count, BigInt(points.filter(keep).length), what);
        equal(await code(() => p.count({ collectionName: 'nothing' })), NOT_FOUND);
    });
    await op('points.scroll', async () => {
        const seen = [];
        let offset;
        do {
            const page = await p.scroll({ ...base, limit: 17, offset });
            seen.push(...ids(page.result));
            offset = page.nextPageOffset;
        } while (offset !== undefined);
        equal(seen, points.map((x) => x.id));
        for (const [what, filter, keep] of filters)
            equal(ids((await p.scroll({ ...base, filter, limit: 1000 })).result), points.filter(keep).map((x) => x.id), what);
        const { result: [a] } = await p.scroll({ ...base, limit: 1, offset: num(9), withVectors: all });
        equal(idOf(a), 9);
        equal(plainMap(a.payload), points[8].payload);
        nearAll(a.vectors.vectorsOptions.value.vector.value.data, points[8].vector);
    });
    await op('points.search', async () => {
        const search = { ...base, vector: query };
        checkHits((await p.search({ ...search, limit: 10n })).result, nearest('Dot', query, 10), 'plain');
        const { result: [first] } = await p.search({ ...search, limit: 1n, withPayload: all, withVectors: all });
        equal(plainMap(first.payload), points[idOf(first) - 1].payload);
        nearAll(first.vectors.vectorsOptions.value.vector.value.data, points[idOf(first) - 1].vector);
        ok(first.version > 0n, 'version');
        const want = nearest('Dot', query, COUNT);
        checkHits((await p.search({ ...search, limit: 50n, scoreThreshold: want[4].score - 1e-6 })).result,
            want.slice(0, 5), 'threshold');
        checkHits((await p.search({ ...search, limit: 5n, offset: 3n })).result, want.slice(3, 8), 'offset');
        for (const [what, filter, keep] of filters)
            checkHits((await p.search({ ...search, limit: 7n, filter, params: { hnswEf: 200n } })).result,
                nearest('Dot', query, 7, keep), what);
        equal(await code(() => p.search({ ...base, vector: [1, 2], limit: 1n })), INVALID);
    });
    await op('points.scroll', async () => {
        const DESC = 1, FLOAT = 2;
        equal(await code(() => p.scroll({ ...base, orderBy: { key: 'price' } })), INVALID);
        await p.createFieldIndex({ ...base, wait: true, fieldName: 'price', fieldType: FLOAT });
        const page = await p.scroll({ ...base, limit: 3, orderBy: { key: 'price', direction: DESC,
            startFrom: { value: { case: 'float', value: points[50].payload.price } } } });
        equal(ids(page.result), [51, 50, 49]);
        equal(page.result[0].orderValue.variant, { case: 'float', value: points[50].payload.price });
        equal(page.nextPageOffset, undefined);
        equal(await code(() => p.scroll({ ...base, offset: num(3), orderBy: { key: 'price' } })), INVALID);
    });
    await op('points.query', async () => {
        const kind = (name, value) => ({ query: { variant: { case: name, value } } });
        const { result: ordered } = await p.query({ ...base, ...kind('orderBy', { key: 'price' }), limit: 2n, offset: 1n });
        equal(ids(ordered), [2, 3]);
        equal(ordered[0].orderValue.variant.value, points[1].payload.price);
        const { result: some } = await p.query({ ...base, ...kind('sample', 0), limit: 30n });
        equal(new Set(ids(some)).size, 30);
        await p.deleteFieldIndex({ ...base, wait: true, fieldName: 'price' });
    });
    await op('points.facet', async () => {
        equal(await code(() => p.facet({ ...base, key: 'count' })), INVALID);
        const { hits } = await p.facet({ ...base, key: 'color', limit: 3n, exact: true });
        equal(hits.map((h) => [h.value.variant.value, h.count]),
            [['black', 30n], ['blue', 30n], ['green', 30n]]);
        const BOOL = 5;
        await p.createFieldIndex({ ...base, wait: true, fieldName: 'new', fieldType: BOOL });
        const { hits: bools } = await p.facet({ ...base, key: 'new' });
        equal(bools.map((h) => h.value.variant), [{ case: 'boolValue', value: false }, { case: 'boolValue', value: true }]);
        await p.deleteFieldIndex({ ...base, wait: true, fieldName: 'new' });
    });
    await op('points.searchBatch', async () => {
        const { result } = await p.searchBatch({ ...base, searchPoints: [{ ...base, vector: query, limit: 3n },
            { ...base, vector: points[3].vector, limit: 2n, params: { exact: true } }] });
        checkHits(result[0].result, nearest('Dot', query, 3), 'first');
        checkHits(result[1].result, nearest('Dot', points[3].vector, 2), 'second');
    });
    await op('points.query', async () => {
        checkHits((await p.query({ ...base, query: nearestTo(query), limit: 10n })).result, nearest('Dot', query, 10), 'plain');
        checkHits((await p.query({ ...base, query: nearestId(7), limit: 5n })).result,
            nearest('Dot', points[6].vector, 5, (x) => x.id !== 7), 'by id');
        equal(ids((await p.query({ ...base, limit: 4n })).result), [1, 2, 3, 4], 'no query');
        equal(await code(() => p.query({ ...base, query: nearestId(12345) })), NOT_FOUND);
        const byImage = nearest('Cosine', query, 2, (x) => x.id === 2);
        const { result } = await p.query({ collectionName: N, query: nearestTo(query), using: 'image', limit: 5n });
        equal(ids(result), [UUID]);
        near(result[0].score, byImage[0].score);
    });
    await op('points.query', async () => {
        const distances = { Cosine: 1, Euclid: 2, Dot: 3, Manhattan: 4 };
        for (const distance of Object.keys(scores)) {
            const collectionName = `interop_grpc_${distance}`;
            await collectionsApi.create({ collectionName,
                vectorsConfig: { config: { case: 'params', value: { size: BigInt(DIM), distance: distances[distance] } } } });
            await p.upsert({ collectionName, wait: true,
                points: points.slice(0, 30).map((x) => ({ id: num(x.id), vectors: one(x.vector) })) });
            checkHits((await p.query({ collectionName, query: nearestTo(query), limit: 5n })).result,
                nearest(distance, query, 5, (x) => x.id <= 30), distance);
            equal((await collectionsApi.delete({ collectionName })).result, true);
        }
    });
    await op('points.queryBatch', async () => {
        const { result } = await p.queryBatch({ ...base, queryPoints: [
            { ...base, query: nearestTo(query), limit: 3n, withPayload: all }, { ...base, query: nearestId(7), limit: 2n }] });
        checkHits(result[0].result, nearest('Dot', query, 3), 'first');
        ok(COLORS.includes(plainMap(result[0].result[0].payload).color), 'payload');
        checkHits(result[1].result, nearest('Dot', points[6].vector, 2, (x) => x.id !== 7), 'second');
    });
}

// Parts of requests that are known and not served: refused by name, never passed over.
async function unserved(op, p) {
    const refusal = async (f) => {
        try {
            await f();
        } catch (e) {
            return refusedText(e);
        }
        return 'it was served';
    };
    const query = (kind, value) => ({ query: { variant: { case: kind, value } } });
    const bodies = {
        prefetch: { prefetch: [{}] },
        fusion: query('fusion', 0),
        recommend: query('recommend', { positive: [] }),
        discover: query('discover', {}),
        context: query('context', {}),
        formula: query('formula', { expression: { variant: { case: 'constant', value: 1 } } }),
        rrf: query('rrf', { k: 5 }),
        lookup_from: { lookupFrom: { collectionName: N } },
        shard_key: { shardKeySelector: { shardKeys: [{ key: { case: 'keyword', value: 'k' } }] } },
        'params.acorn': { params: { acorn: { enable: true } } },
    };
    for (const [name, body] of Object.entries(bodies))
        await op('points.query', async () =>
            equal(await refusal(() => p.query({ collectionName: C, ...body })), `Not implemented: ${name}`, name));
}

// With keys set: none, a wrong one, the read-only one, the full one.
export async function keys(clients, url) {
    const { QdrantClient } = clients('@qdrant/js-client-grpc');
    const api = (name, apiKey) => new QdrantClient({ url: url.origin, port: Number(url.port), timeout: 20000, apiKey,
        checkCompatibility: false }).api(name);
    const s = new Suite(`grpc with keys${url.protocol === 'https:' ? ' over TLS' : ''}`, ['none', 'wrong', 'read-only', 'full'], {});
    const collectionName = 'interop_keys';
    const UNAUTHENTICATED = 16, DENIED = 7;
    await s.op('none', async () => equal(await code(() => api('collections').list({})), UNAUTHENTICATED));
    await s.op('wrong', async () => equal(await code(() => api('collections', 'full-kez').list({})), UNAUTHENTICATED));
    await s.op('full', async () => equal((await api('collections', 'full-key').create({ collectionName,
        vectorsConfig: { config: { case: 'params', value: { size: 2n, distance: 3 } } } })).result, true));
    await s.op('read-only', async () => {
        equal((await api('collections', 'read-key').list({})).collections.length, 1);
        equal((await api('points', 'read-key').query({ collectionName, query: nearestTo([1, 2]) })).result, []);
        equal(await code(() => api('points', 'read-key').upsert({ collectionName,
            points: [{ id: num(1), vectors: one([1, 2]) }] })), DENIED);
        equal(await code(() => api('collections', 'read-key').delete({ collectionName })), DENIED);
    });
    await s.op('full', async () => equal((await api('collections', 'full-key').delete({ collectionName })).result, true));
    return s.finish();
}

// grpc.health.v1, which the client lacks: a bare call. Gives [grpc-status, message bytes].
function bareCall(url, path, message) {
    return new Promise((resolve, reject) => {
        const session = http2.connect(url.origin);
        session.on('error', reject);
        const call = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
        const parts = [];
        let status;
        call.on('response', (h) => (status = h['grpc-status'] ?? status));
        call.on('trailers', (h) => (status = h['grpc-status'] ?? status));
        call.on('data', (d) => parts.push(d));
        call.on('error', reject);
        call.on('close', () => {
            session.close();
            resolve([Number(status), [...Buffer.concat(parts).subarray(5)]]);
        });
        const head = Buffer.alloc(5);
        head.writeUInt32BE(message.length, 1);
        call.end(Buffer.concat([head, Buffer.from(message)]));
    });
}

export async function run(clients, url, notYet) {
    const { QdrantClient } = clients('@qdrant/js-client-grpc');
    const c = new QdrantClient({ url: url.origin, port: Number(url.port), timeout: 20000 });
    const known = Object.keys(SERVICES).flatMap((api) => Object.keys(c.api(api)).map((m) => `${api}.${m}`));
    const s = new Suite('grpc', known, notYet.grpc);
    const op = (name, f) => s.op(name, f);
    await op('service.healthCheck', async () => {
        const h = await c.api('service').healthCheck({});
        equal(h.title, 'qdrant - vector search engine');
        ok(/^1\.\d+\.\d+/.test(h.version), h.version);
    });
    await collections(op, c.api('collections'), c.api('points'));
    await aliases(op, c.api('collections'));
    await changes(op, c.api('collections'), c.api('points'));
    await writes(op, c.api('points'));
    await payloads(op, c.api('points'), c.api('collections'));
    await reads(op, c.api('points'), c.api('collections'));
    await snapshots(op, c.api('snapshots'));
    await unserved(op, c.api('points'));
    await op('collections.delete', async () => {
        equal((await c.api('collections').delete({ collectionName: C })).result, true);
        equal((await c.api('collections').delete({ collectionName: C })).result, false);
        equal((await c.api('collections').delete({ collectionName: N })).result, true);
    });
    for (const name of Object.keys(notYet.grpc)) {
        const [api, method] = name.split('.');
        await s.refuse(name, () => c.api(api)[method]({ collectionName: C }), refusedText);
    }
    const health = new Suite('grpc health', ['Check'], {});
    await health.op('Check', async () => {
        equal(await bareCall(url, '/grpc.health.v1.Health/Check', []), [0, [8, 1]]);
    });
    return [...s.finish(), ...health.finish()];
}
