"""One meaning, two forms: pieces of requests as REST has them to their gRPC twins, and answers of
both to one plain form that can be compared."""

import struct

REST, GRPC = "rest", "grpc"


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


# ---- requests: REST -> gRPC ----


def value(v):
    if v is None:
        return {"null_value": 0}
    if isinstance(v, bool):
        return {"bool_value": v}
    if isinstance(v, int):
        return {"integer_value": v}
    if isinstance(v, float):
        return {"double_value": v}
    if isinstance(v, str):
        return {"string_value": v}
    if isinstance(v, list):
        return {"list_value": {"values": [value(x) for x in v]}}
    return {"struct_value": {"fields": payload(v)}}


def payload(p):
    return {k: value(v) for k, v in (p or {}).items()}


def point_id(i):
    return {"num": i} if isinstance(i, int) else {"uuid": i}


def vector(v):
    if isinstance(v, dict):
        return {"sparse": {"indices": v["indices"], "values": v["values"]}}
    if v and isinstance(v[0], list):
        return {"multi_dense": {"vectors": [{"data": row} for row in v]}}
    return {"dense": {"data": v}}


def vectors(v):
    if isinstance(v, dict):
        return {"vectors": {"vectors": {name: vector(x) for name, x in v.items()}}}
    return {"vector": vector(v)}


def match(m):
    kind, v = next(iter(m.items()))
    if kind == "value":
        name = "boolean" if isinstance(v, bool) else "integer" if isinstance(v, int) else "keyword"
        return {name: v}
    if kind in ("any", "except"):
        words = bool(v) and isinstance(v[0], str)
        name = ("" if kind == "any" else "except_") + ("keywords" if words else "integers")
        return {name: {"strings" if words else "integers": v}}
    return {kind: v}


def condition(c):
    if "key" in c:
        out = dict(c)
        if "match" in c:
            out["match"] = match(c["match"])
        return {"field": out}
    if "has_id" in c:
        return {"has_id": {"has_id": [point_id(i) for i in c["has_id"]]}}
    if "nested" in c:
        return {"nested": {"key": c["nested"]["key"], "filter": where(c["nested"]["filter"])}}
    if "has_vector" in c:
        return {"has_vector": {"has_vector": c["has_vector"]}}
    if "is_empty" in c or "is_null" in c:
        return c
    return {"filter": where(c)}


def where(f):
    if f is None:
        return None
    out = {k: [condition(c) for c in f[k]] for k in ("must", "should", "must_not") if k in f}
    if "min_should" in f:
        out["min_should"] = {"conditions": [condition(c) for c in f["min_should"]["conditions"]],
                             "min_count": f["min_should"]["min_count"]}
    return out


def selector(s):
    if "points" in s:
        return {"points": {"ids": [point_id(i) for i in s["points"]]}}
    return {"filter": where(s["filter"])}


def with_payload(w):
    if isinstance(w, bool):
        return {"enable": w}
    if isinstance(w, list):
        return {"include": {"fields": w}}
    return {"exclude": {"fields": w["exclude"]}}


def with_vector(w):
    return {"enable": w} if isinstance(w, bool) else {"include": {"names": w}}


def order_by(o):
    out = {"key": o["key"]}
    if "direction" in o:
        out["direction"] = "Desc" if o["direction"] == "desc" else "Asc"
    if "start_from" in o:
        v = o["start_from"]
        kind = "datetime" if isinstance(v, str) else "float" if isinstance(v, float) else "integer"
        out["start_from"] = {kind: v}
    return out


def query(q):
    if isinstance(q, (int, str)):
        return {"nearest": {"id": point_id(q)}}
    if isinstance(q, list):
        return {"nearest": vector(q)}
    if "order_by" in q:
        return {"order_by": order_by(q["order_by"])}
    if "sample" in q:
        return {"sample": 0}
    return {"nearest": vector(q)}


def renamed(body, **how):
    """The fields of a body, each by its converter: a function, or (new name, function)."""
    out = {}
    for k, v in body.items():
        to = how.get(k, lambda x: x)
        name, f = to if isinstance(to, tuple) else (k, to)
        if v is not None:
            out[name] = f(v)
    return out


