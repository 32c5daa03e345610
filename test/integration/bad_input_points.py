"""Rows of `make bad-input` for what requests on points may say beside their points: conditions,
order, facets, deadlines, limits of a collection. The classes are those of bad_input_rows."""

import json
import threading

from bad_input_rows import (BAD, FORMAT, GOOD, INVALID, KNOWN, POINTS, VALIDATION, WRONG, Do, Grpc,
                            Rest, pb_point, point, post, put, rows, upsert)
from wire_client import grpc, http1, pb_f64, pb_int, pb_len


def with_mode(mode, body=None):
    return (body or point())[:-1] + ',"update_mode":' + mode + "}"


def if_match(condition, body=None):
    return (body or point())[:-1] + ',"update_filter":' + condition + "}"


rows(
    "points",
    ("an unknown update_mode", put(with_mode('"replace"')), 400,
     FORMAT + "unknown variant `replace`, expected one of `upsert`, `insert_only`, `update_only`"),
    ("update_mode is a number", put(with_mode("1")), 400, FORMAT),
    ("update_filter is a list", put(if_match("[]")), 400, FORMAT),
    ("update_filter of an unknown kind", put(if_match('{"maybe":[]}')), 400, "unknown field"),
    ("a wrong vector is refused, inserted or not", put(with_mode('"update_only"', point("[1,2]"))),
     400, "expected dim: 4, got 2"),
    ("update_only of a new point makes none", put(with_mode('"update_only"')), 200, ""),
    ("it was not made", post(POINTS, '{"ids":[900]}'), 200, '"result":[]'),
    ("a missing point under an update_filter",
     Rest("PUT", POINTS + "/vectors?wait=true", if_match('{"must":[{"key":"a","match":{"value":1}}]}')),
     404, "No point with id 900 found"),
    ("a batch with a wrong mode", post(POINTS + "/batch", '{"operations":[{"upsert":'
                                       + with_mode('"x"') + "}]}"), 400, "unknown variant `x`"),
    ("gRPC: an unknown update_mode", upsert(pb_point(GOOD), pb_int(8, 9)), INVALID,
     "update_mode: unknown mode 9"),
    ("gRPC: update_filter that is cut", upsert(pb_point(GOOD), pb_len(6, b"\x0a\x05")), INVALID,
     ""),
)

SCROLL = POINTS + "/scroll"
FACET = "/collections/known/facet"
NO_RANGE = "No range index for `order_by` key: `"
NO_FACET = "No appropriate index for faceting: `"

