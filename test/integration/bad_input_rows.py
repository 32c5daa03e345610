"""The table of `make bad-input`: what is sent, and the status and text that must come back.

A row: class, name, request, status, a part of the text. Requests: Rest (over HTTP/1.1), Rest2 (over
HTTP/2), Raw (bytes on a fresh connection), Raw2 (bytes behind the HTTP/2 preface), Grpc, and Do (a
function of the nodes) where one exchange is not enough. A status is an HTTP status, a gRPC status
name, "closed", "goaway NAME", "reset NAME", or "cut": closed, with a GOAWAY or
without. `node` names the server: main (open), keys (api_key
"full", read_only_api_key "read"), tight (1 MiB bodies, one search thread, requests end after 2 s),
and those of bad_input_attacks.py.

The collection `known` (4 dimensions, Dot; a named one `named`) holds the points that every class
must leave as they are.
"""

import collections
import functools
import json
import struct
import time
import zlib

from wire_client import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, GRPC, HEADERS,
                         PADDED, PING, PREFACE, PUSH, RST_STREAM, SETTINGS, WINDOW, Answer, Hpack,
                         Http1, Http2, frame, grpc, grpc_frame, grpc_headers, http1, http1_raw,
                         http2, http2_raw, pb_f64, pb_floats, pb_f32, pb_int, pb_len, pb_nest,
                         pb_nest2, pseudo, request_bytes, varint)

Row = collections.namedtuple("Row", "kind name request status text slow", defaults=(False,))
ROWS = []
FORMAT = "Format error in JSON body: "
VALIDATION = "Validation error in JSON body: ["
WRONG = "Wrong input: "
BAD = "Bad request: "
PB = "failed to decode Protobuf message"
POINTS = "/collections/known/points"
QUERY = POINTS + "/query"
SCROLL = POINTS + "/scroll"
MIB = 1 << 20


class Rest:
    protocol = "HTTP/1.1"

    def __init__(self, method, path, body=None, headers=(), node="main"):
        self.method, self.path, self.headers, self.node = method, path, headers, node
        text = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        self.body = text.encode() if isinstance(text, str) else text

    def send(self, nodes):
        return http1(nodes[self.node].http, self.method, self.path, self.body, self.headers)


class Rest2(Rest):
    protocol = "HTTP/2"

    def send(self, nodes):
        return http2(nodes[self.node].http, self.method, self.path, self.body, self.headers)


class Raw:
    protocol = "HTTP/1.1"

    def __init__(self, data, half_close=False, node="main"):
        self.data, self.half_close, self.node = data, half_close, node

    def send(self, nodes):
        data = self.data() if callable(self.data) else self.data
        data = data.encode("latin-1") if isinstance(data, str) else data
        return http1_raw(nodes[self.node].http, data, self.half_close)


class Raw2:
    protocol = "HTTP/2"

    def __init__(self, data, stream=None):
        self.data, self.stream = data, stream

    def send(self, nodes):
        data = self.data() if callable(self.data) else self.data
        return http2_raw(nodes["main"].http, data, self.stream)


class Grpc:
    protocol = "gRPC"

    def __init__(self, method, message=b"", headers=(), framed=None, node="main"):
        self.method, self.message, self.headers = method, message, headers
        self.framed, self.node = framed, node

    def send(self, nodes):
        message = self.message() if callable(self.message) else self.message
        framed = self.framed() if callable(self.framed) else self.framed
        return grpc(nodes[self.node].grpc, self.method, message, self.headers, framed)


class Do:
    def __init__(self, protocol, run):
        self.protocol, self.send = protocol, run


def rows(kind, *table):
    ROWS.extend(Row(kind, *r) for r in table)


def put(body, path=POINTS + "?wait=true", **kw):
    return Rest("PUT", path, body, **kw)


def post(path, body, **kw):
    return Rest("POST", path, body, **kw)


def point(vector="[1,2,3,4]", ident="900", payload=None):
    """The body of an upsert of one point, from JSON text."""
    more = "" if payload is None else ',"payload":' + payload
    return '{"points":[{"id":' + ident + ',"vector":' + vector + more + "}]}"


def search(vector="[1,2,3,4]", more=""):
    return '{"query":' + vector + ',"limit":3' + more + "}"


def with_filter(condition):
    return search(more=',"filter":{"must":[' + condition + "]}")


def create(name, body):
    return Rest("PUT", "/collections/" + name, body)


# ---- JSON syntax ---------------------------------------------------------------------------------

rows(
    "json_syntax",
    ("no body", put(b""), 400, FORMAT),
    ("no body, no length", Raw(f"PUT {POINTS} HTTP/1.1\r\nhost: q\r\n\r\n"), 400, FORMAT),
    ("blanks only", put(" \t\r\n"), 400, FORMAT),
    ("object cut short", put('{"points":'), 400, FORMAT + "EOF while parsing"),
    ("text cut short", put('{"poi'), 400, FORMAT + "EOF while parsing"),
    ("array cut in a vector", put('{"points":[{"id":1,"vector":[1,2'), 400,
     FORMAT + "EOF while parsing"),
    ("something behind the body", put(point() + "x"), 400, FORMAT + "trailing characters"),
    ("two bodies", put(point() + point()), 400, FORMAT + "trailing characters"),
    ("comma at the end of an array", put(point("[1,2,3,4,]")), 400, FORMAT),
    ("comma at the end of an object", put('{"points":[],}'), 400, FORMAT),
    ("no comma", put(point("[1 2,3,4]")), 400, FORMAT),
    ("two commas", put(point("[1,,2,3]")), 400, FORMAT),
    ("no colon", put('{"points" []}'), 400, FORMAT),
    ("key without quotes", put("{points:[]}"), 400, FORMAT),
    ("single quotes", put("{'points':[]}"), 400, FORMAT),
    ("comment", put('{"points":[] /* none */}'), 400, FORMAT),
    ("byte order mark", put(b"\xef\xbb\xbf" + point().encode()), 400, FORMAT),
    ("UTF-16", put(point().encode("utf-16")), 400, FORMAT),
    ("NUL byte in blanks", put(b"{\0}"), 400, FORMAT),
    ("NaN literal", put(point("[NaN,1,2,3]")), 400, FORMAT),
    ("Infinity literal", put(point("[Infinity,1,2,3]")), 400, FORMAT),
    ("minus Infinity in a payload", put(point(payload='{"a":-Infinity}')), 400, FORMAT),
    ("leading zero", put(point("[01,2,3,4]")), 400, FORMAT),
    ("leading plus", put(point("[+1,2,3,4]")), 400, FORMAT),
    ("point without digits", put(point("[1.,2,3,4]")), 400, FORMAT),
    ("nothing before the point", put(point("[.5,2,3,4]")), 400, FORMAT),
    ("exponent without digits", put(point("[1e,2,3,4]")), 400, FORMAT),
    ("hexadecimal", put(point("[0x10,2,3,4]")), 400, FORMAT),
    ("minus alone", put(point("[-,2,3,4]")), 400, FORMAT),
    ("control character in a text", put(point(payload='{"a":"x\ny"}')), 400, FORMAT),
    ("unknown escape", put(point(payload='{"a":"\\x41"}')), 400, FORMAT),
    ("escape cut short", put(point(payload='{"a":"\\u12"}')), 400, FORMAT),
    ("lone high surrogate", put(point(payload='{"a":"\\ud800"}')), 400, FORMAT),
    ("lone low surrogate", put(point(payload='{"a":"\\udc00x"}')), 400, FORMAT),
    ("bad UTF-8 in a payload value", put(point(payload='{"a":"@"}').encode().replace(
        b"@", b"\xc3\x28")), 400, FORMAT),
    ("bad UTF-8 in a payload key", put(point(payload='{"@":1}').encode().replace(
        b"@", b"\xff")), 400, FORMAT),
    ("overlong UTF-8", put(point(payload='{"@":1}').encode().replace(b"@", b"\xc0\xaf")), 400,
     FORMAT),
    ("surrogate in UTF-8", put(point(payload='{"@":1}').encode().replace(
        b"@", b"\xed\xa0\x80")), 400, FORMAT),
    ("wrong literal", put(point(payload='{"a":truE}')), 400, FORMAT),
    ("arrays nested 10,000 deep", put("[" * 10000), 400, FORMAT),
    ("payload nested 10,000 deep", put(point(payload='{"a":' + "[" * 10000 + "]" * 10000 + "}")),
     400, FORMAT + "recursion limit exceeded"),
    ("objects nested 10,000 deep", put(point(payload='{"a":' * 10000 + "1" + "}" * 10000)), 400,
     FORMAT + "recursion limit exceeded"),
    ("unknown field nested 10,000 deep", post(QUERY, '{"zzz":' + "[" * 10000 + "]" * 10000 + "}"),
     400, FORMAT + "recursion limit exceeded"),
    ("filter nested 10,000 deep", post(SCROLL, '{"filter":' + '{"must":[' * 10000 + "]}" * 10000
                                       + "}"), 400, ""),
    ("a key of 100 kB that nobody knows", post(SCROLL, '{"' + "k" * 100000 + '":1}'), 200, ""),
    ("a number of 100,000 digits", put(point("[" + "9" * 100000 + ",2,3,4]")), 400, ""),
)

