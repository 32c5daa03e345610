"""The requests of `parity`: seeded, over all that is done with points and collections, most of them
good, one in six with something wrong in it."""

import parity_wire as wire

NAMED, STRICT = "named_@", "strict_@"
UUIDS = [f"0b1d8a7e-4f53-4c2e-9d5c-{i:012x}" for i in range(10)]
SIZES = {"v": 4, "c": 3, "m": 2}
FIELDS = ["n", "f", "word", "flag", "list", "obj.a", "when", "id"]
INDEXES = {"n": "integer", "f": "float", "word": "keyword", "flag": "bool", "when": "datetime",
           "id": "uuid", "obj.a": "integer", "list": "keyword"}
TYPES = ["keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid"]


class Request:  # pylint: disable=too-few-public-methods
    def __init__(self, kind, rest, call, message, result):
        self.kind, self.call, self.message, self.result = kind, call, message, result
        self.method, self.path, self.body = rest


class Requests:
    def __init__(self, rng, shards=1):
        self.rng = rng
        self.shards = shards  # of the collections on the gRPC side; the others have one
        self.kinds = [
            (self.upsert, 18), (self.delete, 4), (self.update_vectors, 6),
            (self.delete_vectors, 4), (self.set_payload, 8), (self.overwrite, 3),
            (self.delete_payload, 4), (self.clear, 2), (self.batch, 6), (self.index, 5),
            (self.drop_index, 2), (self.get, 8), (self.scroll, 10), (self.count, 8),
            (self.facet, 8), (self.query, 16), (self.query_batch, 3), (self.collection, 5),
            (self.info, 3)]

    # ---- choices ----

    def most(self, n):
        """Of points (or operations) of which one that fails keeps the others from being changed: in
        one shard, not over several."""
        return n if self.shards == 1 else 2

    def often(self, n):
        return self.rng.randrange(n) != 0

    def rarely(self, n):
        return self.rng.randrange(n) == 0

    def name(self):
        return "none_@" if self.rarely(60) else NAMED if self.often(4) else STRICT

    def ident(self):
        return self.rng.choice(UUIDS) if self.rarely(4) else self.rng.randrange(1, 60)

    def ids(self, most=4):
        return [self.ident() for _ in range(self.rng.randrange(1, most))]

    def floats(self, n):
        n += self.rarely(40)
        return [self.rng.randrange(-40, 40) / 8 for _ in range(n)]

    def one_vector(self, name):
        if name == "s":
            n = self.rng.randrange(0, 4)
            indices = self.rng.sample(range(50), n)
            return {"indices": indices, "values": self.floats(n)[:n]}
        if name == "m":
            return [self.floats(2)[:2] for _ in range(self.rng.randrange(1, 4))]
        return self.floats(SIZES[name])

    def vectors(self, collection):
        if collection != NAMED:
            return self.floats(4)
        names = [n for n in "vcms" if self.rng.randrange(3)]
        out = {n: self.one_vector(n) for n in names}
        if self.rarely(60):
            out["nothing"] = [1.0]
        return out

    def scalar(self):
        r = self.rng
        return r.choice([None, True, False, r.randrange(-3, 9), r.randrange(8) / 4, "red", "blue",
                         "", r.choice(UUIDS), "2024-01-0%dT00:00:00Z" % r.randrange(1, 9)])

    def payload(self):
        r = self.rng
        out = {}
        if self.often(3):
            out["n"] = r.randrange(0, 9)
        if self.rarely(2):
            out["f"] = r.randrange(20) / 4
        if self.often(3):
            out["word"] = r.choice(["red", "green", "blue"])
        if self.rarely(3):
            out["flag"] = bool(r.randrange(2))
        if self.rarely(3):
            out["list"] = [self.scalar() for _ in range(r.randrange(4))]
        if self.rarely(3):
            out["obj"] = {"a": r.randrange(4), "b": [{"c": self.scalar()}]}
        if self.rarely(3):
            out["when"] = "2024-01-0%dT10:00:00Z" % r.randrange(1, 9)
        if self.rarely(4):
            out["id"] = r.choice(UUIDS)
        if self.rarely(6):
            out[r.choice(["x", "word", "n", "ключ"])] = self.scalar()
        return out

    def condition(self, depth):
        r = self.rng
        key = r.choice(FIELDS)
        kind = r.randrange(10)
        if kind == 0:
            return {"has_id": self.ids(6)}
        if kind == 1:
            return {"is_empty": {"key": key}}
        if kind == 2:
            return {"is_null": {"key": key}}
        if kind == 3 and depth < 2:
            return self.filter(depth + 1)
        if kind == 4:
            bounds = r.sample(["lt", "gt", "lte", "gte"], r.randrange(1, 3))
            return {"key": key, "range": {b: float(r.randrange(9)) for b in bounds}}
        if kind == 5:
            return {"key": key, "values_count": {"gte": r.randrange(3)}}
        if kind == 6:
            words = r.sample(["red", "green", "blue"], r.randrange(1, 3))
            return {"key": key, "match": {r.choice(["any", "except"]): words}}
        if kind == 7 and depth < 2:
            return {"nested": {"key": "obj.b", "filter": {"must": [
                {"key": "c", "match": {"value": r.choice(["red", 3, True])}}]}}}
        return {"key": key, "match": {"value": r.choice(["red", "blue", 1, 5, True, UUIDS[1]])}}

    def filter(self, depth=0):
        out = {}
        for part in ("must", "should", "must_not"):
            if self.rarely(2):
                out[part] = [self.condition(depth) for _ in range(self.rng.randrange(1, 3))]
        if self.rarely(10):
            out["min_should"] = {"conditions": [self.condition(depth) for _ in range(3)],
                                 "min_count": self.rng.randrange(1, 4)}
        return out

    def maybe_filter(self, n=2):
        return self.filter() if self.rarely(n) else None

    def selector(self):
        return {"filter": self.filter()} if self.rarely(3) else {"points": self.ids(self.most(4))}

    def limit(self):
        return self.rng.choice([1, 2, 3, 7, 20, 100]) if self.often(25) else self.rng.choice(
            [0, 200000, 1 << 40])

    def shown(self):
        r = self.rng
        return {"with_payload": r.choice([True, False, ["n", "obj.a"], {"exclude": ["word"]}]),
                "with_vector": r.choice([True, False, ["v", "s"]])}

    # ---- requests ----

    def make(self, kind, method, where, body, call, message, result):
        """where: (collection, path behind it)"""
        message = dict(message, collection_name=where[0])
        return Request(kind, (method, f"/collections/{where[0]}{where[1]}", body), call, message,
                       result)

    def one(self):
        makers = [k for k, _ in self.kinds]
        return self.rng.choices(makers, [w for _, w in self.kinds])[0]()

    def write(self, kind, method, where, body, call, message):
        return self.make(kind, method, (where[0], where[1] + "?wait=true"), body, call,
                         dict(message, wait=True), wire.status)

    def upsert_body(self, c):
        body = {"points": [{"id": self.ident(), "vector": self.vectors(c),
                            "payload": self.payload()}
                           for _ in range(self.rng.randrange(0, 5))]}
        if self.rarely(4):
            body["update_filter"] = self.filter()
        if self.rarely(4):
            body["update_mode"] = self.rng.choice(["upsert", "insert_only", "update_only"])
        return body

    @staticmethod
    def upsert_message(body):
        modes = {"upsert": "Upsert", "insert_only": "InsertOnly", "update_only": "UpdateOnly"}
        return wire.renamed(body, update_filter=wire.where, update_mode=modes.get,
                            points=lambda ps: [{"id": wire.point_id(p["id"]),
                                                "vectors": wire.vectors(p["vector"]),
                                                "payload": wire.payload(p["payload"])}
                                               for p in ps])

    def upsert(self):
        c = self.name()
        body = self.upsert_body(c)
        return self.write("upsert", "PUT", (c, "/points"), body, "Points/Upsert",
                          self.upsert_message(body))

    def delete(self):
        s = self.selector()
        return self.write("delete", "POST", (self.name(), "/points/delete"), s, "Points/Delete",
                          {"points": wire.selector(s)})

    def vectors_body(self, c):
        body = {"points": [{"id": self.ident(), "vector": self.vectors(c)}
                           for _ in range(self.rng.randrange(0, self.most(3)))]}
        if self.rarely(3):
            body["update_filter"] = self.filter()
        return body

    @staticmethod
    def vectors_message(body):
        return wire.renamed(body, update_filter=wire.where,
                            points=lambda ps: [{"id": wire.point_id(p["id"]),
                                                "vectors": wire.vectors(p["vector"])}
                                               for p in ps])

    def update_vectors(self):
        c = self.name()
        body = self.vectors_body(c)
        return self.write("update vectors", "PUT", (c, "/points/vectors"), body,
                          "Points/UpdateVectors", self.vectors_message(body))

    def delete_vectors(self):
        s = self.selector()
        names = self.rng.sample(["v", "c", "m", "s", "nothing"], self.rng.randrange(0, 3))
        return self.write("delete vectors", "POST", (self.name(), "/points/vectors/delete"),
                          dict(s, vector=names), "Points/DeleteVectors",
                          {"points_selector": wire.selector(s), "vectors": {"names": names}})

    def payload_parts(self, key):
        s = self.selector()
        body = dict(s, payload=self.payload())
        message = {"points_selector": wire.selector(s), "payload": wire.payload(body["payload"])}
        if key and self.rarely(4):
            body["key"] = message["key"] = self.rng.choice(["obj", "obj.b[0]", "x.y", "a[", ""])
        return body, message

    def set_payload(self):
        body, message = self.payload_parts(True)
        return self.write("set payload", "POST", (self.name(), "/points/payload"), body,
                          "Points/SetPayload", message)

    def overwrite(self):
        body, message = self.payload_parts(False)
        return self.write("overwrite payload", "PUT", (self.name(), "/points/payload"), body,
                          "Points/OverwritePayload", message)

    def delete_payload(self):
        s = self.selector()
        keys = self.rng.sample(["n", "word", "obj.a", "list[]", "x"], self.rng.randrange(0, 3))
        return self.write("delete payload", "POST", (self.name(), "/points/payload/delete"),
                          dict(s, keys=keys), "Points/DeletePayload",
                          {"points_selector": wire.selector(s), "keys": keys})

    def clear(self):
        s = self.selector()
        return self.write("clear payload", "POST", (self.name(), "/points/payload/clear"), s,
                          "Points/ClearPayload", {"points": wire.selector(s)})

    def operation(self, c):
        kind = self.rng.randrange(5)
        if kind == 0:
            body = self.upsert_body(c)
            return {"upsert": body}, {"upsert": self.upsert_message(body)}
        if kind == 1:
            body = self.vectors_body(c)
            return {"update_vectors": body}, {"update_vectors": self.vectors_message(body)}
        if kind == 2:
            body, message = self.payload_parts(True)
            return {"set_payload": body}, {"set_payload": message}
        s = self.selector()
        if kind == 3:
            return {"delete": s}, {"delete_points": {"points": wire.selector(s)}}
        return {"clear_payload": s}, {"clear_payload": {"points": wire.selector(s)}}

    def batch(self):
        c = self.name()
        pairs = [self.operation(c) for _ in range(self.rng.randrange(1, self.most(4)))]
        return self.make("batch", "POST", (c, "/points/batch?wait=true"),
                         {"operations": [a for a, _ in pairs]}, "Points/UpdateBatch",
                         {"operations": [b for _, b in pairs], "wait": True}, wire.statuses)

    def index(self):
        field = self.rng.choice(list(INDEXES))
        kind = INDEXES[field] if self.often(10) else self.rng.choice(TYPES)
        return self.write("create index", "PUT", (self.name(), "/index"),
                          {"field_name": field, "field_schema": kind}, "Points/CreateFieldIndex",
                          {"field_name": field, "field_type": "FieldType" + kind.capitalize()})

    def drop_index(self):
        field = self.rng.choice(FIELDS)
        return self.write("delete index", "DELETE", (self.name(), "/index/" + field), None,
                          "Points/DeleteFieldIndex", {"field_name": field})

    def read(self, kind, where, body, call, result):
        return self.make(kind, "POST", (self.name(), where), body, call, wire.read_body(body),
                         result)

    def get(self):
        return self.read("get", "/points", dict(self.shown(), ids=self.ids(8)), "Points/Get",
                         wire.points)

    def order(self):
        r = self.rng
        out = {"key": r.choice(["n", "f", "when", "obj.a", "word"])}
        if self.rarely(2):
            out["direction"] = r.choice(["asc", "desc"])
        if self.rarely(2):
            out["start_from"] = r.choice([3, 2.5, "2024-01-04T00:00:00Z"])
        return out

    def scroll(self):
        body = dict(self.shown(), limit=self.limit(), filter=self.maybe_filter())
        if self.rarely(2):
            body["order_by"] = self.order()
        offset = self.ident() if self.rarely(5) else None
        body = {k: v for k, v in body.items() if v is not None}
        r = self.read("scroll", "/points/scroll", body, "Points/Scroll", wire.scrolled)
        if offset is not None:
            r.body["offset"], r.message["offset"] = offset, wire.point_id(offset)
        if body["limit"] >= 1 << 32:  # 32 bits there
            r.body["limit"] = r.message["limit"] = 4000000000
        return r

    def count(self):
        body = {"exact": bool(self.rng.randrange(2)), "filter": self.filter()}
        return self.read("count", "/points/count", body, "Points/Count", wire.counted)

    def facet(self):
        body = {"key": self.rng.choice(FIELDS), "limit": self.limit(), "exact": True}
        if self.rarely(2):
            body["filter"] = self.filter()
        return self.read("facet", "/facet", body, "Points/Facet", wire.facets)

    def query_body(self):
        r = self.rng
        using = r.choice(["v", "c", None])
        kind = r.randrange(8)
        body = dict(self.shown(), limit=self.limit(), filter=self.maybe_filter(), using=using)
        if kind < 4:
            body["query"] = self.floats(SIZES.get(using, 4))
        elif kind < 6:
            body["query"] = self.ident()
        elif kind == 6:
            body["query"] = {"order_by": self.order()}
        if self.rarely(5):
            body["offset"] = r.randrange(4)
        if self.rarely(5):
            body["score_threshold"] = r.randrange(-8, 8) / 2
        if self.rarely(4):  # at least as many as there are points: two graphs differ below that
            body["params"] = {"exact": bool(r.randrange(2)), "hnsw_ef": r.choice([128, 250, 1 << 20])}
        if self.rarely(6):
            body.setdefault("params", {})["quiver"] = {"recall_target": r.choice([0.9, 1.0, 0.0]),
                                                       "explain": bool(r.randrange(2))}
        if self.rarely(4):
            body.setdefault("params", {})["quantization"] = {
                "ignore": bool(r.randrange(2)), "rescore": bool(r.randrange(2)),
                "oversampling": r.choice([0.5, 1.0, 1.5, 20.0])}
        return {k: v for k, v in body.items() if v is not None}

    def query(self):
        if self.rarely(20):
            return self.read("sample", "/points/query", {"query": {"sample": "random"}},
                             "Points/Query", wire.how_many)
        return self.read("query", "/points/query", self.query_body(), "Points/Query", wire.found)

    def query_batch(self):
        c = self.name()
        bodies = [self.query_body() for _ in range(self.rng.randrange(1, 4))]
        return self.make("query batch", "POST", (c, "/points/query/batch"), {"searches": bodies},
                         "Points/QueryBatch",
                         {"query_points": [dict(wire.read_body(b), collection_name=c)
                                           for b in bodies]}, wire.found_batch)

    def collection(self):
        r = self.rng
        kind = r.randrange(4)
        name = r.choice([NAMED, "none_@", "other_@", "other_@"])
        if kind == 0:
            return self.make("exists", "GET", (name, "/exists"), None,
                             "Collections/CollectionExists", {}, wire.exists)
        if kind == 1:
            name = "other_@" if name == NAMED else name
            return self.make("drop", "DELETE", (name, ""), None, "Collections/Delete", {},
                             wire.done)
        size = r.choice([4, 4, 4, 0, 100000])
        return self.create(name, {"size": size, "distance": r.choice(["Dot", "Cosine", "Euclid"])},
                           None)

    def create(self, name, vector, strict):
        body = {"vectors": vector}
        message = {"vectors_config": {"params": vector}}
        if self.rarely(2):
            q = {"quantile": self.rng.choice([0.5, 1.0, 0.25])} if self.rarely(2) else {}
            body["quantization_config"] = {"scalar": dict(q, type="int8")}
            message["quantization_config"] = {"scalar": dict(q, type="Int8")}
        if strict is not None:
            body["strict_mode_config"] = message["strict_mode_config"] = strict
        if self.shards > 1:
            message["shard_number"] = self.shards
        return self.make("create", "PUT", (name, ""), body, "Collections/Create", message,
                         wire.done)

    def info(self):
        return self.make("info", "GET", (self.name(), ""), None, "Collections/Get", {}, wire.info)

    # ---- the frame ----

    def set_up(self):
        """The two collections: one of named vectors, one whose strict mode is on."""
        named = {"v": {"size": 4, "distance": "Dot"}, "c": {"size": 3, "distance": "Cosine"}}
        multi = {"size": 2, "distance": "Dot"}
        body = {"vectors": dict(named, m=dict(multi, multivector_config={
            "comparator": "max_sim"})), "sparse_vectors": {"s": {}}}
        message = {"vectors_config": {"params_map": {"map": dict(named, m=dict(
            multi, multivector_config={"comparator": "MaxSim"}))}},
                   "sparse_vectors_config": {"map": {"s": {}}}}
        body["quantization_config"] = {"scalar": {"type": "int8"}}
        message["quantization_config"] = {"scalar": {"type": "Int8"}}
        if self.shards > 1:
            message["shard_number"] = self.shards
        yield self.make("create", "PUT", (NAMED, ""), body, "Collections/Create", message,
                        wire.done)
        yield self.create(STRICT, {"size": 4, "distance": "Euclid"}, {
            "enabled": True, "max_query_limit": 20, "upsert_max_batchsize": 3,
            "unindexed_filtering_retrieve": False, "search_max_hnsw_ef": 200,
            "filter_max_conditions": 4, "max_points_count": 40})

    def everything(self):
        """All that the collections hold."""
        for name in (NAMED, STRICT):
            body = {"limit": 20 if name == STRICT else 1000, "with_payload": True,
                    "with_vector": True}
            yield self.make("everything", "POST", (name, "/points/scroll"), body, "Points/Scroll",
                            wire.read_body(body), wire.scrolled)
