"""Rows of `make bad-input` for conditions of filters and for the options of text indexes. The
classes are those of bad_input_rows."""

from bad_input_rows import (FORMAT, INVALID, KNOWN, NEAREST, QUERY, SCROLL, VALIDATION, WRONG, Grpc,
                            Rest, grpc_query, post, rows, with_filter)
from wire_client import pb_f64, pb_int, pb_len


def on_a(predicate):
    return post(QUERY, with_filter('{"key":"a",' + predicate + "}"))


def place(lon, lat):
    return f'{{"lon":{lon},"lat":{lat}}}'


def ring(*points):
    return '{"points":[' + ",".join(place(*p) for p in points) + "]}"


def polygon(exterior, more=""):
    return on_a('"geo_polygon":{"exterior":' + exterior + more + "}")


def index(options):
    return Rest("PUT", "/collections/known/index",
                '{"field_name":"words","field_schema":{"type":"text"' + options + "}}")


SQUARE = ring((0, 0), (9, 0), (9, 9), (0, 9), (0, 0))
TIME = "does not match accepted datetime format (RFC3339). Example: 2014-01-01T00:00:00Z"
PLACE = "Wrong format of GeoPoint payload: expected `lat` = "

rows(
    "filters",
    ("a time that is none", on_a('"range":{"gt":"2023-13-01"}'), 400, FORMAT + "'2023-13-01' " + TIME),
    ("a time with an hour of 25", on_a('"range":{"gt":"2023-02-08T25:00:00Z"}'), 400, TIME),
    ("a time of 1 MB", on_a('"range":{"gt":"' + "9" * 1000000 + '"}'), 400, TIME),
    ("a time and a number", on_a('"range":{"gt":"2023-01-01","lt":5}'), 400,
     FORMAT + "invalid type: integer `5`, expected a string"),
    ("a time as values_count", on_a('"values_count":{"gt":"2023-01-01"}'), 400, FORMAT),
    ("a time that is fine", on_a('"range":{"gt":"2023-01-01"}'), 200, ""),
    ("a radius without its center", on_a('"geo_radius":{"radius":1}'), 400, "missing field `center`"),
    ("a radius that is a text", on_a('"geo_radius":{"center":' + place(1, 1) + ',"radius":"1"}'), 400,
     FORMAT),
    ("a longitude of 181", on_a('"geo_radius":{"center":' + place(181, 1) + ',"radius":1}'), 400,
     FORMAT + PLACE + "1 within [-90;90] and `lon` = 181 within [-180;180]"),
    ("a latitude of -90.5", on_a('"geo_bounding_box":{"top_left":' + place(1, -90.5)
                                 + ',"bottom_right":' + place(1, 1) + "}"), 400, PLACE + "-90.5"),
    ("a latitude of 1e308", on_a('"geo_radius":{"center":' + place(1, "1e308") + ',"radius":1}'), 400,
     PLACE),
    ("a place without latitude", on_a('"geo_radius":{"center":{"lon":1},"radius":1}'), 400,
     "missing field `lat`"),
    ("a place that is a list", on_a('"geo_radius":{"center":[1,1],"radius":1}'), 400, FORMAT),
    ("half a box", on_a('"geo_bounding_box":{"top_left":' + place(1, 1) + "}"), 400,
     "missing field `bottom_right`"),
    ("a ring of three", polygon(ring((0, 0), (1, 0), (0, 0))), 400,
     FORMAT + "polygon invalid, the size must be at least 4, got 3"),
    ("a ring that is open", polygon(ring((0, 0), (1, 0), (1, 1), (0, 1))), 400,
     "the first and the last points should be the same to form a closed line"),
    ("a hole that is open", polygon(SQUARE, ',"interiors":[' + ring((1, 1), (2, 1), (2, 2), (1, 2)) + "]"),
     400, "the first and the last points should be the same"),
    ("a polygon without exterior", on_a('"geo_polygon":{"interiors":[]}'), 400, "missing field `exterior`"),
    ("a polygon of 70,000 points", polygon(ring(*[(i % 90, i % 80) for i in range(70000)])), 413, ""),
    ("a polygon with 5,000 holes", polygon(SQUARE, ',"interiors":[' + ",".join([ring((1, 1), (2, 1), (2, 2), (1, 1))]
                                                                         * 5000) + "]"), 413, ""),
    ("a polygon of 60,000 points is fine", polygon(ring(*[(i % 90, i % 80) for i in range(59999)] + [(0, 0)])),
     200, ""),
    ("text that is a number", on_a('"match":{"text":5}'), 400, FORMAT + "invalid type: integer `5`"),
    ("phrase that is null", on_a('"match":{"phrase":null}'), 400, FORMAT),
    ("prefix that is a list", on_a('"match":{"prefix":["a"]}'), 400, FORMAT),
    ("text of 1 MB", on_a('"match":{"text":"' + "ab " * 350000 + '"}'), 200, ""),
    ("slice of 0", post(SCROLL, '{"filter":{"must":[{"slice":{"total":0,"index":0}}]}}'), 400,
     "invalid value: integer `0`, expected a nonzero u32"),
    ("slice 2 of 2", post(SCROLL, '{"filter":{"must":[{"slice":{"total":2,"index":2}}]}}'), 422,
     VALIDATION + "filter.slice.index: must be less than total (2)"),
    ("slice without index", post(SCROLL, '{"filter":{"must":[{"slice":{"total":2}}]}}'), 400,
     "missing field `index`"),
    ("slice -1", post(SCROLL, '{"filter":{"must":[{"slice":{"total":2,"index":-1}}]}}'), 400, FORMAT),
    ("a text index by klingons", index(',"tokenizer":"klingon"'), 400,
     WRONG + "field_schema.tokenizer: unknown tokenizer 'klingon'"),
    ("stop words of no language", index(',"stopwords":"klingon"'), 400,
     "no list for language 'klingon'; there are danish"),
    ("stop words that are numbers", index(',"stopwords":{"custom":[1]}'), 400, "not a text"),
    ("20,000 stop words", index(',"stopwords":{"custom":[' + ",".join(f'"w{i}"' for i in range(20000)) + "]}"),
     400, "more than 10000"),
    ("a stemmer of no language", index(',"stemmer":{"type":"snowball","language":"klingon"}'), 400,
     "no stemmer for language 'klingon'"),
    ("tokens of at least 5 and at most 4", index(',"min_token_len":5,"max_token_len":4'), 400,
     "less than min_token_len"),
    ("lowercase that is a text", index(',"lowercase":"yes"'), 400, "field_schema.lowercase: wrong type"),
    ("a text index that is fine", index(',"phrase_matching":true'), 200, ""),
    ("1,025 words to match", post(QUERY, with_filter('{"key":"words","match":{"text":"'
                                  + " ".join(f"w{i}" for i in range(1025)) + '"}}')), 400,
     WRONG + "a text to match has at most 1024 tokens"),
    ("a text index goes again", Rest("DELETE", "/collections/known/index/words"), 200, ""),
)