# ---- JSON types ----------------------------------------------------------------------------------

rows(
    "json_types",
    ("body is an array", put("[]"), 400, FORMAT),
    ("body is a number", put("7"), 400, FORMAT),
    ("body is null", put("null"), 400, FORMAT),
    ("points is a number", put('{"points":7}'), 400, FORMAT),
    ("points is an object", put('{"points":{}}'), 400, FORMAT),
    ("a point is a number", put('{"points":[7]}'), 400, FORMAT),
    ("neither points nor batch", put("{}"), 400, FORMAT),
    ("no id", put('{"points":[{"vector":[1,2,3,4]}]}'), 400, FORMAT + "missing field `id`"),
    ("id is null", put(point(ident="null")), 400, FORMAT),
    ("id is a fraction", put(point(ident="1.5")), 400, FORMAT),
    ("id is negative", put(point(ident="-1")), 400, FORMAT),
    ("id is 2^64", put(point(ident="18446744073709551616")), 400, FORMAT),
    ("id is a text, no UUID", put(point(ident='"abc"')), 400, FORMAT),
    ("id is a UUID cut short", put(point(ident='"550e8400-e29b-41d4-a716-44665544000"')), 400,
     FORMAT),
    ("id is a UUID with a wrong digit", put(point(ident='"550e8400-e29b-41d4-a716-44665544000g"')),
     400, FORMAT),
    ("id is an object", put(point(ident="{}")), 400, FORMAT),
    ("vector is a text", put(point('"1234"')), 400, FORMAT),
    ("vector is a number", put(point("7")), 400, FORMAT),
    ("a text in a vector", put(point('[1,"2",3,4]')), 400, FORMAT),
    ("a null in a vector", put(point("[1,null,3,4]")), 400, FORMAT),
    ("a truth in a vector", put(point("[1,true,3,4]")), 400, FORMAT),
    ("an object in a vector", put(point("[1,{},3,4]")), 400, FORMAT),
    ("rows and numbers in a vector", put(point("[1,[2],3,4]")), 400, FORMAT),
    ("payload is an array", put(point(payload="[1]")), 400, FORMAT),
    ("payload is a text", put(point(payload='"x"')), 400, FORMAT),
    ("limit is a text", post(QUERY, '{"query":[1,2,3,4],"limit":"3"}'), 400, FORMAT),
    ("limit is negative", post(QUERY, '{"query":[1,2,3,4],"limit":-3}'), 400, FORMAT),
    ("limit is a fraction", post(QUERY, '{"query":[1,2,3,4],"limit":3.5}'), 400, FORMAT),
    ("limit is 2^64", post(QUERY, '{"query":[1,2,3,4],"limit":18446744073709551616}'), 400, FORMAT),
    ("filter is an array", post(QUERY, search(more=',"filter":[]')), 400, FORMAT),
    ("filter is a text", post(SCROLL, '{"filter":"a"}'), 400, FORMAT),
    ("must is a number", post(SCROLL, '{"filter":{"must":7}}'), 400, FORMAT),
    ("a condition of no kind is an empty filter", post(SCROLL, '{"filter":{"must":[{}]}}'), 200, ""),
    ("a condition on a key and nothing else", post(SCROLL, '{"filter":{"must":[{"key":"a"}]}}'),
     422, "At least one field condition must be specified"),
    ("match value is an array", post(QUERY, with_filter('{"key":"a","match":{"value":[1]}}')), 400,
     FORMAT),
    ("match any is a number", post(QUERY, with_filter('{"key":"a","match":{"any":1}}')), 400,
     FORMAT),
    ("range bound is a text that is no time",
     post(QUERY, with_filter('{"key":"a","range":{"gt":"b"}}')), 400,
     "'b' does not match accepted datetime format (RFC3339). Example: 2014-01-01T00:00:00Z"),
    ("has_id is a number", post(QUERY, with_filter('{"has_id":1}')), 400, FORMAT),
    ("hnsw_ef is a text", post(QUERY, search(more=',"params":{"hnsw_ef":"x"}')), 400, FORMAT),
    ("with_payload is a number", post(QUERY, search(more=',"with_payload":7')), 400, FORMAT),
    ("score_threshold is a text", post(QUERY, search(more=',"score_threshold":"x"')), 400, FORMAT),
    ("delete without a selector", post(POINTS + "/delete", "{}"), 400, FORMAT),
    ("delete by an object", post(POINTS + "/delete", '{"points":{}}'), 400, FORMAT),
    ("vectors config is a number", create("no", '{"vectors":4}'), 400, FORMAT),
    ("vector size is a text", create("no", '{"vectors":{"size":"4","distance":"Dot"}}'), 400,
     FORMAT),
    ("no distance", create("no", '{"vectors":{"size":4}}'), 400, FORMAT + "missing field"),
    ("unknown distance", create("no", '{"vectors":{"size":4,"distance":"Far"}}'), 400, FORMAT),
    ("unknown datatype",
     create("no", '{"vectors":{"size":4,"distance":"Dot","datatype":"float128"}}'), 400, FORMAT),
    ("batch operations is an object", post(POINTS + "/batch", '{"operations":{}}'), 400, FORMAT),
    ("batch of an unknown operation", post(POINTS + "/batch", '{"operations":[{"explode":{}}]}'),
     400, FORMAT),
    ("integers are fine where floats are expected", post(QUERY, '{"query":[1,0,0,0],"limit":1,'
                                                        '"score_threshold":1}'), 200, ""),
    ("unknown fields are passed over", post(QUERY, search(more=',"zzz":{"a":[1,2,{}]}')), 200, ""),
)

# ---- meaning -------------------------------------------------------------------------------------

NAMED = "/collections/named/points"

