"""Rows of `make bad-input` for what requests on points may say beside their points: conditions,
order, facets, deadlines, limits of a collection. The classes are those of bad_input_rows."""

from bad_input_rows import (FORMAT, GOOD, INVALID, POINTS, Rest, pb_point, point, post, put, rows, upsert)
from wire_client import pb_int, pb_len


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
