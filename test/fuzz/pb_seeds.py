#!/usr/bin/env python3
"""Writes the seeds call-* of the fuzz target pb: test/fuzz/pb_seeds.py.

A seed is the number that fuzz_pb.c gives a call, and the call's message. For each call: requests of
the kind that `make parity` compares, and messages made at random from our .proto files, in which the
fields with a meaning of their own get values that mean something. Told once more by the codec of the
parity test, not by what it tests. The result is committed, beside what fuzzing found (named by its
hash). --check: says what is not up to date instead of writing.
"""

import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
FOLDER = os.path.join(HERE, "corpus", "pb")
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True
from parity_requests import Requests  # noqa: E402  pylint: disable=wrong-import-position
from proto_codec import Schema  # noqa: E402  pylint: disable=wrong-import-position

REQUESTS, RANDOM, POINTS = 4, 10, 12  # seeds of each call and kind; points read in two ways
BYTES_MAX = 4096
INTEGERS = [0, 1, 1, 2, 3, 8, 100, 100_000, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1]
WORDS = ["a", "red", "n", "", "ключ", "x" * 300]
# what a field of that name holds; None: any of its kind
MEANINGS = {
    "collection_name": ["c", "c", "c", "", "x" * 256], "uuid": ["0b1d8a7e-4f53-4c2e-9d5c-0123456789ab"],
    "key": ["n", "obj.a", "list[]", "a[", "obj.b[0].c"], "lat": [52.5, -90.0, 0.0, 91.0],
    "lon": [13.4, 180.0, -170.5, 200.0], "language": ["english", "german", "none"],
    "languages": ["english", "klingon"], "datetime": ["2024-01-01T00:00:00Z", "yesterday"],
    "field_name": ["n", "obj.a", "a["], "limit": [1, 10, 0, 1 << 31], "seconds": [1704067200, -1],
    "nanos": [0, 999_999_999, -1], "size": [4, 1, 65536, 0], "shard_number": [1, 1, 4],
    "replication_factor": [1, 1, 3], "write_consistency_factor": [1], "total": [4, 0],
    "score_threshold": [0.5], "hnsw_ef": [64], "vector_name": ["v", ""], "using": ["v", ""],
    "oversampling": [1.5, 0.5], "recall_target": [0.95, 1.5], "snapshot_name": ["s.snapshot"],
    "wait": [True], "timeout": [5, 0], "quantile": [0.99, 0.1], "distance": [1, 2, 3, 4, 4, 9],
}
# of the API, answered 501 wherever they stand: seldom, or nothing behind them is reached
SELDOM = {"memory", "shard_key_selector", "sharding_method", "read_consistency", "prefetch",
          "lookup_from", "document", "image", "object", "recommend", "discover", "context", "fusion",
          "formula", "nearest_with_mmr", "rrf", "relevance_feedback", "product", "turboquant", "acorn",
          "idf", "payload_m", "inline_storage"}