rows(
    "meaning",
    ("vector too short", put(point("[1,2,3]")), 400,
     WRONG + "Vector dimension error: expected dim: 4, got 3"),
    ("vector too long", put(point("[1,2,3,4,5]")), 400, "expected dim: 4, got 5"),
    ("vector empty", put(point("[]")), 400, WRONG),
    ("one wrong vector in a batch of good ones", put(
        '{"points":[{"id":901,"vector":[1,2,3,4]},{"id":902,"vector":[1,2]},'
        '{"id":903,"vector":[1,2,3,4]}]}'), 400, "expected dim: 4, got 2"),
    ("columns of different lengths", put('{"batch":{"ids":[901,902],"vectors":[[1,2,3,4]]}}'), 422,
     "number of ids and vectors must be equal (2 != 1)"),
    ("query too short", post(QUERY, search("[1,2]")), 400, "expected dim: 4, got 2"),
    ("a number beyond float", put(point("[1e39,2,3,4]")), 400, ""),
    ("a number beyond double", put(point("[1e999,2,3,4]")), 400, ""),
    ("a payload number beyond double", put(point(payload='{"a":1e999}')), 400, ""),
    ("a query number beyond float", post(QUERY, search("[1e39,2,3,4]")), 400, ""),
    ("unknown vector name in an upsert", put(point('{"far":[1,2,3,4]}')), 400,
     "Not existing vector name error: far"),
    ("unknown vector name in a query", post(QUERY, search(more=',"using":"far"')), 400,
     "Not existing vector name error: far"),
    ("an unnamed vector where all have names", put(point(), NAMED), 400, ""),
    ("a query without name where all have names", post(NAMED + "/query", search()), 400, ""),
    ("sparse where dense is wanted", put(point('{"a":{"indices":[1],"values":[1]}}'), NAMED), 400,
     "Conversion between sparse and regular"),
    ("dense where sparse is wanted", put(point('{"s":[1,2,3,4]}'), NAMED), 400,
     "Conversion between regular and sparse"),
    ("sparse of different lengths",
     put(point('{"s":{"indices":[1,2],"values":[1]}}'), NAMED), 422, ""),
    ("sparse with an index twice",
     put(point('{"s":{"indices":[1,1],"values":[1,2]}}'), NAMED), 422, "unique"),
    ("multivector where a single one is wanted", put(point("[[1,2,3,4],[1,2,3,4]]")), 400, WRONG),
    ("multivector of ragged rows", put(point("[[1,2],[1,2,3]]")), 422,
     "all vectors must have the same dimension"),
    ("a vector name twice", put(point('{"a":[1,2,3,4],"a":[1,2,3,4]}'), NAMED), 200, ""),
    ("query by an id that is not there", post(QUERY, search("987654321")), 404,
     "Not found: No point with id 987654321 found"),
    ("limit 0", post(QUERY, '{"query":[1,2,3,4],"limit":0}'), 422,
     VALIDATION + "limit: value 0 invalid, must be 1 or larger]"),
    ("limit beyond the bound", post(QUERY, '{"query":[1,2,3,4],"limit":100001}'), 422, "limit"),
    ("limit and offset beyond the bound",
     post(QUERY, '{"query":[1,2,3,4],"limit":100000,"offset":1}'), 422, ""),
    ("offset that would wrap",
     post(QUERY, '{"query":[1,2,3,4],"limit":10,"offset":18446744073709551610}'), 422, ""),
    ("scroll limit 0", post(SCROLL, '{"limit":0}'), 422, VALIDATION + "limit"),
    ("scroll offset is no id", post(SCROLL, '{"offset":"x"}'), 400, FORMAT),
    ("oversampling below 1",
     post(QUERY, search(more=',"params":{"quantization":{"oversampling":0.99}}')), 422,
     VALIDATION + "params.quantization.oversampling"),
    ("oversampling without end",
     post(QUERY, search(more=',"params":{"quantization":{"oversampling":1e999}}')), 400, ""),
    ("oversampling is a text",
     post(QUERY, search(more=',"params":{"quantization":{"oversampling":"2"}}')), 400, FORMAT),
    ("rescore is a number", post(QUERY, search(more=',"params":{"quantization":{"rescore":1}}')),
     400, FORMAT),
    ("quantization is a word", post(QUERY, search(more=',"params":{"quantization":"int8"}')), 400,
     FORMAT),
    ("a recall above 1", post(QUERY, search(more=',"params":{"quiver":{"recall_target":1.5}}')), 422,
     VALIDATION + "params.quiver.recall_target"),
    ("a recall of a word", post(QUERY, search(more=',"params":{"quiver":{"recall_target":"all"}}')),
     400, FORMAT),
    ("hnsw_ef beyond the bound", post(QUERY, search(more=',"params":{"hnsw_ef":4000000000}')), 422,
     "hnsw_ef"),
    ("a batch of 1001 queries", post(QUERY + "/batch", {"searches": [
        {"query": [1, 2, 3, 4], "limit": 1}] * 1001}), 413,
     "more than 1000 searches"),
    ("a filter of 10,000 conditions", post(QUERY, with_filter(",".join(
        ['{"key":"a","match":{"value":1}}'] * 10000))), 413, "more than 4096 conditions"),
    ("a filter nested 200 deep", post(SCROLL, '{"filter":' + '{"must":[' * 200 +
                                      '{"has_id":[1]}' + "]}" * 200 + "}"), 400, ""),
    ("an empty field name in a filter",
     post(QUERY, with_filter('{"key":"","match":{"value":1}}')), 400, "Invalid json path"),
    ("a broken field path in a filter",
     post(QUERY, with_filter('{"key":"a[","match":{"value":1}}')), 400, "Invalid json path"),
    ("a NUL in a vector name", create("no", '{"vectors":{"a\\u0000b":{"size":4,"distance":"Dot"}}}'),
     400, FORMAT + "a key must not hold NUL"),
    ("vector size 0", create("no", '{"vectors":{"size":0,"distance":"Dot"}}'), 422,
     VALIDATION + "vectors.size"),
    ("vector size 65,537", create("no", '{"vectors":{"size":65537,"distance":"Dot"}}'), 422,
     VALIDATION + "vectors.size"),
    ("vector size 2^63", create("no", '{"vectors":{"size":9223372036854775808,"distance":"Dot"}}'),
     422, "size"),
    ("257 named vectors", create("no", {"vectors": {
        f"v{i}": {"size": 4, "distance": "Dot"} for i in range(257)}}), 413,
     "more than 256 vectors"),
    ("hnsw m 2^40", create("no", '{"vectors":{"size":4,"distance":"Dot"},'
                           '"hnsw_config":{"m":1099511627776}}'), 422, "m"),
    ("shard_number 0", create("no", '{"vectors":{"size":4,"distance":"Dot"},"shard_number":0}'),
     422, "shard_number"),
    ("a collection that is there", create("known", '{"vectors":{"size":4,"distance":"Dot"}}'), 409,
     "Collection `known` already exists!"),
    ("a collection name with a slash", create("a%2Fb", '{"vectors":{"size":4,"distance":"Dot"}}'),
     422, VALIDATION),
    ("a collection name of two dots", create("..", '{"vectors":{"size":4,"distance":"Dot"}}'), 422,
     VALIDATION),
    ("a collection name of 256 bytes",
     create("n" * 256, '{"vectors":{"size":4,"distance":"Dot"}}'), 422, VALIDATION),
    ("a collection name with a line end",
     create("a%0Ab", '{"vectors":{"size":4,"distance":"Dot"}}'), 422, VALIDATION),
    ("a collection name with a NUL", create("a%00b", '{"vectors":{"size":4,"distance":"Dot"}}'),
     400, BAD),
    ("a collection name in bad UTF-8", create("a%FFb", '{"vectors":{"size":4,"distance":"Dot"}}'),
     400, BAD + "the path is not UTF-8"),
    ("a field name in bad UTF-8", Rest("DELETE", "/collections/known/index/a%FF"), 400,
     BAD + "the path is not UTF-8"),
    ("a name cut within a character", post("/collections/" + "n" * 299 + "%C3%A9/points/query",
                                           search()), 404, "n?` doesn't exist"),
    ("a collection name with a broken escape",
     create("a%zz", '{"vectors":{"size":4,"distance":"Dot"}}'), 400, BAD),
    ("a collection that is not there", post("/collections/none/points/query", search()), 404,
     "Not found: Collection `none` doesn't exist!"),
    ("an upsert where no collection is", put(point(), "/collections/none/points"), 404,
     "Not found: Collection `none` doesn't exist!"),
    ("deleting a collection that is not there", Rest("DELETE", "/collections/none"), 200, ""),
    ("a point that is not there", Rest("GET", POINTS + "/987654321"), 404, "Not found: "),
    ("a point id that is none", Rest("GET", POINTS + "/abc"), 400, "as point id"),
    ("a point id of 2^64", Rest("GET", POINTS + "/18446744073709551616"), 400, "as point id"),
    ("set payload on a point that is not there",
     post(POINTS + "/payload", '{"payload":{"a":1},"points":[987654321]}'), 404, "987654321"),
    ("vectors for a point that is not there",
     put('{"points":[{"id":987654321,"vector":[1,2,3,4]}]}', POINTS + "/vectors"), 404,
     "987654321"),
    ("payload without a selector", post(POINTS + "/payload", '{"payload":{"a":1}}'), 400, ""),
    ("delete payload keys: none given",
     post(POINTS + "/payload/delete", '{"points":[1]}'), 400, FORMAT),
    ("wait is a word", put(point(), POINTS + "?wait=maybe"), 400, "query parameters: wait"),
    ("ordering is unknown", put(point(), POINTS + "?ordering=best"), 400,
     "query parameters: ordering"),
    ("consistency is unknown", post(QUERY + "?consistency=some", search()), 400, "consistency"),
    ("timeout is 0", post(QUERY + "?timeout=0", search()), 422, "timeout"),
    ("timeout is a word", post(QUERY + "?timeout=soon", search()), 400, "timeout"),
    ("fusion", post(QUERY, '{"query":{"fusion":"rrf"},"limit":3}'), 501, "Not implemented: fusion"),
    ("prefetch", post(QUERY, search(more=',"prefetch":[{"query":[1,2,3,4]}]')), 501,
     "Not implemented: prefetch"),
    ("search in a sparse vector", post(
        NAMED + "/query", '{"query":{"indices":[1],"values":[1]},"using":"s","limit":3}'), 501,
     "Not implemented: "),
    ("search in a multivector", post(
        NAMED + "/query", '{"query":[[1,2,3,4]],"using":"m","limit":3}'), 501, "Not implemented: "),
    ("cluster status", Rest("GET", "/cluster/status"), 405, "not one of a cluster"),
    ("a peer's id", Rest("DELETE", "/cluster/peer/x1"), 400, "a peer's id is a number"),
    ("a peer of a node alone", Rest("DELETE", "/cluster/peer/1"), 405, "not one of a cluster"),
    ("metadata keys", Rest("GET", "/cluster/metadata/keys"), 501, "Not implemented: list_metadata_keys"),
    ("wrong method", Rest("DELETE", POINTS), 405, "not allowed"),
    ("wrong method on the root", Rest("POST", "/", "{}"), 405, "not allowed"),
    ("no such path", Rest("GET", "/nowhere"), 404, "Not found: "),
    ("a path that goes on", Rest("GET", "/collections/known/points/1/2/3"), 404, "Not found: "),
    ("doubled and trailing slashes", Rest("GET", "//collections//known//"), 200, ""),
)

# ---- HTTP/1 --------------------------------------------------------------------------------------


def h1(lines, body=""):
    return Raw("\r\n".join(lines.split("|")) + "\r\n\r\n" + body)


def chunked(body_pieces, path=POINTS, method="PUT"):
    return Raw(lambda: [f"{method} {path} HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n"
                        .encode(), *body_pieces])