rows(
    "points",
    ("order by a field without an index", post(SCROLL, '{"order_by":"a"}'), 400,
     WRONG + NO_RANGE + "a`"),
    ("order by a path that is none", post(SCROLL, '{"order_by":"a["}'), 400,
     FORMAT + "Invalid json path"),
    ("order by nothing", post(SCROLL, '{"order_by":{}}'), 400, "missing field `key`"),
    ("order in no direction",
     post(SCROLL, '{"order_by":{"key":"a","direction":"sideways"}}'), 400,
     "unknown variant `sideways`, expected one of `asc`, `desc`"),
    ("order from an object", post(SCROLL, '{"order_by":{"key":"a","start_from":{}}}'), 400,
     "any variant of untagged enum StartFrom"),
    ("order and an offset", post(SCROLL, '{"order_by":"a","offset":1}'), 400,
     WRONG + "Cannot use an `offset` when using `order_by`"),
    ("query ordered by a field without an index", post(POINTS + "/query",
                                                       '{"query":{"order_by":"a"}}'), 400,
     WRONG + NO_RANGE + "a`"),
    ("a sample of no kind", post(POINTS + "/query", '{"query":{"sample":"clever"}}'), 400,
     "unknown variant `clever`"),
    ("facet on a field without an index", post(FACET, '{"key":"a"}'), 400, WRONG + NO_FACET + "a`"),
    ("facet without a key", post(FACET, "{}"), 400, FORMAT + "missing field `key`"),
    ("facet with a limit of 0", post(FACET, '{"key":"a","limit":0}'), 422,
     VALIDATION + "limit: value 0 invalid"),
    ("facet with a limit beyond all bounds", post(FACET, '{"key":"a","limit":1e9}'), 400, FORMAT),
    ("facet of a million values at once", post(FACET, '{"key":"a","limit":1000000}'), 422,
     VALIDATION + "limit"),
    ("facet on a number", post(FACET, '{"key":7}'), 400, FORMAT),
    ("facet of a collection that is not there", post("/collections/none/facet", '{"key":"a"}'),
     404, "Collection `none` doesn't exist!"),
    ("gRPC: facet without a key", Grpc("Points/Facet", KNOWN), INVALID, "path"),
    ("gRPC: facet without an index", Grpc("Points/Facet", KNOWN + pb_len(2, "a")), INVALID,
     NO_FACET + "a`"),
    ("gRPC: facet with a limit of 0", Grpc("Points/Facet", KNOWN + pb_len(2, "a") + pb_int(4, 0)),
     INVALID, "limit: value 0 invalid"),
    ("gRPC: order without an index", Grpc("Points/Scroll", KNOWN + pb_len(10, pb_len(1, "a"))),
     INVALID, NO_RANGE + "a`"),
    ("gRPC: order in no direction", Grpc("Points/Scroll", KNOWN + pb_len(10, pb_len(1, "a"),
                                                                         pb_int(2, 5))),
     INVALID, "unknown direction 5"),
    ("gRPC: order from nothing", Grpc("Points/Scroll", KNOWN + pb_len(10, pb_len(1, "a"),
                                                                      pb_len(3, b""))),
     INVALID, "order_by.start_from: empty"),
    ("gRPC: a sample of no kind", Grpc("Points/Query", KNOWN + pb_len(3, pb_int(7, 3))), INVALID,
     "unknown kind 3"),
)


# ---- deadlines: work for a minute ends after a second ---------------------------------------------

SLOW_POINTS = 20000
SLOW_LOCK = threading.Lock()
SLOW_USERS = []


def slow_collection(nodes, work):
    """What work(port, path) gives while there is a collection whose thousand scans take a minute.
    The rows that need it share one: filling it takes seconds."""
    port, path = nodes["main"].http, "/collections/slow-work"
    with SLOW_LOCK:
        if not SLOW_USERS:
            http1(port, "PUT", path, b'{"vectors":{"size":1,"distance":"Dot"}}')
            batch = {"ids": list(range(SLOW_POINTS)), "vectors": [[1]] * SLOW_POINTS,
                     "payloads": [{"n": i} for i in range(SLOW_POINTS)]}
            http1(port, "PUT", path + "/points?wait=true", json.dumps({"batch": batch}).encode())
        SLOW_USERS.append(work)
    try:
        return work(port, path)
    finally:
        with SLOW_LOCK:
            SLOW_USERS.remove(work)
            if not SLOW_USERS:
                http1(port, "DELETE", path)


def slow_batch(port, path):
    one = {"query": [1], "filter": {"must_not": [{"key": "n", "range": {"lt": 1e9}}]}}
    body = json.dumps({"searches": [one] * 1000}).encode()
    return http1(port, "POST", path + "/points/query/batch?timeout=1", body)


def slow_delete(port, path):
    one = {"delete": {"filter": {"must": [{"key": "n", "match": {"value": -1}}]}}}
    body = json.dumps({"operations": [one] * 1000}).encode()
    return http1(port, "POST", path + "/points/batch?wait=true&timeout=1", body)


def slow_grpc(nodes):
    condition = pb_len(3, pb_len(1, pb_len(1, "n"), pb_len(3, pb_f64(1, 1e9))))
    one = pb_len(2, pb_len(1, "slow-work"), pb_len(5, condition))
    return slow_collection(nodes, lambda port, path: grpc(
        nodes["main"].grpc, "Points/QueryBatch",
        pb_len(1, "slow-work") + one * 1000 + pb_int(4, 1)))