def read_body(body):
    return renamed(body, filter=where, query=query, with_payload=with_payload,
                   with_vector=("with_vectors", with_vector), order_by=order_by,
                   offset=lambda o: o, ids=lambda ids: [point_id(i) for i in ids])


# ---- answers -> one form ----


def plain_value(v):
    if not v or "null_value" in v:
        return None
    kind, x = next(iter(v.items()))
    if kind == "list_value":
        return [plain_value(i) for i in x.get("values", [])]
    if kind == "struct_value":
        return {k: plain_value(i) for k, i in x.get("fields", {}).items()}
    return x


def plain_id(i):
    return i.get("num", 0) if "uuid" not in i else i["uuid"]


def plain_vector(v):
    if "sparse" in v:
        return {"indices": v["sparse"].get("indices", []), "values": v["sparse"].get("values", [])}
    if "multi_dense" in v:
        return [row.get("data", []) for row in v["multi_dense"].get("vectors", [])]
    return v.get("dense", {}).get("data", [])


def single(v):
    """Elements as the 32 bits that they are."""
    if isinstance(v, dict):
        return {"indices": v["indices"], "values": [f32(x) for x in v["values"]]}
    return [single(x) if isinstance(x, list) else f32(x) for x in v]


def is_vector(v):
    return isinstance(v, list) or set(v) == {"indices", "values"}


def point(p, form):
    out = {}
    if form == REST:
        out["id"] = p["id"]
        body, vecs, order = p.get("payload"), p.get("vector"), p.get("order_value")
        if vecs is not None:
            vecs = {"": single(vecs)} if is_vector(vecs) else {k: single(v)
                                                               for k, v in vecs.items()}
    else:
        out["id"] = plain_id(p["id"])
        body = {k: plain_value(v) for k, v in p.get("payload", {}).items()}
        order = next(iter(p.get("order_value", {}).values()), None)
        vecs = p.get("vectors", {})
        if "vector" in vecs:
            vecs = {"": single(plain_vector(vecs["vector"]))}
        else:
            vecs = {k: single(plain_vector(v))
                    for k, v in vecs.get("vectors", {}).get("vectors", {}).items()}
    out["payload"], out["vectors"] = body or {}, vecs or {}
    if "score" in p:
        out["score"] = f32(p["score"])
    if order is not None:
        out["order_value"] = order
    return out


def points(r, form):
    return [point(p, form) for p in (r if form == REST else r.get("result", []))]


def scrolled(r, form):
    if form == REST:
        return points(r["points"], form), r.get("next_page_offset")
    page = r.get("next_page_offset")
    return points(r, form), None if page is None else plain_id(page)


def plan(r):
    """What two equal collections agree on: their graphs may have been built in another order."""
    if "quiver" not in r:
        return None
    told = r["quiver"]["plan"]
    rows = told.get("filter", {})
    return (sorted(set(told) - {"expected_us", "shards"}), sorted(rows), rows.get("points"),
            rows.get("passing"))


def found(r, form):
    return points(r["points"] if form == REST else r, form), plan(r)


def how_many(r, form):
    return len(found(r, form)[0])


def found_batch(r, form):
    return [found(q, form) for q in (r if form == REST else r.get("result", []))]


def counted(r, form):
    return r["count"] if form == REST else r["result"].get("count", 0)


def facets(r, form):
    if form == REST:
        return [(h["value"], h["count"]) for h in r["hits"]]
    return [(next(iter(h["value"].values())), h.get("count", 0)) for h in r.get("hits", [])]


def status(r, form):
    return r["status"] if form == REST else r["result"]["status"].lower()


def statuses(r, form):
    if form == REST:
        return [x["status"] for x in r]
    return [x["status"].lower() for x in r.get("result", [])]


def done(r, form):
    return r if form == REST else r.get("result", False)


def exists(r, form):
    return r["exists"] if form == REST else r["result"].get("exists", False)


def info(r, form):
    if form == GRPC:
        r = r["result"]
        schema = {k: (v["data_type"].lower(), v.get("points", 0))
                  for k, v in r.get("payload_schema", {}).items()}
        return r.get("points_count", 0), schema
    return r["points_count"], {k: (v["data_type"], v["points"])
                               for k, v in r["payload_schema"].items()}
