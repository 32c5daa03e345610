"""More rows of `make bad-input`: snapshots. bad_input_rows.py says how a row is written."""

import os

from bad_input_rows import (BAD, FORMAT, INVALID, ROWS, WRONG, Do, Grpc, Rest,  # noqa: F401
                            keyed, rows)
from wire_client import Answer, http1, pb_len

SNAPSHOTS = "/collections/known/snapshots"
NONE = "/collections/nothing/snapshots"
SHARD = "/collections/known/shards/0/snapshots"
TYPE = [("content-type", "multipart/form-data; boundary=XX")]
READ = [("api-key", "read")]


def recover(body, path=SNAPSHOTS):
    return Rest("PUT", path + "/recover", body)


def upload(body, path=SNAPSHOTS, headers=tuple(TYPE), query=""):
    return Rest("POST", f"{path}/upload{query}", body, list(headers))


def part(content, name="snapshot", end="--"):
    return (b"--XX\r\ncontent-disposition: form-data; name=\"" + name.encode() + b"\"\r\n\r\n" +
            content + b"\r\n--XX" + end.encode() + b"\r\n")


def damaged(change):
    """A snapshot of `known`, changed, uploaded as another collection; then that must not exist."""
    def run(nodes):
        port = nodes["main"].http
        made = http1(port, "GET", "/collections/known/shards/0/snapshot")
        answer = http1(port, "POST", "/collections/broken/snapshots/upload",
                       part(change(bytearray(made.body))), TYPE)
        if http1(port, "GET", "/collections/broken").status != 404:
            return Answer(0, "the collection was made all the same")
        return answer
    return Do("HTTP/1.1", run)


def flip(at):
    def change(b):
        b[at if at >= 0 else len(b) + at] ^= 1
        return bytes(b)
    return damaged(change)


def strange_file(kind, ask):
    """What is called like a snapshot and is none: a link, a pipe, a directory."""
    def run(nodes):
        node = nodes["main"]
        folder = os.path.join(node.folder, "snapshots", "known")
        path = os.path.join(folder, "strange.snapshot")
        os.makedirs(folder, exist_ok=True)
        {"link": lambda: os.symlink(os.path.join(node.folder, "meta"), path),
         "dangling": lambda: os.symlink("nowhere", path),
         "pipe": lambda: os.mkfifo(path),
         "directory": lambda: os.mkdir(path)}[kind]()
        try:
            return ask(node)
        finally:
            os.rmdir(path) if kind == "directory" else os.remove(path)
    return Do("HTTP/1.1", run)


def download(node):
    return http1(node.http, "GET", SNAPSHOTS + "/strange.snapshot")


def removal(node):
    return http1(node.http, "DELETE", SNAPSHOTS + "/strange.snapshot")


def listing(node):
    answer = http1(node.http, "GET", SNAPSHOTS)
    names = [s["name"] for s in answer.json()["result"]]
    return answer if "strange.snapshot" not in names else Answer(0, f"listed: {names}")