rows(
    "points",
    ("a read that takes longer than its timeout",
     Do("HTTP/1.1", lambda nodes: slow_collection(nodes, slow_batch)), 408, "Timeout: ", True),
    ("a write that takes longer than its timeout",
     Do("HTTP/1.1", lambda nodes: slow_collection(nodes, slow_delete)), 408,
     "Timeout: ", True),
    ("gRPC: a read that takes longer than its timeout", Do("gRPC", slow_grpc), "DEADLINE_EXCEEDED",
     "Timeout: ", True),
    ("a timeout of 0", post(SCROLL + "?timeout=0", "{}"), 422, "timeout: value 0 invalid"),
    ("a timeout that is none", post(FACET + "?timeout=soon", '{"key":"a"}'), 400,
     "timeout: expected a number of seconds"),
    ("a consistency that is none", post(SCROLL + "?consistency=most", "{}"), 400,
     "expected a number, majority, quorum or all"),
    ("a consistency of 0", post(POINTS + "?consistency=0", '{"ids":[1]}'), 400, "consistency"),
    ("an ordering that is none", put(point("[1,2,3,4]"), POINTS + "?ordering=strict"), 400,
     "expected weak, medium or strong"),
    ("gRPC: a consistency of 0", Grpc("Points/Scroll", KNOWN + pb_len(8, pb_int(2, 0))), INVALID,
     "read consistency factor 0"),
    ("gRPC: a timeout of 0", Grpc("Points/Scroll", KNOWN + pb_int(11, 0)), INVALID,
     "timeout: value 0 invalid"),
)


# ---- strict mode: bounds of a collection, by both protocols ---------------------------------------

STRICT = {"max_query_limit": 20, "max_timeout": 30, "unindexed_filtering_retrieve": False,
          "unindexed_filtering_update": False, "search_max_hnsw_ef": 100,
          "search_allow_exact": False, "upsert_max_batchsize": 3, "search_max_batchsize": 2,
          "filter_max_conditions": 2, "condition_max_size": 3, "max_points_count": 4,
          "max_payload_index_count": 1}


def strict(limits, *asked):
    """What the last of these (method, path behind the collection, body) gets from a collection
    with these limits."""
    name = "slow-strict-" + str(abs(hash((str(limits), str(asked)))))

    def run(nodes):
        port, path = nodes["main"].http, "/collections/" + name
        config = {"vectors": {"size": 1, "distance": "Dot"},
                  "strict_mode_config": dict(limits, enabled=True)}
        made = http1(port, "PUT", path, json.dumps(config).encode())
        try:
            for method, where, body in asked:
                made = http1(port, method, path + where, json.dumps(body).encode())
            return made
        finally:
            http1(port, "DELETE", path)

    return Do("HTTP/1.1", run)


def strict_search(body):
    return strict(STRICT, ("POST", "/points/query", body))


def three_points(first):
    return ("PUT", "/points?wait=true", {"points": [{"id": first + i, "vector": [1]}
                                                    for i in range(3)]})


def later(*asked, **limits):
    """The same; the text is that of the header that says when to come again."""
    inner = strict(limits, *asked)

    def run(nodes):
        got = inner.send(nodes)
        if not 1 <= int(got.headers.get("retry-after", 0)) <= 60:
            got.text = f"retry-after {got.headers.get('retry-after')}: {got.text}"
        return got

    return Do("HTTP/1.1", run)


def strict_grpc(nodes):
    port = nodes["main"].http
    http1(port, "PUT", "/collections/slow-strict", json.dumps(
        {"vectors": {"size": 1, "distance": "Dot"},
         "strict_mode_config": dict(STRICT, enabled=True)}).encode())
    try:
        return grpc(nodes["main"].grpc, "Points/Scroll",
                    pb_len(1, "slow-strict") + pb_int(4, 21))
    finally:
        http1(port, "DELETE", "/collections/slow-strict")


ONE_POINT = ("PUT", "/points?wait=true", {"points": [{"id": 1, "vector": [1]}]})
FILTERED = {"filter": {"must": [{"key": "n", "match": {"value": 1}}]}}