rows(
    "http1",
    ("garbage", Raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40), 400, BAD),
    ("one line of letters", Raw("hello\r\n\r\n"), 400, BAD),
    ("unknown method", h1("BREW / HTTP/1.1|host: q"), 400, BAD),
    ("no version", h1("GET /|host: q"), 505, "HTTP version"),
    ("HTTP/3.0", h1("GET / HTTP/3.0|host: q"), 400, BAD),
    ("HTTP/2.0 in a request line", h1("GET / HTTP/2.0|host: q"), 505, ""),
    ("no host", h1("GET / HTTP/1.1"), 400, BAD),
    ("two hosts", h1("GET / HTTP/1.1|host: a|host: b"), 400, BAD),
    ("blank before the colon", h1("GET / HTTP/1.1|host : q"), 400, BAD),
    ("folded header", h1("GET / HTTP/1.1|host: q|x: 1| 2"), 400, BAD),
    ("header without a name", h1("GET / HTTP/1.1|host: q|: x"), 400, BAD),
    ("header without a colon", h1("GET / HTTP/1.1|host: q|nothing"), 400, BAD),
    ("NUL in a header", Raw(b"GET / HTTP/1.1\r\nhost: q\r\nx: a\0b\r\n\r\n"), 400, BAD),
    ("CR alone in a header", Raw(b"GET / HTTP/1.1\r\nhost: q\r\nx: a\rb\r\n\r\n"), 400, BAD),
    ("blank in the path", h1("GET /a b HTTP/1.1|host: q"), 400, BAD),
    ("NUL in the path", Raw(b"GET /a\0b HTTP/1.1\r\nhost: q\r\n\r\n"), 400, BAD),
    ("a path of 100 kB", h1("GET /" + "a" * 100000 + " HTTP/1.1|host: q"), 431, "headers"),
    ("a header of 100 kB", h1("GET / HTTP/1.1|host: q|x: " + "a" * 100000), 431, "headers"),
    ("1,000 headers", h1("GET / HTTP/1.1|host: q|" + "|".join(f"x{i}: 1" for i in range(1000))),
     431, "headers"),
    ("header bytes without an end, 10 MB", Raw(
        lambda: [b"GET / HTTP/1.1\r\nhost: q\r\nx: "] + [b"a" * 65536] * 160), 431, "headers"),
    ("two lengths", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: 2|content-length: 3", "{}"),
     400, BAD),
    ("length is a word", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: two", "{}"), 400, BAD),
    ("length is negative", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: -2", "{}"), 400, BAD),
    ("length is 2^64", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: 18446744073709551616"),
     400, BAD),
    ("length of 1 TB", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: 1099511627776"), 413,
     "Payload too large"),
    ("length and chunks", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: 2|"
                             "transfer-encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("unknown transfer coding", h1(f"PUT {POINTS} HTTP/1.1|host: q|transfer-encoding: gzip"), 501,
     "transfer codings other than chunked"),
    ("chunk size is a word", chunked([b"zz\r\n{}\r\n"]), 400, BAD),
    ("chunk size of 2^64", chunked([b"10000000000000000\r\n{}"]), 400, BAD),
    ("chunk longer than it says", chunked([b"2\r\n{}x\r\n0\r\n\r\n"]), 400, BAD),
    ("trailers of 1 MB", chunked([b"2\r\n{}\r\n0\r\n"] + [b"x: " + b"a" * 65536 + b"\r\n"] * 16),
     400, BAD),
    ("100 MB in chunks", chunked([b"10000\r\n" + b" " * 65536 + b"\r\n"] * 1600), 413,
     "Payload too large"),
    ("100 MB in chunks of one byte, the first 2", chunked(
        [b"1\r\n \r\n" * 20000] * 20 + [b"zz\r\n"]), 400, BAD),
    ("the body ends early", Raw(request_bytes("PUT", POINTS, b"{}")[:-1], half_close=True), 400,
     "incomplete"),
    ("the head ends early", Raw(b"GET / HTTP/1.1\r\nhost: q\r\n", half_close=True), 400, BAD),
    ("unknown expectation", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: 2|expect: 200-ok"),
     417, ""),
    ("asks to go on with 1 TB", h1(f"PUT {POINTS} HTTP/1.1|host: q|content-length: 1099511627776|"
                                   "expect: 100-continue"), 413, "Payload too large"),
    ("HTTP/1.0 without host", h1("GET /livez HTTP/1.0"), 200, "healthz check passed"),
    ("an absolute path is one", h1("GET http://q/livez HTTP/1.1|host: q"), 200,
     "healthz check passed"),
    ("CONNECT", h1("CONNECT q:1 HTTP/1.1|host: q"), 400, BAD),
    ("an upgrade that is not taken", h1("GET /livez HTTP/1.1|host: q|connection: upgrade|"
                                        "upgrade: websocket"), 200, "healthz check passed"),
    ("HEAD of a path that is not there", Rest("HEAD", "/nowhere"), 404, ""),
    ("100 requests at once, the last one wrong", Raw(
        b"GET /livez HTTP/1.1\r\nhost: q\r\n\r\n" * 100 + b"x\r\n\r\n"), 200, ""),
    ("a head that takes too long", Raw(b"GET / HTTP/1.1\r\n", node="short"), 408, "Timeout: ", True),
    ("a body that takes too long", Raw(request_bytes("PUT", POINTS, b"{}")[:-1], node="short"), 408,
     "Timeout: ", True),
)

# ---- HTTP/2 --------------------------------------------------------------------------------------

GET = Hpack.encode(pseudo("GET", "/livez"))


def heads(*headers):
    return Raw2(frame(HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(headers)), 1)


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *p) for p in pairs))


def rapid_reset():
    yield b"".join(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, GET) +
                   frame(RST_STREAM, 0, 2 * i + 1, struct.pack(">I", 8)) for i in range(20000))


rows(
    "http2",
    ("wrong preface", Raw(PREFACE[:-4] + b"XX\r\n" + frame(SETTINGS, 0, 0)), 400, BAD),
    ("no SETTINGS first", Do("HTTP/2", lambda nodes: not_settings(nodes, PREFACE + frame(
        PING, 0, 0, b"12345678"))), "goaway PROTOCOL_ERROR", ""),
    ("HEADERS on stream 0", Raw2(frame(HEADERS, END_HEADERS | END_STREAM, 0, GET)),
     "goaway PROTOCOL_ERROR", ""),
    ("HEADERS on an even stream", Raw2(frame(HEADERS, END_HEADERS | END_STREAM, 2, GET)),
     "goaway PROTOCOL_ERROR", ""),
    ("DATA on an idle stream", Raw2(frame(DATA, 0, 1, b"x")), "goaway PROTOCOL_ERROR", ""),
    ("DATA behind the end is passed over", Do("HTTP/2", lambda nodes: data_behind_end(nodes)), 200,
     "healthz check passed"),
    ("frame over the size", Raw2(frame(DATA, 0, 1, b"x" * 20000)), "goaway FRAME_SIZE_ERROR", ""),
    ("PING of 7 bytes", Raw2(frame(PING, 0, 0, b"1234567")), "goaway FRAME_SIZE_ERROR", ""),
    ("SETTINGS of 5 bytes", Raw2(frame(SETTINGS, 0, 0, b"12345")), "goaway FRAME_SIZE_ERROR", ""),
    ("SETTINGS on a stream", Raw2(frame(SETTINGS, 0, 1)), "goaway PROTOCOL_ERROR", ""),
    ("SETTINGS ACK with bytes", Raw2(frame(SETTINGS, ACK, 0, b"123456")),
     "goaway FRAME_SIZE_ERROR", ""),
    ("window of 2^31", Raw2(settings((4, 1 << 31))), "goaway FLOW_CONTROL_ERROR", ""),
    ("frame size of 1", Raw2(settings((5, 1))), "goaway PROTOCOL_ERROR", ""),
    ("window moved by 0", Raw2(frame(WINDOW, 0, 0, b"\0" * 4)), "goaway PROTOCOL_ERROR", ""),
    ("window overflow", Raw2(frame(WINDOW, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2),
     "goaway FLOW_CONTROL_ERROR", ""),
    ("a push from a client", Raw2(frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + GET)),
     "goaway PROTOCOL_ERROR", ""),
    ("CONTINUATION without HEADERS", Raw2(frame(CONTINUATION, END_HEADERS, 1, GET)),
     "goaway PROTOCOL_ERROR", ""),
    ("another frame between HEADERS and CONTINUATION",
     Raw2(frame(HEADERS, END_STREAM, 1, GET) + frame(PING, 0, 0, b"12345678")),
     "goaway PROTOCOL_ERROR", ""),
    ("CONTINUATION flood", Raw2(lambda: [frame(HEADERS, END_STREAM, 1, GET)] + [
        frame(CONTINUATION, 0, 1, b"")] * 10000), "cut", ""),
    ("header block of nonsense", Raw2(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 50)),
     "goaway COMPRESSION_ERROR", ""),
    ("header block with a wrong index", Raw2(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xfe")),
     "goaway COMPRESSION_ERROR", ""),
    ("padding longer than the frame", Raw2(frame(
        HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + GET)), "goaway PROTOCOL_ERROR",
     ""),
    ("no path", heads((":method", "GET"), (":scheme", "http"), (":authority", "q")),
     "reset PROTOCOL_ERROR", ""),
    ("two methods", heads((":method", "PUT"), *pseudo("GET", "/livez")), "reset PROTOCOL_ERROR",
     ""),
    ("unknown pseudo header", heads(*pseudo("GET", "/livez"), (":x", "1")),
     "reset PROTOCOL_ERROR", ""),
    ("pseudo header behind others", heads(("a", "b"), *pseudo("GET", "/livez")),
     "reset PROTOCOL_ERROR", ""),
    ("upper case in a name", heads(*pseudo("GET", "/livez"), ("Accept", "x")),
     "reset PROTOCOL_ERROR", ""),
    ("connection header", heads(*pseudo("GET", "/livez"), ("connection", "close")),
     "reset PROTOCOL_ERROR", ""),
    ("NUL in a header", heads(*pseudo("GET", "/livez"), ("a", b"x\0y")), "reset PROTOCOL_ERROR",
     ""),
    ("empty path", heads(*pseudo("GET", "")), "reset PROTOCOL_ERROR", ""),
    ("path without a slash", heads(*pseudo("GET", "livez")), "reset PROTOCOL_ERROR", ""),
    ("content-length is not the body's", Do("HTTP/2", lambda nodes: wrong_length(nodes)),
     "reset PROTOCOL_ERROR", ""),
    ("a stream number that goes back is passed over", Do(
        "HTTP/2", lambda nodes: stream_goes_back(nodes)), 200, "healthz check passed"),
    ("headers of 100 kB", Raw2(lambda: header_flood(100 * 1024), 1), 431, "headers"),
    ("headers of 200 kB", Raw2(lambda: header_flood(200 * 1024), 1), "cut", ""),
    ("20,000 streams begun and reset", Raw2(rapid_reset), "cut", ""),
    ("100,000 pings", Raw2(lambda: [frame(PING, 0, 0, b"12345678") * 1000] * 100),
     "cut", ""),
    ("100,000 empty DATA frames", Do("HTTP/2", lambda nodes: empty_data_flood(nodes)),
     "cut", ""),
    ("100,000 SETTINGS", Raw2(lambda: [settings() * 1000] * 100), "cut", ""),
    ("40 MB of body", Do("HTTP/2", lambda nodes: http2(
        nodes["main"].http, "PUT", POINTS, b" " * (40 * MIB))), 413, "Payload too large"),
    ("wrong JSON", Rest2("PUT", POINTS, b'{"points":'), 400, FORMAT),
    ("no such path", Rest2("GET", "/nowhere"), 404, "Not found: "),
    ("wrong method", Rest2("DELETE", POINTS), 405, "not allowed"),
    ("padded frames are fine", Raw2(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1,
                                          b"\x05" + GET + b"\0" * 5), 1), 200, ""),
    ("unknown frames are passed over", Raw2(frame(0x42, 0xFF, 0, b"x" * 100) + frame(
        HEADERS, END_HEADERS | END_STREAM, 1, GET), 1), 200, ""),
    ("GOAWAY and then a request", Raw2(
        frame(GOAWAY, 0, 0, b"\0" * 8) + frame(HEADERS, END_HEADERS | END_STREAM, 1, GET), 1), 200,
     ""),
)