class Messages:
    """Messages at random."""

    def __init__(self, schema, seed):
        self.schema, self.rng = schema, random.Random(seed)

    def scalar(self, f):
        r = self.rng
        if f.name in MEANINGS and r.randrange(8):
            return r.choice(MEANINGS[f.name][:2]) if r.randrange(3) else r.choice(MEANINGS[f.name])
        if f.kind == "bool":
            return r.randrange(2)
        if f.kind in ("float", "double"):
            return r.choice([0.0, 1.0, -1.5, 0.25, 1e6]) if r.randrange(40) else float("nan")
        if f.kind == "string":
            return r.choice(WORDS)
        if f.kind == "bytes":
            return r.choice(["text", "red", "a\0b", "2024-01-01T00:00:00Z"])
        return r.choice(INTEGERS[:6]) if r.randrange(6) else r.choice(INTEGERS)

    def one(self, message, f, depth):
        kind = self.schema.type_of(message, f.kind)
        if kind in self.schema.messages:
            return self.message(kind, depth + 1)
        if kind in self.schema.enums and not (f.name in MEANINGS and self.rng.randrange(8)):
            known = list(self.schema.enums[kind].values())
            return self.rng.choice(known) if self.rng.randrange(20) else 77
        return self.scalar(f)

    def wanted(self, f, depth):
        if f.name in SELDOM:
            return self.rng.randrange(30) == 0
        if f.name in ("collection_name", "vectors_config", "id", "point_id_options"):
            return self.rng.randrange(30) != 0
        return self.rng.randrange(2 if depth < 3 else 3 if depth < 6 else 6) == 0

    def message(self, name, depth=0):
        fields = list(self.schema.messages[name].values())
        out = {}
        for choice in sorted({f.choice for f in fields if f.choice}):
            likely = [f for f in fields if f.choice == choice and f.name not in SELDOM]
            of = likely if likely and self.rng.randrange(20) else [
                f for f in fields if f.choice == choice]
            f = self.rng.choice(of)
            if self.rng.randrange(15) and depth < 12:
                out[f.name] = self.one(name, f, depth)
        for f in fields:
            if f.choice or not self.wanted(f, depth) or depth >= 12:
                continue
            n = self.rng.randrange(1, 4)
            if f.key:
                out[f.name] = {self.rng.choice(["v", "n", "word", "x"]): self.one(name, f, depth)
                               for _ in range(n)}
            elif f.repeated:
                out[f.name] = [self.one(name, f, depth) for _ in range(n)]
            else:
                out[f.name] = self.one(name, f, depth)
        return out


def numbers():
    """{"Points/Upsert": its number in fuzz_pb.c}"""
    with open(os.path.join(ROOT, "src/wire/pb_method.h"), encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    calls = re.findall(r'X\((\w+), "([\w.]+)", "(\w+)",', text)
    with open(os.path.join(HERE, "fuzz_pb.c"), encoding="utf-8") as f:
        text = f.read()
    known = {call: int(n) for n, call in re.findall(r"\{(\d+), QV_PB_(\w+)\}", text)}
    assert len(calls) == len(known) == len(set(known.values()))
    two_ways = int(re.search(r"POINT_TWO_WAYS (\d+)", text)[1])
    return {f"{service.rpartition('.')[2]}/{method}": known[call]
            for call, service, method in calls}, two_ways


def seeds():
    """{file name: bytes}"""
    schema, rng, out = Schema(os.path.join(ROOT, "proto")), random.Random(1), {}
    calls, two_ways = numbers()
    make, left = Requests(rng), {call: REQUESTS for call in calls}
    requests = [*make.set_up(), *(make.one() for _ in range(600))]
    for r in requests:
        if left[r.call] > 0:
            left[r.call] -= 1
            out[f"call-{r.call}-asked-{left[r.call]}"] = (
                calls[r.call], schema.encode(schema.methods[r.call][0], r.message))
    for call, number in calls.items():
        asked = schema.methods.get(call, ("HealthCheckRequest",))[0]
        for i in range(RANDOM):
            messages = Messages(schema, f"{call} {i}")
            message = schema.encode(asked, messages.message(asked))
            out[f"call-{call}-random-{i}"] = (number, message)
    for i in range(POINTS):
        message = schema.encode("PointStruct", Messages(schema, f"point {i}").message("PointStruct"))
        out[f"point-{i}"] = (two_ways, message)
    return {name.replace("/", "-"): bytes([number]) + message
            for name, (number, message) in out.items() if len(message) <= BYTES_MAX}


def main():
    wanted = seeds()
    present = {}
    for name in os.listdir(FOLDER):
        if name.startswith(("call-", "point-")):
            with open(os.path.join(FOLDER, name), "rb") as f:
                present[name] = f.read()
    stale = sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))
    if "--check" in sys.argv[1:]:
        print(f"{len(wanted) - len(stale)} passed, {len(stale)} failed")
        sys.exit(1 if stale else 0)
    for name in stale:
        path = os.path.join(FOLDER, name)
        if name not in wanted:
            os.unlink(path)
            continue
        with open(path, "wb") as f:
            f.write(wanted[name])


if __name__ == "__main__":
    main()
