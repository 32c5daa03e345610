#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets json, request, filter_json, geo, datetime and text:
test/fuzz/json_seeds.py.

A seed of `request` is a letter (a = upsert, b = delete, ...; see fuzz_request.c) and a body. The
result is committed.
"""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))

JSON = [
    '{"a":1,"b":[true,false,null],"c":{"d":-1.5e3},"a":2}',
    '[0.1,-2.5,1e-7,123456789012345678,1.00000005960464477539062500,3.4e38,0.0]',
    '[1,2,3]', '[]', '{}', 'null', 'true', 'false', '"text"', '-0', '18446744073709551615',
    '18446744073709551616', '-9223372036854775808', '1e400', '1.7976931348623157e308', '5e-324',
    '0.' + '0' * 30 + '123456789012345678901234567890', '1' * 70 + '.5', '1e39', '[1e39]', '[01]',
    '[1,]', '[1 2]', '[,1]', '[1', '[', '{"a"', '{"a":', '{"a":1', '{"a" 1}', '{1:1}', '{"a":1,}',
    '{"a":1 "b":2}', 'nul', 'truE', '[-]', '1.', '1e', '+1', 'NaN', '{} x', '', ' \t\r\n[1]\n',
    '"\\u0041\\n\\"\\\\\\/\\b\\f\\r\\t\\ud83d\\ude00\\u20ac\\u00e9"', '"\\ud83d"', '"\\udc00"',
    '"\\ud83d\\u0041"', '"\\x"', '"\\u12"', '"\\u12xy"', '"abc', '"\\', '"a\nb"', '{"\\u0000":1}',
    b'"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"', b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"',
    '{' + ','.join(f'"k{i % 9}":{i}' for i in range(40)) + '}', '[' * 70 + ']' * 70,
    '[' * 100, '{"a":' * 100, '"' + 'long ' * 20 + '\\n' + 'text ' * 20 + '"',
    '[' + ','.join(str(i / 7) for i in range(40)) + ']', '[1e10,1e16,1e17,1e-4,1e-5,1e21,1e22,1e23]',
]

VEC = '"vectors":{"size":4,"distance":"Dot"}'
UUID = '"550e8400-e29b-41d4-a716-446655440000"'
FILTERS = [
    '{"must":{"key":"a","match":{"value":"x"}},"should":[{"key":"b","match":{"value":1}},'
    '{"key":"b","match":{"value":true}}],"must_not":[{"has_id":[1,' + UUID + ']},{"has_vector":"v"}]}',
    '{"must":[{"key":"a","match":{"any":["y","x"]}},{"key":"a","match":{"except":[3,1]}},'
    '{"key":"a[].b","range":{"gt":1,"gte":1,"lt":3,"lte":3}},'
    '{"key":"a","values_count":{"gt":1,"lte":9}}]}',
    '{"must":[{"is_empty":{"key":"z"}},{"is_null":{"key":"a"}},{"key":"z","is_empty":true},'
    '{"key":"b","is_empty":false},{"key":"b","is_null":false},'
    '{"key":"b","is_null":null,"match":{"value":"x"},"range":null}]}',
    '{"must":[{"nested":{"key":"a","filter":{"must":[{"key":"b","range":{"gte":2.5}}]}}},'
    '{"should":[{"must_not":[]}]},{}]}',
    '{"min_should":{"conditions":[{"key":"b","match":{"value":"x"}},{"has_id":[1]}],"min_count":2}}',
    '{"must":[{"key":"a","match":{"value":1},"range":{"lt":3},"match":{"value":2}}]}',
    'null', '{}', '{"min_should":null,"must":null}', '{"mst":[]}', '{"must":5}', '{"must":[5]}',
    '{"must":[{"foo":1}]}', '{"must":[{"key":"a"}]}', '{"must":[{"key":"a["}]}',
    '{"must":[{"key":"a","match":{}}]}', '{"must":[{"key":"a","match":{"value":1.5}}]}',
    '{"must":[{"key":"a","match":{"value":null}}]}', '{"must":[{"key":"a","match":{"any":[1,"a"]}}]}',
    '{"must":[{"key":"a","match":{"text":"x"}}]}', '{"must":[{"key":"a","match":{"text_any":"x"}}]}',
    '{"must":[{"key":"a","match":{"phrase":"x"}}]}', '{"must":[{"key":"a","match":{"prefix":"x"}}]}',
    '{"must":[{"key":"a","match":{"text":null,"what":1}}]}',
    '{"must":[{"key":"a","range":{"gt":"2020-01-01"}}]}', '{"must":[{"key":"a","geo_radius":{}}]}',
    '{"must":[{"key":"a","geo_bounding_box":{}}]}', '{"must":[{"key":"a","geo_polygon":{}}]}',
    '{"must":[{"slice":{"total":2,"index":1}}]}', '{"must":[{"slice":{"total":0,"index":1}}]}',
    '{"must":[{"slice":{"total":2,"index":2,"x":1}}]}', '{"must":[{"slice":{"total":2}}]}',
    '{"must":[{"key":"b","range":{"gt":"2020-01-01","lt":"2021-01-01T10:00:00+01:00","lte":null}}]}',
    '{"must":[{"key":"b","range":{"gt":5,"lt":"2021-01-01"}}]}', '{"must":[{"key":"b","range":[]}]}',
    '{"must":[{"key":"b","match":{"text":"x"},"match":{"phrase":"y"}},{"key":"b","range":{"gt":1},"range":{"lt":"2020-01-01"}}]}',
    '{"must":[{"key":"c","geo_radius":{"center":{"lon":1,"lat":2},"radius":1e6}},'
    '{"key":"c","geo_bounding_box":{"top_left":{"lon":1,"lat":2},"bottom_right":{"lon":3,"lat":-2}}}]}',
    '{"must":[{"key":"c","geo_polygon":{"exterior":{"points":[{"lon":0,"lat":0},{"lon":9,"lat":0},'
    '{"lon":9,"lat":9},{"lon":0,"lat":0}]}},"geo_radius":null}]}',
    '{"must":[{"key":"b","match":{"text_any":"x y","z":1}},{"key":"b","match":{"prefix":"x"}}]}',
    '{"must":[{"nested":{"key":"a"}}]}',
    '{"must":[{"nested":{"filter":{}}}]}', '{"min_should":{"min_count":1}}',
    b'{}\xda', '{"min_should":{"conditions":[],"x":1}}', '{"must":[{"key":"a","range":{"foo":1}}]}',
]

# a letter (@ box, A circle, B polygon, C times; see fuzz_geo.c) and a body
def place(lon, lat):
    return f'{{"lon":{lon},"lat":{lat}}}'


def ring(*points):
    return '{"points":[' + ",".join(place(*p) for p in points) + "]}"


SQUARE = ring((0, 0), (9, 0), (9, 9), (0, 9), (0, 0))
GEO = [
    '@{"top_left":' + place(170, 10) + ',"bottom_right":' + place(-170, -10) + "}",
    '@{"top_left":' + place(0, 10) + ',"x":1,"bottom_right":' + place(9, -10) + "}",
    '@{"top_left":' + place(0, 91) + "}", '@{"bottom_right":{"lon":1}}', '@{"top_left":{"lat":1,"y":2}}', "@[]",
    'A{"center":' + place(13.4, 52.5) + ',"radius":1000,"z":[]}', 'A{"radius":-1}', 'A{"center":{}}',
    'A{"center":' + place(0, 0) + ',"radius":"x"}', 'A{"center":' + place(0, 0) + "}",
    'B{"exterior":' + SQUARE + "}", 'B{"exterior":' + SQUARE + ',"interiors":null,"w":0}',
    'B{"exterior":' + SQUARE + ',"interiors":[' + ring((1, 1), (3, 1), (3, 3), (1, 3), (1, 1)) + "]}",
    'B{"exterior":' + SQUARE + ',"interiors":[' + ring((1, 1), (3, 1)) + "]}", 'B{"interiors":[]}',
    'B{"exterior":' + ring((0, 0), (1, 0), (1, 1), (0, 1)) + "}", 'B{"exterior":{"points":[],"v":1}}',
    'B{"exterior":{}}', 'B{"exterior":' + ring((0, 0), (4, 4), (8, 8), (0, 0)) + "}",
    'B{"exterior":' + ring((-9, -9), (9, -9), (0, 0.1), (9, 9), (-9, 9), (-9, -9)) + "}",
    'B{"exterior":' + ring((0, 1e-17), (2, 2), (4, 4), (0, 9), (0, 1e-17)) + "}",
    'C{"gt":"2020-01-01","gte":"2020-01-01T00:00:00Z","lt":"2021-01-01 10:00","lte":null,"u":1}',
    'C{"gt":5}', 'C{"lte":"yesterday"}', 'C{"lt":"' + "é" * 60 + '"}', "C7",
]
DATETIME = [
    "2023-02-08T10:49:00Z", "2023-02-08", "2023-02-08 10:49", "2023-2-8 1:2:3.5+01:30", "2023-02-08t10:49:00z",
    "2023-02-08T10:49:00.123456789 UTC", "2023-02-08T10:49:00-0130", "2023-02-08T10:49:00 +01", "2000-02-29",
    "1900-02-29", "0000-01-01", "9999-12-31T23:59:60Z", "2023-13-01", "2023-00-01", "2023-01-32", "2023",
    "2023-02-08T25:00", "2023-02-08T10:60", "2023-02-08T10:49:61", "2023-02-08T10:49:00.", "2023-02-08T10:49:00+1",
    "2023-02-08T10:49:00+25", "2023-02-08T10:49:00+01:60", "2023-02-08T10:49:00 X", "2023-02-08X", "", "x",
    "2023-02-08T10:49:00ut", "2023-02-08T", "2023-02-08T10", "2023-02-08T10:4x",
]


def params(v):
    """An options object in the form of documents (docs/formats-points.md)."""
    def text(s):
        return struct.pack("<I", len(s.encode())) + s.encode()
    if v is None:
        return b"\0"
    if isinstance(v, bool):
        return b"\2" if v else b"\1"
    if isinstance(v, int):
        return b"\3" + struct.pack("<q", v)
    if isinstance(v, str):
        return b"\5" + text(v)
    if isinstance(v, list):
        body = b"".join(params(x) for x in v)
        return b"\6" + struct.pack("<II", len(body) + 4, len(v)) + body
    body = b"".join(text(k) + params(x) for k, x in v.items())
    return b"\7" + struct.pack("<II", len(body) + 4, len(v)) + body


# u8 options, u8 length of what is asked for, that, a text (see fuzz_text.c)
TEXTS = [
    ("quick fox", "The quick, brown fox's Foxes jumped. OVER 2024"), ("the", "the theory of the"), ("", ""),
    ("\u00c9T\u00c9", "\u00e9t\u00e9 e\u0301te\u0301 stra\u00dfe \u0141\u00f3d\u017a \ufb01sh \u2122 \u212b"),
    ("\u6771\u4eac", "\u6771\u4eac\u90fd\u306b\u4f4f\u3080 abc\u30ab\u30bf \u0e44\u0e17\u0e22\u0e19\u0e49\u0e33 \u6771"),
    ("\u039f\u0394\u039f\u03a3", "\u039f\u0394\u039f\u03a3 \u03bf\u03b4\u03bf\u03c2 \u03a3"),
    ("w " * 100, "w " * 600), ("x" * 200, "x" * 2000 + " " + "\u00e9" * 800), ("a a a b", "a a a a b"),
    ("\u041f\u0440\u0438\u0432\u0435\u0442", "\u041f\u0440\u0438\u0432\u0435\u0442\u00a0\u043c\u0438\u0440\u3000ok\u2003x"),
]
OPTIONS = [
    {}, {"tokenizer": None}, {"tokenizer": "klingon"}, {"tokenizer": 5}, {"min_token_len": -1}, {"min_token_len": "x"},
    {"min_token_len": 5, "max_token_len": 3}, {"min_token_len": 2, "max_token_len": 30, "ascii_folding": True},
    {"stopwords": "english"}, {"stopwords": "zz"}, {"stopwords": 7}, {"stopwords": {"languages": ["en", "de"], "custom": ["x"]}},
    {"stopwords": {"languages": ["zz"]}}, {"stopwords": {"custom": [1]}}, {"stopwords": {"custom": "x"}},
    {"stemmer": {"type": "none"}}, {"stemmer": {"type": "snowball", "language": "ru"}}, {"stemmer": {"type": "porter"}},
    {"stemmer": {"type": "snowball", "language": "zz"}}, {"stemmer": {"type": "snowball"}}, {"stemmer": {}}, {"stemmer": 1},
    {"lowercase": 1}, 5,
]


def text_seeds():
    seeds = [bytes([bits, len(q.encode())]) + q.encode() + t.encode()
             for i, (q, t) in enumerate(TEXTS) for bits in (i & 3, 0b11001100 | i & 3, 0b00110101, 0b01001011, 0b10010110)]
    seeds += [b"\0\0" + params(o) for o in OPTIONS]
    return seeds + [b"\3\2\xff\xc3\xff\xc3a\xe6\x9d", b"\1", b""]


REQUESTS = [
    # changes: a upsert .. h clear payload, in the order of enum qv_write_type
    'a{"points":[{"id":7,"vector":[1,2.5,-3],"payload":{"a":1,"b":[null]},"x":[]},{"id":' + UUID +
    ',"vectors":{"":[1],"s":{"indices":[5,2],"values":[0.5,1]},"m":[[1,2],[3,4]],"":[2]},'
    '"payload":null}],"update_mode":"upsert","shard_key":null,"update_filter":null,"y":1}',
    'a{"batch":{"ids":[1,2],"vectors":[[1,2],[3,4]],"payloads":[null,{"k":"v"}],"z":0}}',
    'a{"batch":{"ids":[1,2],"vectors":{"a":[[1],[2]],"m":[[[1,2]],[[3,4]]],"a":[[5],[6]]},"payloads":null}}',
    'a{"batch":{"ids":[1],"vectors":[[1],[2]]}}', 'a{"batch":{"ids":[1],"vectors":{"a":[[1]],"b":[]}}}',
    'a{"batch":{"ids":[1],"vectors":[[1]],"payloads":[]}}', 'a{"batch":{"ids":[]}}', 'a{}',
    'a{"points":[{"id":1}]}', 'a{"points":[{"vector":[1]}]}', 'a{"points":[{"id":-1,"vector":[1]}]}',
    'a{"points":[{"id":"x","vector":[1]}]}', 'a{"points":[{"id":1,"vector":5}]}',
    'a{"points":[{"id":1,"vector":[[1],[1,2]]}]}', 'a{"points":[{"id":1,"vector":[[]]}]}',
    'a{"points":[{"id":1,"vector":{"s":{"indices":[1],"values":[]}}}]}',
    'a{"points":[{"id":1,"vector":{"s":{"indices":[1,1],"values":[1,2]}}}]}',
    'a{"points":[{"id":1,"vector":{"text":"a","model":"m"}}]}',
    'a{"points":[{"id":1,"vector":{"model":"m","image":"i"}}]}',
    'a{"points":[{"id":1,"vector":{"a":{"object":1,"model":"m"}}}]}',
    'a{"points":[],"update_mode":"insert_only"}', 'a{"points":[],"update_mode":null,"shard_key":1}',
    'a{"points":[],"update_filter":{}}', 'a{"points":[{"id":1,"vector":{"' + 'n' * 300 + '":[1]}}]}',
    'b{"points":[1,2,' + UUID + ']}', 'b{"filter":{"must":[{"has_id":[1]}]},"points":null}', 'b{}',
    'b{"points":[1],"shard_key":"a"}', 'h{"filter":{},"x":1}',
    'c{"points":[{"id":1,"vector":{"a":[1]}}],"shard_key":null}', 'c{"points":[]}', 'c{}',
    'c{"points":[],"update_filter":{},"x":2}', 'd{"points":[1],"vector":["a",""],"x":1}',
    'd{"points":[1],"vector":[]}', 'd{"points":[1]}', 'd{"points":[1],"vector":["a\\u0000"]}',
    'e{"payload":{"a":null},"points":[1],"key":"b.c","x":1}', 'e{"payload":{}}', 'e{"points":[1]}',
    'e{"payload":{},"points":[1],"key":null}', 'e{"payload":{},"points":[1],"key":"a["}',
    'e{"payload":5}', 'f{"payload":{},"filter":{},"key":"b"}',
    'g{"keys":["a","b[].c"],"points":[4],"x":1}', 'g{"points":[1]}', 'g{"keys":["a\\u0000"]}',
    'i{"operations":[{"upsert":{"points":[]}},{"delete":{"points":[1]}},{"update_vectors":{"points":'
    '[{"id":1,"vector":[1]}]}},{"delete_vectors":{"points":[1],"vector":["a"]}},{"set_payload":'
    '{"payload":{},"points":[1]}},{"overwrite_payload":{"payload":{},"points":[1]}},'
    '{"delete_payload":{"keys":[],"points":[1]}},{"clear_payload":{"points":[1]},"x":1}],"y":2}',
    'i{"operations":[{"x":{}}]}', 'i{}',
    # reads: j get, k scroll, l count, m query, n its batch, o search, p its batch
    'j{"ids":[1,' + UUID + '],"with_payload":["a","b.c"],"with_vector":["v"],"shard_key":null,"x":1}',
    'j{"ids":[],"with_payload":{"exclude":["a"],"x":1},"with_vectors":true}', 'j{}',
    'j{"ids":[],"with_payload":{"include":["a"]}}', 'j{"ids":[],"with_payload":{}}',
    'j{"ids":[],"with_payload":5}', 'j{"ids":[],"with_vector":5}', 'j{"ids":[],"with_payload":null}',
    'k{"offset":",9lr{i"', 'k{"offset":[1', 'k{"offset":"\u00e9' + '\u20ac' * 30 + '"}',
    'k{"offset":9,"limit":3,"filter":{},"with_payload":false,"with_vector":false,"order_by":null,'
    '"shard_key":null,"x":1}', 'k{"limit":0}', 'k{"limit":1000000}', 'k{"order_by":"a"}', 'k{}',
    'l{"filter":null,"exact":false,"shard_key":null,"x":1}', 'l{"exact":null}',
    'm{"query":[1,2],"using":"a","limit":3,"offset":2,"score_threshold":0.5,"filter":{},'
    '"with_payload":true,"with_vector":["x"],"prefetch":null,"lookup_from":null,"shard_key":null,'
    '"params":{"hnsw_ef":128,"exact":true,"indexed_only":false,"quantization":{"ignore":true,'
    '"rescore":false,"oversampling":2,"x":1},"acorn":{"enable":false,"max_selectivity":0.4},'
    '"idf":null,"quiver":{"explain":true,"n_probe":null,"recall_target":null,"cache":false},"x":1},"x":1}',
    'm{"query":5}', 'm{"query":{"nearest":{"indices":[1],"values":[2]},"mmr":null}}',
    'm{"query":{"indices":[2,1],"values":[2,3]},"params":null}', 'm{"query":{"fusion":"rrf"}}',
    'm{"query":{"nearest":[[1,2],[3,4]]},"score_threshold":null}', 'm{"query":{"x":1}}',
    'm{"query":{"text":"a","model":"b"}}', 'm{"query":true}', 'm{"limit":null,"offset":null}',
    'm{"params":{"hnsw_ef":1000000}}', 'm{"params":{"quantization":{"oversampling":0}}}',
    'm{"params":{"quantization":null,"acorn":null,"quiver":null}}', 'm{"params":{"acorn":{"enable":true}}}',
    'm{"params":{"quiver":{"n_probe":3}}}', 'm{"using":null,"query":null}',
    'n{"searches":[{},{"query":[1]}],"x":1}', 'n{}',
    'o{"vector":[1,2],"limit":3,"x":1}', 'o{"vector":{"name":"a","vector":[1],"x":1},"limit":1}',
    'o{"vector":{"vector":[1]},"limit":1}', 'o{"vector":[1]}', 'o{"limit":1}',
    'p{"searches":[{"vector":[1],"limit":1}]}',
    # q create index, r create collection, s stored configuration, t query string, u id of a path
    'q{"field_name":"a.b","field_schema":"keyword","x":1}',
    'q{"field_name":"a","field_schema":{"type":"text","on_disk":true}}', 'q{"field_name":"a"}',
    'q{"field_schema":{"x":1}}', 'q{"field_name":"a..b"}', 'q{"field_name":"a","field_schema":null,"number":1}',
    'r{"vectors":{"a":{"size":4,"distance":"Dot","on_disk":true,"datatype":"float16","hnsw_config":'
    '{"m":8,"ef_construct":null,"full_scan_threshold":100,"max_indexing_threads":1,"on_disk":true,'
    '"payload_m":4,"inline_storage":false,"memory":null,"x":1},"quantization_config":{"scalar":'
    '{"type":"int8","quantile":0.99,"always_ram":true,"memory":null,"x":1}},"memory":null,"x":1},"b":'
    '{"size":8,"distance":"Manhattan","multivector_config":{"comparator":"max_sim","x":1},'
    '"datatype":null}},"sparse_vectors":{"s":{"index":{"on_disk":false,"full_scan_threshold":9,'
    '"datatype":"uint8","memory":null,"x":1},"modifier":"idf","x":1},"t":null},"shard_number":2,'
    '"replication_factor":3,"write_consistency_factor":null,"sharding_method":"auto",'
    '"on_disk_payload":false,"hnsw_config":null,"optimizers_config":{"deleted_threshold":0.5,'
    '"vacuum_min_vector_number":100,"default_segment_number":1,"max_segment_size":5,'
    '"memmap_threshold":6,"indexing_threshold":7,"flush_interval_sec":8,"max_optimization_threads":'
    '"auto","prevent_unoptimized":null,"x":1},"wal_config":{"wal_capacity_mb":64,'
    '"wal_segments_ahead":1,"wal_retain_closed":2,"x":1},"quantization_config":{"binary":{'
    '"always_ram":true,"encoding":"two_bits","query_encoding":"scalar4bits","memory":null,"x":1}},'
    '"metadata":{"x":[1]},"strict_mode_config":{"enabled":false},"payload":{"memory":null,"x":1},'
    '"init_from":null,"quiver":{"placement":{"strategy":"hash"},"replication":{"mode":"leader"},'
    '"regions":null,"x":1},"x":1}',
    'r{' + VEC + '}', 'r{}', 'r{"vectors":null,"sparse_vectors":null,"strict_mode_config":null}',
    'r{"vectors":{"size":4}}', 'r{"vectors":{"distance":"Foo","size":4}}', 'r{"vectors":{"size":0,"distance":"Dot"}}',
    'r{' + VEC + ',"quantization_config":{"product":{}}}', 'r{' + VEC + ',"quantization_config":{"turbo":{}}}',
    'r{' + VEC + ',"quantization_config":{"scalar":{"quantile":0.1}}}', 'r{' + VEC + ',"quantization_config":{"x":1}}',
    'r{' + VEC + ',"sharding_method":"custom"}', 'r{' + VEC + ',"strict_mode_config":{"enabled":true}}',
    'r{' + VEC + ',"shard_number":0}', 'r{' + VEC + ',"wal_config":{"wal_capacity_mb":0}}',
    'r{' + VEC + ',"optimizers_config":{"deleted_threshold":2,"max_optimization_threads":3}}',
    'r{' + VEC + ',"quiver":{"placement":{"strategy":"range"}}}', 'r{' + VEC + ',"quiver":{"placement":{"n":1}}}',
    'r{"vectors":{"size":4,"distance":"Dot","datatype":"turbo4"}}',
    'r{"vectors":{"size":4,"distance":"Dot","multivector_config":{}}}',
    's{"generation":3,"vectors":{"size":4,"distance":"Euclid","number":5},"sparse_vectors":{"s":{"number":6,'
    '"modifier":"none"}},"sharding_method":"custom","payload_indexes":[{"field_name":"a","field_schema":'
    '{"type":"uuid"},"number":7},{"field_name":"b","field_schema":"geo","number":8}],"next_number":9,"x":1}',
    't' + 'wait=true&ordering=strong&timeout=5&consistency=majority&x=%zz', 't%77ait=%74rue&consistency=2&&=',
    'twait=1', 'twait=false&ordering=weak&ordering=medium&consistency=quorum', 'tordering=odd',
    'ttimeout=0', 'ttimeout=x', 'ttimeout=99999999999999999999999', 'tconsistency=all', 'tconsistency=0',
    'twait=%', 'u18446744073709551615', 'u550e8400-e29b-41d4-a716-446655440000', 'uabc', 'u',
    # v change collection, w named vector, x quota, y aliases, z facet, { recover
    'v{"vectors":{"a":{"hnsw_config":{"m":8},"quantization_config":"Disabled","on_disk":true,"memory":null,'
    '"x":1},"b":{"quantization_config":{"scalar":{"type":"int8"}}}},"sparse_vectors":{"s":{"index":{"on_disk":true}}},'
    '"params":{"replication_factor":1,"write_consistency_factor":1,"read_fan_out_factor":2,'
    '"read_fan_out_delay_ms":3,"on_disk_payload":true,"payload":{"memory":null},"x":1},"hnsw_config":{"m":0},'
    '"optimizers_config":{"indexing_threshold":7},"quantization_config":{"binary":{}},'
    '"strict_mode_config":{"enabled":true,"max_query_limit":3},"metadata":{"a":null,"b":1},"x":1}',
    'v{"quantization_config":"Disabled"}', 'v{"quantization_config":"disabled"}', 'v{"vectors":{"a":5}}',
    'v{"vectors":{"a":{},"a":{}}}', 'v{"params":{"replication_factor":0}}', 'v{"hnsw_config":null,"vectors":null}',
    'v{"metadata":5}', 'v[]', 'v{}', 'v{"sparse_vectors":{"s":{"modifier":"odd"}}}',
    'v{"strict_mode_config":{"max_query_limit":"x"}}', 'v{"optimizers_config":{"deleted_threshold":7}}',
    'w{"dense":{"size":4,"distance":"Dot","datatype":"uint8","multivector_config":{"comparator":"max_sim"},"x":1}}',
    'w{"sparse":{"modifier":"idf","index":{"datatype":"float16"},"x":1}}', 'w{}', 'w{"dense":{},"sparse":{}}',
    'w{"dense":{"size":0,"distance":"Dot"}}', 'w{"dense":null}', 'w{"sparse":{"datatype":"uint8"}}', 'w{"size":4}',
    'x{"enabled":true,"max_resident_memory_percent":80,"max_disk_usage_percent":null,"release_margin_percent":5,"x":1}',
    'x{}', 'x{"max_resident_memory_percent":0}', 'x{"max_disk_usage_percent":101}', 'x{"enabled":1}',
    'y{"actions":[{"create_alias":{"collection_name":"a","alias_name":"b","x":1}},{"delete_alias":{"alias_name":"b"}},'
    '{"rename_alias":{"old_alias_name":"a","new_alias_name":"b"}}],"x":1}', 'y{"actions":[]}', 'y{}',
    'y{"actions":[{"x":{}}]}', 'y{"actions":[{"create_alias":{"alias_name":"b"}}]}', 'y{"actions":[{}]}',
    'y{"actions":[{"create_alias":{},"delete_alias":{}}]}', 'y{"actions":5}',
    'z{"key":"a.b","limit":3,"filter":{"must":[]},"exact":true,"shard_key":null,"x":1}', 'z{"key":"a["}', 'z{}',
    'z{"key":"a","limit":0}', 'z{"key":"a","limit":null,"filter":null,"exact":null}', 'z{"key":""}',
    '{{"location":"file:///a","checksum":"00","api_key":"k","priority":"snapshot","x":1}',
    '{{"location":"http://a","checksum":null,"api_key":null,"priority":null}', '{{}', '{{"location":5}',
    '{{"location":"x","priority":"odd"}',
    # what else a query may say
    'm{"query":{"order_by":"a"}}', 'm{"query":{"order_by":{"key":"a","direction":"desc","start_from":5,"x":1}}}',
    'm{"query":{"order_by":{"key":"a","start_from":"2024-01-01"}}}', 'm{"query":{"order_by":{"direction":"up"}}}',
    'm{"query":{"sample":"random"}}', 'm{"query":{"sample":"odd"}}', 'm{"query":{"order_by":{"key":"a","start_from":1.5}}}',
    'm{"query":{"recommend":{"positive":[1]}}}', 'm{"query":{"discover":{}}}', 'm{"query":{"context":[]}}',
    'm{"query":{"formula":{}}}', 'm{"query":{"rrf":{"k":2}}}', 'm{"prefetch":[{}]}', 'm{"lookup_from":{"collection":"a"}}',
    'm{"params":{"quiver":{"recall_target":0.95}}}', 'm{"params":{"quiver":{"recall_target":2}}}',
    'm{"query":{"nearest":[1],"mmr":{"diversity":0.5}}}', 'm{"params":{"idf":{"corpus":{}}}}',
    'k{"order_by":{"key":"n","direction":"asc"}}', 'm{"query":{"nearest":7}}', 'm{"query":' + UUID + '}',
    # placements
    'm{"params":{"quiver":{"n_probe":0}}}', 'v{"quiver":{"placement":{"strategy":"hash"}}}',
    'r{' + VEC + ',"quiver":{"placement":{"strategy":"consistent_hash","virtual_nodes":50}}}',
    'r{' + VEC + ',"shard_number":2,"quiver":{"placement":{"strategy":"range","ranges":[{"to":9,"shard":0},{"from":9,'
    '"to":' + UUID + ',"shard":1,"x":1},{"from":' + UUID + ',"to":null,"shard":0}]}}}',
    'r{' + VEC + ',"quiver":{"placement":{"strategy":"cluster"}}}', 'r{' + VEC + ',"quiver":{"placement":{"centroids":{}}}}',
    'r{' + VEC + ',"quiver":{"placement":{"ranges":[{"from":-1,"shard":0}],"strategy":"range"}}}',
    's{"generation":3,' + VEC + ',"quiver":{"placement":{"strategy":"range","ranges":[{"shard":0}]}}}',
]


def write(name, seeds):
    folder = os.path.join(HERE, "corpus", name)
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        if old.startswith("seed-"):
            os.remove(os.path.join(folder, old))
    for i, seed in enumerate(seeds):
        with open(os.path.join(folder, f"seed-{i:03}"), "wb") as f:
            f.write(seed if isinstance(seed, bytes) else seed.encode())


def main():
    write("json", JSON)
    write("filter_json", FILTERS)
    write("request", REQUESTS)
    write("geo", GEO)
    write("datetime", DATETIME)
    write("text", text_seeds())


if __name__ == "__main__":
    main()