rows(
    "points",
    ("strict: a limit of 0", strict({"max_query_limit": 0}), 422,
     VALIDATION + "strict_mode_config.max_query_limit: value 0 invalid"),
    ("strict: a limit that is a text", strict({"max_timeout": "long"}), 400,
     FORMAT + "strict_mode_config.max_timeout: invalid type, expected an unsigned number"),
    ("strict: more than all memory", strict({"max_resident_memory_percent": 101}), 422,
     "must be from 1 to 100"),
    ("strict: limits of a vector that are a list", strict({"sparse_config": []}), 400,
     "strict_mode_config.sparse_config: invalid type, expected a map"),
    ("strict: a large limit", strict_search({"query": [1], "limit": 21}), 400,
     BAD + 'Limit exceeded 21 > 20 for "limit". Help: Reduce'),
    ("strict: a large ef", strict_search({"query": [1], "params": {"hnsw_ef": 101}}), 400,
     BAD + 'Limit exceeded 101 > 100 for "hnsw_ef"'),
    ("strict: an exact search", strict_search({"query": [1], "params": {"exact": True}}), 400,
     BAD + "Exact search disabled!. Help: Set exact=false."),
    ("strict: a search by a field without an index", strict_search(dict(FILTERED, query=[1])), 400,
     BAD + 'Index required but not found for "n" of one of the following types: [integer]. Help: '),
    ("strict: a deletion by a field without an index",
     strict(STRICT, ("POST", "/points/delete", FILTERED)), 400,
     BAD + 'Index required but not found for "n"'),
    ("strict: many conditions", strict_search({"filter": {"must": [{"has_id": [i]}
                                                                   for i in range(3)]}}), 400,
     BAD + "Filter condition limit reached (3 > 2)"),
    ("strict: a large condition", strict_search({"filter": {"must": [{"has_id": [1, 2, 3, 4]}]}}),
     400, BAD + "Condition size limit reached (4 > 3)"),
    ("strict: a long timeout", strict(STRICT, ("POST", "/points/scroll?timeout=31", {})), 400,
     BAD + 'Limit exceeded 31 > 30 for "timeout"'),
    ("strict: many searches at once", strict(STRICT, ("POST", "/points/query/batch",
                                                      {"searches": [{}, {}, {}]})), 400,
     BAD + 'Limit exceeded 3 > 2 for "search batch size"'),
    ("strict: many points at once", strict(STRICT, ("PUT", "/points", {"points": [
        {"id": i, "vector": [1]} for i in range(4)]})), 400,
     BAD + 'Limit exceeded 4 > 3 for "upsert limit"'),
    ("strict: more points than there may be", strict(STRICT, three_points(1), three_points(4),
                                                     three_points(7)), 400,
     BAD + "Max points count limit of 4 reached!"),
    ("strict: more vectors than there may be",
     strict({"max_collection_vector_size_bytes": 8}, three_points(1), ONE_POINT), 400,
     BAD + "Max vector storage size limit of "),
    ("strict: more payload than there may be",
     strict({"max_collection_payload_size_bytes": 1}, three_points(1), ONE_POINT), 400,
     BAD + "Max payload storage size limit of "),
    ("strict: a second payload index", strict(
        STRICT, ("PUT", "/index?wait=true", {"field_name": "a", "field_schema": "keyword"}),
        ("PUT", "/index?wait=true", {"field_name": "b", "field_schema": "keyword"})), 400,
     BAD + "Collection already has the maximum number of payload indices (1)"),
    ("strict: no memory is left", strict({"max_resident_memory_percent": 100}, ONE_POINT), 200, ""),
    ("strict: writes too fast", later(ONE_POINT, ONE_POINT, ONE_POINT, write_rate_limit=2), 429,
     "Rate limiting exceeded: Write rate limit exceeded: Operation requires 1 tokens"),
    ("strict: reads too fast", later(*[("POST", "/points/scroll", {})] * 4, read_rate_limit=3),
     429, "Rate limiting exceeded: Read rate limit exceeded: Operation requires 1 tokens"),
    ("strict: what no minute allows", strict({"write_rate_limit": 2}, three_points(1)), 429,
     "more than a minute allows"),
    ("strict, gRPC: a large limit", Do("gRPC", strict_grpc), INVALID,
     BAD + 'Limit exceeded 21 > 20 for "limit"'),
)