def grpc_filter(*predicates):
    return grpc_query(NEAREST, pb_len(5, pb_len(2, pb_len(1, pb_len(1, "a"), *predicates))))


def pb_place(lon, lat):
    return pb_f64(1, lon) + pb_f64(2, lat)


rows(
    "filters",
    ("gRPC: a box of one corner", grpc_filter(pb_len(4, pb_len(1, pb_place(1, 1)))), INVALID,
     "geo_bounding_box.bottom_right is missing"),
    ("gRPC: a longitude of NaN", grpc_filter(pb_len(5, pb_len(1, pb_place(float("nan"), 1)))), INVALID, PLACE),
    ("gRPC: a radius of NaN", grpc_filter(pb_len(5, pb_len(1, pb_place(1, 1)), b"\x15\x00\x00\xc0\x7f")), INVALID,
     "geo_radius.radius is not a number"),
    ("gRPC: a ring of one", grpc_filter(pb_len(7, pb_len(1, pb_len(1, pb_place(1, 1))))), INVALID,
     "polygon invalid, the size must be at least 4, got 1"),
    ("gRPC: a polygon of nothing", grpc_filter(pb_len(7, b"")), INVALID, "geo_polygon.exterior is missing"),
    ("gRPC: 2^62 seconds", grpc_filter(pb_len(8, pb_len(1, pb_int(1, 1 << 62)))), INVALID,
     "Unable to parse timestamp"),
    ("gRPC: 2^31 - 1 nanoseconds", grpc_filter(pb_len(8, pb_len(1, pb_int(2, (1 << 31) - 1)))), INVALID,
     "Unable to parse timestamp"),
    ("gRPC: range and datetime_range", grpc_filter(pb_len(3, b""), pb_len(8, b"")), INVALID,
     "range and datetime_range exclude each other"),
    ("gRPC: a slice of 0", grpc_query(NEAREST, pb_len(5, pb_len(2, pb_len(8, b"")))), INVALID,
     "filter.slice.total: must be at least 1"),
    ("gRPC: a tokenizer that is unknown", Grpc("Points/CreateFieldIndex", KNOWN + pb_int(2, 1) + pb_len(3, "words")
                                               + pb_int(4, 4) + pb_len(5, pb_len(1, pb_int(1, 0)))), INVALID,
     "unknown tokenizer 'unknown'"),
)
