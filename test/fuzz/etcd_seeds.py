#!/usr/bin/env python3
"""Writes the seeds of fuzz_etcd: test/fuzz/corpus/etcd/. The first byte is the kind of answer."""

import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "etcd")
RANGE, TXN, WATCH, GRANT, REVOKE, KEEP, LOGIN, JUDGE = range(8)


def varint(v):
    v &= (1 << 64) - 1
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def header(cluster=7, revision=9):
    return field(1, field(1, cluster) + field(2, 1) + field(3, revision) + field(4, 2))


def kv(key, mod=3, value=b"v", lease=0):
    return field(1, key) + field(2, 2) + field(3, mod) + field(4, 1) + field(5, value) + field(6, lease)


def event(kind, *args):
    return field(11, field(1, kind) + field(2, kv(*args)))


SEEDS = {
    "range": (RANGE, header() + field(2, kv("/q/a")) + field(2, kv("/q/ab", 4, b"", 5)) + field(4, 2)),
    "range-many": (RANGE, header() + b"".join(field(2, kv(f"/q/a{i}", i + 1)) for i in range(6))),
    "range-more": (RANGE, header() + field(2, kv("/q/a1")) + field(3, 1)),
    "range-empty": (RANGE, header()),
    "range-nothing-more": (RANGE, header() + field(3, 1)),
    "range-order": (RANGE, header() + field(2, kv("/q/b")) + field(2, kv("/q/a"))),
    "range-twice": (RANGE, header() + field(2, kv("/q/a")) + field(2, kv("/q/a"))),
    "range-other": (RANGE, header() + field(2, kv("/p/a"))),
    "range-short": (RANGE, header() + field(2, kv("/q"))),
    "range-nul": (RANGE, header() + field(2, kv(b"/q/a\0"))),
    "range-long": (RANGE, header() + field(2, kv("/q/" + "a" * 257))),
    "range-no-mod": (RANGE, header() + field(2, kv("/q/a", 0))),
    "range-bad-lease": (RANGE, header() + field(2, kv("/q/a", 1, b"v", -1))),
    "no-header": (RANGE, field(2, kv("/q/a"))),
    "negative": (RANGE, header(7, -1)),
    "cut": (RANGE, header()[:-1]),
    "txn": (TXN, header() + field(2, 1)),
    "txn-no": (TXN, header()),
    "created": (WATCH, header() + field(3, 1)),
    "events": (WATCH, header() + event(0, "/q/a", 3) + event(1, "/q/a1", 4, b"") + event(0, "/q/a", 4)),
    "fragment": (WATCH, header() + field(7, 1) + event(0, "/q/a", 3)),
    "events-order": (WATCH, header() + event(0, "/q/a", 5) + event(0, "/q/a", 4)),
    "event-kind": (WATCH, header() + event(2, "/q/a", 5)),
    "event-empty": (WATCH, header() + field(11, b"")),
    "canceled": (WATCH, header() + field(4, 1) + field(6, "etcdserver: permission denied")),
    "compacted": (WATCH, header() + field(4, 1) + field(5, 8)),
    "compacted-bad": (WATCH, header() + field(4, 1) + field(5, -8)),
    "grant": (GRANT, header() + field(2, 77) + field(3, 5)),
    "grant-error": (GRANT, header() + field(4, "no")),
    "grant-none": (GRANT, header() + field(2, 77)),
    "grant-zero": (GRANT, header() + field(3, 5)),
    "grant-long": (GRANT, header() + field(2, 77) + field(3, 1 << 40)),
    "revoke": (REVOKE, header()),
    "keep": (KEEP, header() + field(2, 77) + field(3, 5)),
    "keep-ended": (KEEP, header() + field(2, 77)),
    "login": (LOGIN, header() + field(2, "abc.12")),
    "login-none": (LOGIN, header()),
    "login-bad": (LOGIN, header() + field(2, "a\nb")),
}
for name, status, text in [
        ("ok", 0, ""), ("leader", 14, "etcdserver: no leader"), ("timeout", 14, "etcdserver: request timed out"),
        ("many", 8, "etcdserver: too many requests"), ("space", 8, "mvcc: database space exceeded"),
        ("large", 8, "larger than max"), ("old", 3, "etcdserver: revision of auth store is old"),
        ("user", 3, "etcdserver: user name is empty"), ("wrong", 3, "invalid user ID or password"),
        ("big", 3, "etcdserver: request is too large"), ("input", 3, "duplicate key"), ("token", 16, ""),
        ("denied", 7, ""), ("lease", 5, ""), ("pre", 9, ""), ("compacted", 11, "has been compacted"),
        ("future", 11, "future revision"), ("none", 12, ""), ("unknown", 2, "x")]:
    SEEDS["judge-" + name] = (JUDGE, bytes([status]) + text.encode())

os.makedirs(FOLDER, exist_ok=True)
for name, (kind, data) in SEEDS.items():
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(bytes([kind]) + data)