def not_settings(nodes, data):
    """Frames as they are: no SETTINGS of ours before them."""
    conn = Http2(nodes["main"].http, preface=data)
    try:
        return conn.ending()
    finally:
        conn.close()


def data_behind_end(nodes):
    conn = Http2(nodes["main"].http)
    try:
        conn.headers(1, pseudo("GET", "/livez"))
        conn.answer(1)
        conn.send(frame(DATA, END_STREAM, 1, b"x"))
        return conn.alive()
    finally:
        conn.close()


def wrong_length(nodes):
    conn = Http2(nodes["main"].http)
    try:
        conn.headers(1, pseudo("PUT", POINTS) + [("content-length", "5")], end=False)
        conn.data(1, b"{}")
        return conn.answer(1)
    finally:
        conn.close()


def stream_goes_back(nodes):
    conn = Http2(nodes["main"].http)
    try:
        conn.headers(5, pseudo("GET", "/livez"))
        conn.answer(5)
        conn.headers(3, pseudo("GET", "/livez"))
        return conn.alive()
    finally:
        conn.close()


def header_flood(n):
    block = Hpack.encode(pseudo("GET", "/livez")) + Hpack.encode(
        [(f"x{i}", "a" * 4000) for i in range(n // 4000)])
    pieces = [block[i:i + 16000] for i in range(0, len(block), 16000)]
    out = [frame(HEADERS, END_STREAM, 1, pieces[0])]
    for i, p in enumerate(pieces[1:]):
        out.append(frame(CONTINUATION, END_HEADERS if i == len(pieces) - 2 else 0, 1, p))
    return [b"".join(out)]


def empty_data_flood(nodes):
    conn = Http2(nodes["main"].http)
    try:
        conn.headers(1, pseudo("PUT", POINTS), end=False)
        for _ in range(100):
            if not conn.send(frame(DATA, 0, 1) * 1000):
                break
        return conn.ending()
    finally:
        conn.close()


# ---- gRPC and protobuf ---------------------------------------------------------------------------

KNOWN = pb_len(1, "known")


def num(n):
    return pb_int(1, n)


def pb_point(vectors, ident=num(910), payload=b""):
    return pb_len(3, pb_len(1, ident), payload, pb_len(4, vectors))


def dense(xs):
    """Vectors of one unnamed vector, in the field of old and new clients."""
    return pb_len(1, pb_floats(1, xs))


def upsert(*parts, name=KNOWN):
    return Grpc("Points/Upsert", name + pb_int(2, 1) + b"".join(parts))


def entry(key, value):
    return pb_len(3, pb_len(1, key), pb_len(2, value))


def grpc_query(*parts):
    return Grpc("Points/Query", KNOWN + b"".join(parts))


NEAREST = pb_len(3, pb_len(1, pb_len(2, pb_floats(1, [1, 2, 3, 4]))))
GOOD = dense([1, 2, 3, 4])
INVALID = "INVALID_ARGUMENT"

rows(
    "grpc",
    ("no message at all", Grpc("Points/Upsert", framed=b""), "INTERNAL", ""),
    ("a prefix cut short", Grpc("Points/Upsert", framed=b"\0\0\0"), "INTERNAL", ""),
    ("a message cut short", Grpc("Points/Upsert", framed=grpc_frame(KNOWN, length=100)), "INTERNAL",
     ""),
    ("bytes behind the message", Grpc("Points/Upsert", framed=grpc_frame(KNOWN) + b"x"), "INTERNAL",
     ""),
    ("two messages", Grpc("Points/Upsert", framed=grpc_frame(KNOWN) * 2), "INTERNAL", ""),
    ("a compression flag of 7", Grpc("Points/Upsert", framed=grpc_frame(KNOWN, 7)), "INTERNAL", ""),
    ("a message of 4 GB, it says", Grpc("Points/Upsert", framed=b"\0\xff\xff\xff\xff" + b"x" * 100),
     "RESOURCE_EXHAUSTED", ""),
    ("gzip that is none", Grpc("Points/Upsert", headers=[("grpc-encoding", "gzip")],
                               framed=grpc_frame(b"nonsense", 1)), "INTERNAL", ""),
    ("an encoding nobody knows", Grpc("Points/Upsert", headers=[("grpc-encoding", "br")],
                                      framed=grpc_frame(KNOWN, 1)), "UNIMPLEMENTED", ""),
    ("gzip of 256 MB of zeros", Grpc("Points/Upsert", headers=[("grpc-encoding", "gzip")],
                                   framed=lambda: grpc_frame(gzip_bomb(), 1)),
     "RESOURCE_EXHAUSTED", ""),
    ("unknown method", Grpc("Points/Explode"), "UNIMPLEMENTED", "Not implemented: "),
    ("unknown service", Grpc("/a.b/c"), "UNIMPLEMENTED", "Not implemented: "),
    ("a method that comes later", Grpc("Points/Recommend", KNOWN), "UNIMPLEMENTED",
     "Not implemented: recommend_points"),
    ("a deadline that is no time", Grpc("Qdrant/HealthCheck", headers=[("grpc-timeout", "soon")]),
     "INTERNAL", ""),
    ("a deadline of a nanosecond", Grpc("Points/Query", KNOWN + NEAREST,
                                        headers=[("grpc-timeout", "1n")]), "DEADLINE_EXCEEDED", ""),
    ("a content type that is near", Do("gRPC", lambda nodes: grpc_content_type(nodes)), 404,
     "Not found: "),
    ("40 MB", Grpc("Points/Upsert", framed=lambda: grpc_frame(b" " * (40 * MIB))),
     "RESOURCE_EXHAUSTED", ""),
    ("random bytes", Grpc("Points/Upsert", bytes(range(255, 0, -1))), INVALID, PB),
    ("a varint of 11 bytes", Grpc("Points/Upsert", b"\x10" + b"\xff" * 11), INVALID, PB),
    ("field number 0", Grpc("Points/Upsert", KNOWN + b"\0\1"), INVALID, PB),
    ("a group", Grpc("Points/Upsert", KNOWN + b"\x0b\x0c"), INVALID, PB),
    ("a length beyond the message", Grpc("Points/Upsert", b"\x0a\x7fabc"), INVALID, PB),
    ("a length of 2^63", Grpc("Points/Upsert", b"\x0a" + varint(1 << 63) + b"abc"), INVALID, PB),
    ("wrong wire type", Grpc("Points/Upsert", pb_int(1, 7)), INVALID, PB),
    ("conditions nested 10,000 deep", Grpc("Points/Scroll", lambda: KNOWN + pb_len(
        2, pb_nest2(2, 4, 10000))), INVALID, PB),
    ("values nested 10,000 deep", Grpc("Points/Upsert", lambda: KNOWN + pb_point(
        GOOD, payload=entry("a", pb_nest2(7, 1, 10000)))), INVALID, PB),
    ("prefetches nested 10,000 deep", Grpc("Points/Query", lambda: KNOWN + pb_len(
        2, pb_nest(1, 10000))), INVALID, PB),
    ("five million empty conditions", Grpc("Points/Scroll", lambda: KNOWN + pb_len(
        2, pb_len(2) * 5000000)), "RESOURCE_EXHAUSTED", "submessages"),
    ("five million empty points", Grpc("Points/Upsert", lambda: KNOWN + pb_len(3) * 5000000),
     "RESOURCE_EXHAUSTED", "more than 100000 points"),
    ("five million empty queries", Grpc("Points/QueryBatch", lambda: KNOWN + pb_len(2) * 5000000),
     "RESOURCE_EXHAUSTED", "more than"),
    ("ten million unknown fields", Grpc("Points/Upsert", lambda: KNOWN + b"\xf8\x07\x01" * 10000000),
     "RESOURCE_EXHAUSTED", ""),
    ("collection name with a NUL", Grpc("Collections/Get", pb_len(1, b"a\0b")), INVALID, "NUL"),
    ("collection name in bad UTF-8", Grpc("Collections/Get", pb_len(1, b"a\xff")), INVALID,
     "UTF-8"),
    ("no collection name", Grpc("Points/Upsert", pb_point(GOOD)), INVALID,
     "Validation error in body: [collection_name: "),
    ("a collection that is not there", Grpc("Points/Query", pb_len(1, "none") + NEAREST),
     "NOT_FOUND", "Collection `none` doesn't exist!"),
    ("payload key in bad UTF-8", upsert(pb_point(GOOD, payload=entry(b"\xc0\xaf", pb_int(3, 1)))),
     INVALID, "UTF-8"),
    ("payload key with a NUL", upsert(pb_point(GOOD, payload=entry(b"a\0b", pb_int(3, 1)))),
     INVALID, "NUL"),
    ("payload text in bad UTF-8", upsert(pb_point(GOOD, payload=entry(b"a", pb_len(4, b"\xff")))),
     INVALID, "UTF-8"),
    ("payload number NaN", upsert(pb_point(GOOD, payload=entry(b"a", pb_f64(2, float("nan"))))),
     INVALID, ""),
    ("payload number Inf", upsert(pb_point(GOOD, payload=entry(b"a", pb_f64(2, float("inf"))))),
     INVALID, ""),
    ("a vector name with a NUL", upsert(pb_point(pb_len(2, pb_len(
        1, pb_len(1, b"a\0"), pb_len(2, pb_floats(1, [1, 2, 3, 4])))))), INVALID, ""),
    ("no id", upsert(pb_len(3, pb_len(4, GOOD))), INVALID, ""),
    ("an id that is none", upsert(pb_point(GOOD, ident=pb_len(2, "abc"))), INVALID, "abc"),
    ("an empty id", upsert(pb_point(GOOD, ident=b"")), INVALID, ""),
    ("no vectors", upsert(pb_len(3, pb_len(1, num(910)))), INVALID, "Expected some vectors"),
    ("vector too short", upsert(pb_point(dense([1, 2]))), INVALID,
     "Vector dimension error: expected dim: 4, got 2"),
    ("vector empty", upsert(pb_point(dense([]))), INVALID, ""),
    ("NaN in a vector", upsert(pb_point(dense([1, float("nan"), 3, 4]))), INVALID, "finite"),
    ("Inf in a vector", upsert(pb_point(dense([1, float("inf"), 3, 4]))), INVALID, "finite"),
    ("NaN in a query", grpc_query(pb_len(3, pb_len(1, pb_len(2, pb_floats(
        1, [float("nan"), 2, 3, 4]))))), INVALID, "finite"),
    ("packed floats cut in one", upsert(pb_point(pb_len(1, pb_len(1, b"\0" * 15)))), INVALID,
     "packed"),
    ("unpacked floats are fine", grpc_query(pb_len(3, pb_len(1, pb_len(2, b"".join(
        pb_f32(1, x) for x in (1, 2, 3, 4)))))), "OK", ""),
    ("unpacked floats of a wrong number", upsert(pb_point(pb_len(1, pb_f32(1, 1) * 3))), INVALID,
     "expected dim: 4, got 3"),
    ("floats packed and not", upsert(pb_point(pb_len(1, pb_floats(1, [1, 2]) + pb_f32(1, 3)))),
     INVALID, "expected dim: 4, got 3"),
    ("limit 0", grpc_query(NEAREST, pb_int(8, 0)), INVALID, "limit"),
    ("limit 2^63", grpc_query(NEAREST, pb_int(8, 1 << 63)), INVALID, "limit"),
    ("offset that would wrap", grpc_query(NEAREST, pb_int(8, 10), pb_int(9, (1 << 64) - 5)),
     INVALID, ""),
    ("unknown vector name", grpc_query(NEAREST, pb_len(4, "far")), INVALID,
     "Not existing vector name error: far"),
    ("fusion", grpc_query(pb_len(3, pb_int(6, 0))), "UNIMPLEMENTED", "Not implemented: fusion"),
    ("an enum out of range", Grpc("Collections/Create", pb_len(1, "no") + pb_len(10, pb_len(
        1, pb_int(1, 4), pb_int(2, 99)))), INVALID, ""),
    ("vector size 0", Grpc("Collections/Create", pb_len(1, "no") + pb_len(10, pb_len(
        1, pb_int(1, 0), pb_int(2, 3)))), INVALID, "size"),
    ("vector size 2^40", Grpc("Collections/Create", pb_len(1, "no") + pb_len(10, pb_len(
        1, pb_int(1, 1 << 40), pb_int(2, 3)))), INVALID, "size"),
    ("a collection that is there", Grpc("Collections/Create", KNOWN + pb_len(10, pb_len(
        1, pb_int(1, 4), pb_int(2, 3)))), "ALREADY_EXISTS", "already exists!"),
    ("a collection name with a slash", Grpc("Collections/Create", pb_len(1, "a/b") + pb_len(
        10, pb_len(1, pb_int(1, 4), pb_int(2, 3)))), INVALID, ""),
    ("a wrong point in a batch of good ones", upsert(
        pb_point(GOOD, ident=num(911)), pb_point(dense([1])), pb_point(GOOD, ident=num(912))),
     INVALID, "expected dim: 4, got 1"),
)


@functools.lru_cache(None)
def gzip_bomb():
    z = zlib.compressobj(1, zlib.DEFLATED, 31)
    zeros = b"\0" * (16 * MIB)
    return b"".join(z.compress(zeros) for _ in range(16)) + z.flush()


def grpc_content_type(nodes):
    conn = Http2(nodes["main"].grpc)
    try:
        conn.headers(1, grpc_headers("Qdrant/HealthCheck", content_type="application/grpcx"),
                     end=False)
        conn.data(1, grpc_frame(b""))
        return conn.answer(1)
    finally:
        conn.close()


# ---- keys ----------------------------------------------------------------------------------------

MUST = "Must provide an API key or an Authorization bearer token"
FULL, READ = [("api-key", "full")], [("api-key", "read")]


def keyed(method, path, body=None, headers=()):
    return Rest(method, path, body, headers, node="keys")


def keyed_grpc(method, message, headers=()):
    return Grpc(method, message, headers, node="keys")


rows(
    "keys",
    ("no key", keyed("GET", "/collections"), 401, MUST),
    ("no key, HTTP/2", Rest2("GET", "/collections", node="keys"), 401, MUST),
    ("no key, a body of 10 MB", keyed("PUT", POINTS, b" " * (10 * MIB)), 401, MUST),
    ("an empty key", keyed("GET", "/collections", headers=[("api-key", "")]), 401, ""),
    ("a wrong key", keyed("GET", "/collections", headers=[("api-key", "fulL")]), 401, ""),
    ("a key and more", keyed("GET", "/collections", headers=[("api-key", "fullfull")]), 401, ""),
    ("the key as a wrong kind", keyed("GET", "/collections", headers=[
        ("authorization", "Basic full")]), 401, MUST),
    ("the key as a bearer", keyed("GET", "/collections", headers=[
        ("authorization", "Bearer full")]), 200, ""),
    ("the reader writes", keyed("PUT", POINTS, point(), READ), 403, "Forbidden: "),
    ("the reader deletes a collection", keyed("DELETE", "/collections/known", headers=READ), 403,
     "Forbidden: "),
    ("the reader deletes, doubled slashes", keyed("DELETE", "//collections//known", headers=READ),
     403, "Forbidden: "),
    ("the reader changes a collection", keyed("PATCH", "/collections/known", "{}", READ), 403,
     "Forbidden: "),
    ("the reader searches", keyed("POST", QUERY, search(), READ), 200, ""),
    ("the reader asks for metrics", keyed("GET", "/metrics", headers=READ), 200, ""),
    ("metrics without a key", keyed("GET", "/metrics"), 401, MUST),
    ("health needs no key", keyed("GET", "/healthz"), 200, "healthz check passed"),
    ("gRPC without a key", keyed_grpc("Collections/List", b""), "UNAUTHENTICATED", MUST),
    ("gRPC with a wrong key", keyed_grpc("Collections/List", b"", [("api-key", "x")]),
     "UNAUTHENTICATED", ""),
    ("gRPC, the reader writes", keyed_grpc("Points/Upsert", KNOWN + pb_point(GOOD), READ),
     "PERMISSION_DENIED", "Forbidden: "),
    ("gRPC, the reader deletes", keyed_grpc("Collections/Delete", KNOWN, READ),
     "PERMISSION_DENIED", "Forbidden: "),
    ("gRPC, the reader searches", keyed_grpc("Points/Query", KNOWN + NEAREST, READ), "OK", ""),
    ("gRPC with the key", keyed_grpc("Collections/List", b"", FULL), "OK", ""),
    ("the log's level without a key", keyed("GET", "/logger"), 401, MUST),
    ("the reader asks for the log's level", keyed("GET", "/logger", headers=READ), 403,
     "Forbidden: "),
    ("the reader sets the log's level", keyed("POST", "/logger", '{"log_level":"error"}', READ), 403,
     "Forbidden: "),
    ("the log's level", keyed("GET", "/logger", headers=FULL), 200, '"log_level":"info"'),
    ("a log level that is none", keyed("POST", "/logger", '{"log_level":"loud"}', FULL), 400,
     "log_level: 'loud' is not allowed"),
    ("no log level", keyed("POST", "/logger", "{}", FULL), 400, "log_level: '' is not allowed"),
    ("a log level that is a number", keyed("POST", "/logger", '{"log_level":1}', FULL), 400,
     FORMAT),
)

# ---- request ids ---------------------------------------------------------------------------------


def request_id(ask, given, kept):
    """The id of the answer: the given one, or 16 digits of the server's own."""

    def run(nodes):
        got = ask(nodes, [("x-request-id", given)] if given is not None else [])
        back = dict(got.headers).get("x-request-id", "")
        own = len(back) == 16 and all(c in "0123456789abcdef" for c in back)
        got.text = "good" if (back == given if kept else own and back != given) else f"id {back!r}"
        return got

    return run


def ids_of(protocol, ask, status):
    for name, given, kept in (("none", None, False), ("a short one", "a-1", True),
                              ("one of 128 bytes", "x" * 128, True),
                              ("one of 129 bytes", "x" * 129, False), ("one with a blank", "a b", False),
                              ("one beyond ASCII", "caf\u00e9", False)):
        rows("keys", (f"{protocol}: request id: {name}", Do(protocol, request_id(ask, given, kept)),
                      status, "good"))


ids_of("HTTP/1.1", lambda nodes, h: http1(nodes["main"].http, "GET", "/nowhere", None, h), 404)
ids_of("HTTP/2", lambda nodes, h: http2(nodes["main"].http, "GET", "/collections", None, h), 200)
ids_of("gRPC", lambda nodes, h: grpc(nodes["main"].grpc, "Points/Get", b"", h), "INVALID_ARGUMENT")

# ---- resources -----------------------------------------------------------------------------------


def over_limit(nodes):
    return http1(nodes["tight"].http, "PUT", POINTS, b" " * (MIB + 1))


NOWHERE = ["text", "deep.a.b", "list[]", "no"]


def long_work():
    """A search that keeps one thread busy for seconds: a thousand scans of every payload."""
    one = {"query": [1, 2, 3, 4], "limit": 1, "params": {"exact": True},
           "filter": {"should": [{"key": k, "match": {"value": "nothing"}} for k in NOWHERE]}}
    return json.dumps({"searches": [one] * 1000}).encode()


def too_slow(nodes):
    return http1(nodes["tight"].http, "POST", QUERY + "/batch", long_work())


def too_slow_grpc(nodes):
    one = pb_len(2, KNOWN, NEAREST, pb_len(5, *(pb_len(1, pb_len(
        1, pb_len(1, k), pb_len(2, pb_len(1, "nothing")))) for k in NOWHERE)), pb_len(6, pb_int(
            2, 1)))
    return grpc(nodes["tight"].grpc, "Points/QueryBatch", KNOWN + one * 1000)


def queue_full_once(port):
    """One thread works, then more requests come than may wait; the last answer that is not 200."""
    busy = [Http1(port) for _ in range(4)]
    conns = []
    refused = Answer("none was refused")
    try:
        for conn in busy:
            conn.send(request_bytes("POST", QUERY + "/batch", long_work()))
        one = request_bytes("POST", QUERY, search().encode())
        for _ in range(18):
            conns.append(Http1(port))
            conns[-1].send(one * 250)
        for conn in conns:
            for _ in range(250):
                got = conn.receive()
                if got.status == 429:
                    refused = got
                if not isinstance(got.status, int):
                    break
        if refused.status == 429 and not refused.headers.get("retry-after", "").isdigit():
            return Answer("429 without Retry-After", refused.text)
        return refused
    finally:
        for conn in [*busy, *conns]:
            conn.close()


def queue_full(nodes):
    """Whether the requests outrun the work is a race; it has to be won once in eight times."""
    for _ in range(8):
        got = queue_full_once(nodes["tight"].http)
        if got.status == 429:
            break
    return got


def many_points(n):
    return json.dumps({"points": [{"id": 10000 + i, "vector": [1, 2, 3, 4]}
                                  for i in range(n)]}).encode()


def while_full(nodes, write, refused, doubt):
    """From now on no file takes a byte. The write that meets it may end in doubt; those behind it
    are refused, and reads go on. Then the disk has room again."""
    node = nodes["full"]
    node.limit_files(0)
    try:
        for _ in range(50):
            got = write(node)
            if got.status != doubt:
                break
        read = http1(node.http, "POST", QUERY, search().encode())
        if got.status == refused and read.status != 200:
            return Answer(f"a read while the disk is full gives {read}")
        return got
    finally:
        node.limit_files(None)


def disk_full(nodes):
    return while_full(nodes, lambda node: http1(
        node.http, "PUT", POINTS + "?wait=true", point(ident="950").encode()), 507, 503)


def disk_full_grpc(nodes):
    return while_full(nodes, lambda node: grpc(
        node.grpc, "Points/Upsert", KNOWN + pb_int(2, 1) + pb_point(GOOD)),
                      "RESOURCE_EXHAUSTED", "UNAVAILABLE")


def room_again(nodes):
    """Within seconds, what was refused or in doubt is written; then it is deleted."""
    port = nodes["full"].http
    body = json.dumps({"points": [{"id": i, "vector": [1, 2, 3, 4]} for i in (910, 950)]}).encode()
    until = time.monotonic() + 5
    got = None
    while time.monotonic() < until:
        got = http1(port, "PUT", POINTS + "?wait=true", body)
        if got.status == 200:
            return http1(port, "POST", POINTS + "/delete?wait=true", b'{"points":[910,950]}')
        time.sleep(0.05)
    return got


def many_idle(nodes):
    """2,000 connections that say nothing, or half a word; then one that asks."""
    conns = []
    try:
        for i in range(2000):
            conns.append(Http1(nodes["main"].http))
            if i % 2:
                conns[-1].send(b"GET")
        return http1(nodes["main"].http, "GET", "/livez")
    finally:
        for conn in conns:
            conn.close()


def hang_up(nodes):
    """1,000 clients that ask and do not wait."""
    for _ in range(1000):
        conn = Http1(nodes["main"].http)
        conn.send(request_bytes("POST", SCROLL, b'{"limit":200,"with_vector":true}'))
        conn.close()
    return http1(nodes["main"].http, "GET", "/livez")


def never_reads(nodes):
    """Asks for megabytes again and again and reads nothing."""
    conn = Http1(nodes["main"].http, seconds=2)
    try:
        one = request_bytes("POST", SCROLL, b'{"limit":1000,"with_vector":true}')
        for _ in range(2000):
            if not conn.send(one):
                break
    finally:
        conn.close()
    return http1(nodes["main"].http, "GET", "/livez")


rows(
    "resources",
    ("body over the limit", Do("HTTP/1.1", over_limit), 413, "Payload too large"),
    ("body over the limit, HTTP/2", Rest2("PUT", POINTS, b" " * (MIB + 1), node="tight"), 413,
     "Payload too large"),
    ("message over the limit", Grpc("Points/Upsert", b" " * (MIB + 1), node="tight"),
     "RESOURCE_EXHAUSTED", ""),
    ("100,000 points and one more", Do("HTTP/1.1", lambda nodes: http1(
        nodes["main"].http, "PUT", POINTS, many_points(100001))), 413,
     "more than 100000 points"),
    ("a point of 17 MB", Do("HTTP/1.1", lambda nodes: http1(
        nodes["main"].http, "PUT", POINTS, point(payload='{"a":"' + "x" * (17 * MIB) + '"}').encode())),
     413, "16777216 bytes"),
    ("a payload of 100,000 keys", put({"points": [{"id": 900, "vector": [1, 2, 3, 4], "payload": {
        f"k{i}": i for i in range(100000)}}]}), 400, "Payload of 100000 keys"),
    ("a vector of 3 million numbers", Do("HTTP/1.1", lambda nodes: http1(
        nodes["main"].http, "PUT", POINTS, point("[" + "1," * 3000000 + "1]").encode())), 400, ""),
    ("five million ids to delete", Do("HTTP/1.1", lambda nodes: http1(
        nodes["main"].http, "POST", POINTS + "/delete",
        b'{"points":[' + b"7," * 5000000 + b"7]}")), 413,
     "more than 100000 ids"),
    ("thirty million brackets", Do("HTTP/1.1", lambda nodes: http1(
        nodes["main"].http, "PUT", POINTS, b"[" * 30000000)), 400, FORMAT),
    ("a search past its time", Do("HTTP/1.1", too_slow), 408, "Timeout: "),
    ("a search past its time, gRPC", Do("gRPC", too_slow_grpc), "DEADLINE_EXCEEDED", ""),
    ("more requests than may wait", Do("HTTP/1.1", queue_full), 429, "Rate limiting exceeded: "),
    ("the disk is full", Do("HTTP/1.1", disk_full), 507, "Storage full"),
    ("the disk is full, gRPC", Do("gRPC", disk_full_grpc), "RESOURCE_EXHAUSTED", "Storage full"),
    ("the disk has room again", Do("HTTP/1.1", room_again), 200, ""),
    ("2,000 connections that say nothing", Do("HTTP/1.1", many_idle), 200, "healthz check passed"),
    ("1,000 clients that hang up", Do("HTTP/1.1", hang_up), 200, "healthz check passed"),
    ("a client that never reads", Do("HTTP/1.1", never_reads), 200, "healthz check passed"),
)


# ---- collections as they are changed -------------------------------------------------------------

ALIASES = "/collections/aliases"


def alias(kind, **names):
    return post(ALIASES, {"actions": [{kind: names}]})


def change(body):
    return Rest("PATCH", "/collections/known", body)


def name_vector(name, body):
    return Rest("PUT", "/collections/known/vectors/" + name, body)


rows(
    "collections",
    ("aliases without actions", post(ALIASES, "{}"), 400, FORMAT + "missing field `actions`"),
    ("an action that is none", post(ALIASES, {"actions": [{"make_alias": {}}]}), 400,
     FORMAT + "data did not match any variant of untagged enum AliasOperations"),
    ("an alias without its collection", alias("create_alias", alias_name="a"), 400,
     FORMAT + "missing field `collection_name`"),
    ("an alias of nothing", alias("create_alias", alias_name="a", collection_name="nothing"), 404,
     "Not found: Collection `nothing` doesn't exist!"),
    ("an alias with a collection's name",
     alias("create_alias", alias_name="known", collection_name="known"), 409, "already exists!"),
    ("an alias with a slash", alias("create_alias", alias_name="a/b", collection_name="known"), 422,
     VALIDATION),
    ("an alias without a name", alias("create_alias", alias_name="", collection_name="known"), 422,
     VALIDATION),
    ("an alias of 300 bytes", alias("create_alias", alias_name="a" * 300, collection_name="known"),
     422, VALIDATION),
    ("an alias to rename that is not there",
     alias("rename_alias", old_alias_name="a", new_alias_name="b"), 404,
     "Not found: Alias a does not exists!"),
    ("actions, the last of them wrong", post(ALIASES, {"actions": [
        {"create_alias": {"alias_name": "a", "collection_name": "known"}},
        {"rename_alias": {"old_alias_name": "b", "new_alias_name": "c"}}]}), 404, "Alias b"),
    ("nothing is left of them", Rest("GET", "/aliases"), 200, '"aliases":[]'),
    ("more actions than are taken", post(ALIASES, {"actions": [
        {"delete_alias": {"alias_name": "a"}}] * 1001}), 413, "more than 1000 actions"),
    ("the reader makes an alias", keyed("POST", ALIASES, "{}", READ), 403, "Forbidden: "),
    ("an empty action, gRPC", Grpc("Collections/UpdateAliases", pb_len(1, b"")), INVALID, ""),
    ("an alias of nothing, gRPC", Grpc("Collections/UpdateAliases", pb_len(1, pb_len(
        1, pb_len(1, "nothing") + pb_len(2, "a")))), "NOT_FOUND", "`nothing` doesn't exist!"),
    ("a change of nothing", Rest("PATCH", "/collections/nothing", "{}"), 404,
     "Not found: Collection `nothing` doesn't exist!"),
    ("a change without a body", change(""), 400, FORMAT),
    ("a change that is a list", change("[]"), 400, FORMAT),
    ("m of 100,000", change({"hnsw_config": {"m": 100000}}), 422, VALIDATION + "hnsw_config.m"),
    ("ef_construct of 1", change({"hnsw_config": {"ef_construct": 1}}), 422,
     VALIDATION + "hnsw_config.ef_construct"),
    ("a vector's m of -1", change({"vectors": {"": {"hnsw_config": {"m": -1}}}}), 400, FORMAT),
    ("a vector that is not there", change({"vectors": {"far": {"on_disk": True}}}), 400,
     WRONG + "Not existing vector name error: far"),
    ("a sparse vector that is not there", change({"sparse_vectors": {"far": {}}}), 400,
     WRONG + "Not existing vector name error: far"),
    ("quantization turned to a word", change({"quantization_config": "Off"}), 400,
     FORMAT + "unknown variant"),
    ("product quantization", change({"quantization_config": {"product": {"compression": "x4"}}}),
     501, "Not implemented: quantization_config.product"),
    ("a quantile of 0.2", change({"quantization_config": {"scalar": {"type": "int8", "quantile": 0.2}}}),
     422, "quantization_config.scalar.quantile"),
    ("scalar codes of 4 bits", change({"quantization_config": {"scalar": {"type": "int4"}}}), 400,
     FORMAT),
    ("an encoding of 3 bits", change({"quantization_config": {"binary": {"encoding": "three_bits"}}}),
     400, FORMAT),
    ("a threshold of 2", change({"optimizers_config": {"deleted_threshold": 2}}), 422,
     VALIDATION + "optimizers_config.deleted_threshold"),
    ("two copies", change({"params": {"replication_factor": 2}}), 501,
     "Not implemented: replication_factor > 1"),
    ("no copies", change({"params": {"write_consistency_factor": 0}}), 422, VALIDATION + "params."),
    ("metadata that is a list", change({"metadata": [1]}), 400, FORMAT),
    ("a vector without its kind", name_vector("v", "{}"), 400,
     FORMAT + "data did not match any variant of untagged enum VectorNameConfig"),
    ("a vector without a size", name_vector("v", {"dense": {"distance": "Dot"}}), 400,
     FORMAT + "missing field `size`"),
    ("a vector of no elements", name_vector("v", {"dense": {"size": 0, "distance": "Dot"}}), 422,
     VALIDATION + "vectors.size"),
    ("a vector of 2^40 elements", name_vector("v", {"dense": {
        "size": 1 << 40, "distance": "Dot"}}), 422, VALIDATION + "vectors.size"),
    ("a vector that is there, and different", Rest(
        "PUT", "/collections/named/vectors/a", {"sparse": {}}), 400,
     WRONG + "Vector `a` already exists as a dense vector"),
    ("a vector with a name of 300 bytes", name_vector("v" * 300, {"dense": {
        "size": 2, "distance": "Dot"}}), 422, VALIDATION + "vectors: a name of 300 bytes"),
    ("rows for more than there are addresses", Rest("PUT", "/collections/huge", {
        "vectors": {f"v{i}": {"size": 65536, "distance": "Dot"} for i in range(200)}}), 503,
     "no address space for"),
    ("of which nothing is left", Rest("GET", "/collections/huge"), 404, "Not found"),
    ("an ordinary one has its own", Rest("PUT", "/collections/huge", {
        "vectors": {"size": 65536, "distance": "Dot"}}), 200, "true"),
    ("which goes again", Rest("DELETE", "/collections/huge"), 200, "true"),
    ("a vector of no collection", Rest("PUT", "/collections/nothing/vectors/v", {"dense": {
        "size": 2, "distance": "Dot"}}), 404, "`nothing` doesn't exist!"),
    ("the reader drops a vector", keyed("DELETE", "/collections/known/vectors/named", headers=READ),
     403, "Forbidden: "),
    ("a quota of 0 percent", Rest("PUT", "/quotas", {"max_disk_usage_percent": 0}), 422,
     VALIDATION + "max_disk_usage_percent"),
    ("a quota of 101 percent", Rest("PUT", "/quotas", {"max_resident_memory_percent": 101}), 422,
     VALIDATION + "max_resident_memory_percent"),
    ("a quota that is a word", Rest("PUT", "/quotas", {"enabled": "yes"}), 400, FORMAT),
    ("the reader sets a quota", keyed("PUT", "/quotas", "{}", READ), 403, "Forbidden: "),
    ("work behind nothing", Rest("GET", "/collections/nothing/optimizations"), 404,
     "`nothing` doesn't exist!"),
    ("telemetry in what detail", Rest("GET", "/telemetry?details_level=much"), 400, BAD),
    ("the reader clears the issues", keyed("DELETE", "/issues", headers=READ), 403, "Forbidden: "),
    ("a change of nothing, gRPC", Grpc("Collections/Update", pb_len(1, "nothing")), "NOT_FOUND",
     "`nothing` doesn't exist!"),
    ("a vector without a kind, gRPC", Grpc("Points/CreateVectorName", KNOWN + pb_len(3, "v")),
     INVALID, "vector_config: must be given"),
    ("a vector without a name, gRPC", Grpc("Points/CreateVectorName", KNOWN + pb_len(4, pb_int(
        1, 4) + pb_int(2, 3))), INVALID, "vector_name: must not be empty"),
)
