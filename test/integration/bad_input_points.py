"""Rows of `make bad-input` for what requests on points may say beside their points: conditions,
order, facets, deadlines, limits of a collection. The classes are those of bad_input_rows."""

import json

from bad_input_rows import (FORMAT, GOOD, INVALID, KNOWN, POINTS, VALIDATION, WRONG, Do, Grpc, Rest,
                            pb_point, point, post, put, rows, upsert)
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


def slow_collection(nodes, name, work):
    """What work(port, path) gives while there is a collection whose thousand scans take a minute."""
    port, path = nodes["main"].http, "/collections/" + name
    http1(port, "PUT", path, b'{"vectors":{"size":1,"distance":"Dot"}}')
    batch = {"ids": list(range(SLOW_POINTS)), "vectors": [[1]] * SLOW_POINTS,
             "payloads": [{"n": i} for i in range(SLOW_POINTS)]}
    http1(port, "PUT", path + "/points?wait=true", json.dumps({"batch": batch}).encode())
    try:
        return work(port, path)
    finally:
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
    one = pb_len(2, pb_len(1, "slow-grpc"), pb_len(5, condition))
    return slow_collection(nodes, "slow-grpc", lambda port, path: grpc(
        nodes["main"].grpc, "Points/QueryBatch",
        pb_len(1, "slow-grpc") + one * 1000 + pb_int(4, 1)))


rows(
    "points",
    ("a read that takes longer than its timeout",
     Do("HTTP/1.1", lambda nodes: slow_collection(nodes, "slow-read", slow_batch)), 408, "Timeout: ", True),
    ("a write that takes longer than its timeout",
     Do("HTTP/1.1", lambda nodes: slow_collection(nodes, "slow-write", slow_delete)), 408,
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