def logged(path, line, forbidden):
    """The log has this line, and nothing that begins with what the request put there."""
    def run(nodes):
        node = nodes["main"]
        answer = http1(node.http, "POST", path)
        with open(node.log, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        if any(s.startswith(forbidden) for s in lines) or not any(line in s for s in lines[-50:]):
            return Answer(0, f"the log: {lines[-5:]}")
        return answer
    return Do("HTTP/1.1", run)


rows(
    "snapshots",
    ("download of a link", strange_file("link", download), 404,
     "Not found: Snapshot strange.snapshot not found"),
    ("download of a link to nothing", strange_file("dangling", download), 404,
     "Not found: Snapshot strange.snapshot not found"),
    ("download of a pipe", strange_file("pipe", download), 404,
     "Not found: Snapshot strange.snapshot not found"),
    ("download of a directory", strange_file("directory", download), 404,
     "Not found: Snapshot strange.snapshot not found"),
    ("removal of a link", strange_file("link", removal), 404, "Not found: Snapshot"),
    ("a link is not listed", strange_file("link", listing), 200, "result"),
    ("a pipe is not listed", strange_file("pipe", listing), 200, "result"),
    ("the log names the collection that is not there", logged(
        "/collections/no%20such%20one/snapshots", "of collection no such one: not made: Collection",
        "forged"), 404, "Not found: Collection `no such one` doesn't exist!"),
    ("a name writes no line of the log", logged(
        "/collections/no%0Aforged%20line/snapshots", "of collection no?forged line", "forged"), 404,
     "Not found: Collection"),
    ("list of a collection that is not there", Rest("GET", NONE), 404,
     "Not found: Collection `nothing` doesn't exist!"),
    ("snapshot of a collection that is not there", Rest("POST", NONE), 404,
     "Not found: Collection `nothing` doesn't exist!"),
    ("download of one that is not there", Rest("GET", SNAPSHOTS + "/no.snapshot"), 404,
     "Not found: Snapshot no.snapshot not found"),
    ("download by a path", Rest("GET", SNAPSHOTS + "/..%2f..%2fmeta.snapshot"), 404,
     "Not found: Snapshot"),
    ("download of a checksum", Rest("GET", SNAPSHOTS + "/x.snapshot.checksum"), 404,
     "Not found: Snapshot"),
    ("removal by a path", Rest("DELETE", "/snapshots/..%2flock"), 404, "Not found: Snapshot"),
    ("removal of one that is not there", Rest("DELETE", "/snapshots/no.snapshot"), 404,
     "Not found: Snapshot no.snapshot not found"),
    ("a shard that is not there", Rest("GET", "/collections/known/shards/3/snapshots"), 404,
     "Not found: Shard 3 not found"),
    ("a shard that is no number", Rest("POST", "/collections/known/shards/x/snapshots"), 400,
     BAD + "`x` is no number of a shard"),
    ("wait that is neither", Rest("POST", SNAPSHOTS + "?wait=perhaps"), 400, BAD),
    ("recover without a body", recover(""), 400, FORMAT),
    ("recover without a location", recover({"priority": "snapshot"}), 400,
     FORMAT + "missing field `location`"),
    ("recover by a priority that is none", recover({"location": "file:///x", "priority": "first"}),
     400, FORMAT + "unknown variant `first`"),
    ("recover from nowhere", recover({"location": ""}), 400, BAD + "Invalid snapshot location"),
    ("recover by ftp", recover({"location": "ftp://h/x.snapshot"}), 400,
     BAD + "Invalid snapshot location"),
    ("recover from another host's file", recover({"location": "file://host/x.snapshot"}), 400,
     BAD + "Invalid snapshot URI"),
    ("recover from a wrong escape", recover({"location": "file:///x%zz.snapshot"}), 400,
     BAD + "Invalid snapshot URI"),
    ("recover from outside", recover({"location": "file:///etc/passwd"}), 403,
     "Forbidden: Snapshot file \"/etc/passwd\" must be inside snapshots directory"),
    ("recover from what is not there, outside", recover({"location": "file:///nowhere/x"}), 403,
     "Forbidden: Snapshot file"),
    ("recover from a peer that is not there", recover({"location": "http://127.0.0.1:1/x"}), 400,
     BAD + "Failed to download snapshot from http://127.0.0.1:1/x"),
    ("recover with a line in the key", recover({"location": "http://127.0.0.1:1/x",
                                                "api_key": "a\r\nb: c"}), 400,
     BAD + "location and api_key can't hold control characters"),
    ("recover a shard of nothing", recover({"location": "http://127.0.0.1:1/x"},
                                           "/collections/nothing/shards/0/snapshots"), 400, BAD),
    ("upload of JSON", upload(b"{}", headers=[("content-type", "application/json")]), 400,
     BAD + "Content-Type must be multipart/form-data"),
    ("upload without a boundary", upload(b"x", headers=[("content-type", "multipart/form-data")]),
     400, BAD + "the multipart body has no boundary"),
    ("upload of nothing", upload(b""), 400, BAD + "the multipart body"),
    ("upload that lacks its boundary", upload(b"some bytes"), 400, BAD + "the multipart body"),
    ("upload cut short", upload(part(b"abc", end="")[:-6]), 400, BAD + "the multipart body"),
    ("upload of another field", upload(part(b"abc", "file")), 400,
     BAD + "the multipart body has no field `snapshot`"),
    ("upload of an empty file", upload(part(b"")), 400, WRONG + "the snapshot is empty"),
    ("upload of a text", upload(part(b"a text, and no more than that" * 9)), 400, WRONG),
    ("upload by a priority that is none", upload(part(b"abc"), query="?priority=first"), 400,
     BAD + "unknown variant `first`"),
    ("upload as a name that can't be", upload(part(b"abc"), "/collections/a%3Ab/snapshots"), 422,
     "Validation error"),
    ("upload of a tarball", upload(part(b"\0" * 257 + b"ustar  \0" + b"\0" * 2000)), 400,
     WRONG + "the file is no snapshot of this engine"),
    ("a snapshot with a flipped header", flip(20), 400, WRONG),
    ("a snapshot with a flipped part", flip(100), 400, WRONG),
    ("a snapshot with a flipped manifest", flip(-100), 400, WRONG),
    ("a snapshot with a flipped trailer", flip(-10), 400, WRONG),
    ("a snapshot cut short", damaged(lambda b: bytes(b[:-1])), 400, WRONG),
    ("a snapshot of twice its bytes", damaged(lambda b: bytes(b + b[64:])), 400, WRONG),
    ("the reader makes a snapshot", keyed("POST", SNAPSHOTS, "", READ), 403, "Forbidden: "),
    ("the reader restores one", keyed("PUT", SNAPSHOTS + "/recover", "{}", READ), 403,
     "Forbidden: "),
    ("an upload without a key", keyed("POST", SNAPSHOTS + "/upload", part(b"x" * 100000), TYPE), 401,
     "Must provide an API key"),
    ("snapshot of nothing, gRPC", Grpc("Snapshots/Create", pb_len(1, "nothing")), "NOT_FOUND",
     "`nothing` doesn't exist!"),
    ("snapshot of a collection without a name, gRPC", Grpc("Snapshots/Create", b""), INVALID,
     "collection_name"),
    ("removal of one that is not there, gRPC", Grpc(
        "Snapshots/Delete", pb_len(1, "known") + pb_len(2, "no.snapshot")), "NOT_FOUND",
     "Snapshot no.snapshot not found"),
    ("removal by a path, gRPC", Grpc("Snapshots/DeleteFull", pb_len(1, "../x.snapshot")),
     "NOT_FOUND", "Snapshot"),
    ("nothing was made of all that", Rest("GET", "/collections/broken"), 404, "Not found"),
)
