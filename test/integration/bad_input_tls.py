"""Rows of `make bad-input` for gRPC streams (server reflection, Health/Watch) and for TLS: what is no
TLS on a TLS port, broken handshakes and records, and plain attacks inside TLS. `tls` is a node with a
certificate of its own (bad_input makes it)."""

import functools
import socket
import ssl

from bad_input_rows import MUST, Do, Http2, grpc_frame, rows
from wire_client import CLOSED, PREFACE, Answer, grpc_headers, http1_raw, pb_int, pb_len, request_bytes

REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
WATCH = "/grpc.health.v1.Health/Watch"
SECONDS = 15


# ---- streams -------------------------------------------------------------------------------------


def stream(path, *data, end=True, node="main", headers=()):
    """The status that ends a stream after these bytes."""

    def run(nodes):
        conn = Http2(nodes[node].grpc)
        try:
            head = [(k, path if k == ":path" else v) for k, v in grpc_headers("Points/Get", headers)]
            conn.headers(1, head, end=not data and end)
            for i, part in enumerate(data):
                conn.data(1, part, end=end and i == len(data) - 1)
            return conn.answer(1)
        finally:
            conn.close()

    return Do("gRPC", run)


def asked(field, name):
    return grpc_frame(pb_len(field, name))


LONG = 70000
rows(
    "grpc",
    ("reflection: no question", stream(REFLECT), "OK", ""),
    ("reflection: an empty message", stream(REFLECT, grpc_frame(b"")), "OK", ""),
    ("reflection: no such symbol", stream(REFLECT, asked(4, "qdrant.No")), "OK", ""),
    ("reflection: a name with a NUL", stream(REFLECT, asked(4, b"qdrant\0.Points")), "OK", ""),
    ("reflection: a name of 60 KB", stream(REFLECT, asked(4, "a" * 60000)), "OK", ""),
    ("reflection: a path as a file", stream(REFLECT, asked(3, "../../etc/passwd")), "OK", ""),
    ("reflection: an extension", stream(REFLECT, grpc_frame(pb_len(5, pb_len(1, "a"), pb_int(2, 9)))),
     "OK", ""),
    ("reflection: a number for a name", stream(REFLECT, grpc_frame(pb_int(4, 1))), "OK", ""),
    ("reflection: no protobuf", stream(REFLECT, grpc_frame(b"\xff\xff\xff")), "INVALID_ARGUMENT", ""),
    ("reflection: a name longer than its message", stream(REFLECT, grpc_frame(b"\x22\x7fab")),
     "INVALID_ARGUMENT", ""),
    ("reflection: a message over the limit", stream(REFLECT, asked(4, "a" * LONG)),
     "RESOURCE_EXHAUSTED", "over the size limit"),
    ("reflection: half a message", stream(REFLECT, b"\0\0\0\0\x09abc"), "INTERNAL", "cut off"),
    ("reflection: half a prefix", stream(REFLECT, b"\0\0"), "INTERNAL", "cut off"),
    ("reflection: a compressed message", stream(REFLECT, grpc_frame(b"", compressed=1)),
     "UNIMPLEMENTED", "not compressed"),
    ("reflection: an unknown flag", stream(REFLECT, grpc_frame(b"", compressed=9)), "INTERNAL", ""),
    ("reflection: 100 questions, no answer read", stream(REFLECT, asked(4, "qdrant.Points") * 100),
     "RESOURCE_EXHAUSTED", "not read"),
    ("reflection without a key", stream(REFLECT, asked(7, ""), node="keys"), "UNAUTHENTICATED", MUST),
    ("reflection with the reader's key", stream(REFLECT, asked(7, ""), node="keys",
                                                headers=[("api-key", "read")]), "OK", ""),
    ("Watch: no question", stream(WATCH), "INVALID_ARGUMENT", ""),
    ("Watch: two questions", stream(WATCH, grpc_frame(b"") * 2, end=False), "INVALID_ARGUMENT", ""),
    ("Watch: no protobuf", stream(WATCH, grpc_frame(b"\x0a\xff")), "INVALID_ARGUMENT", ""),
)

# ---- TLS -----------------------------------------------------------------------------------------


def raw(data, half_close=True):
    """The end of the connection is what is wanted: what the server says before is an alert."""

    def run(nodes):
        with socket.create_connection(("127.0.0.1", nodes["tls"].http), timeout=SECONDS) as s:
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except socket.timeout:
                return Answer("silent")
            except OSError:
                pass
            return Answer(CLOSED)

    return Do("TLS", run)


def context(**how):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if "version" in how:
        c.set_ciphers("ALL:@SECLEVEL=0")
        c.minimum_version = c.maximum_version = how["version"]
    if "alpn" in how:
        c.set_alpn_protocols(how["alpn"])
    return c


def shake(**how):
    """The version that was agreed on, or "closed"."""

    def run(nodes):
        try:
            with socket.create_connection(("127.0.0.1", nodes["tls"].http), timeout=SECONDS) as s, \
                    context(**how).wrap_socket(s) as t:
                return Answer(t.version())
        except OSError:
            return Answer(CLOSED)

    return Do("TLS", run)


@functools.lru_cache(maxsize=None)
def hello():
    """A ClientHello as the library writes it."""
    out = ssl.MemoryBIO()
    client = context().wrap_bio(ssl.MemoryBIO(), out)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def record(kind, payload, version=b"\x03\x03", length=None):
    n = len(payload) if length is None else length
    return bytes([kind]) + version + n.to_bytes(2, "big") + payload


def inside(data, after=b"", farewell=True):
    """Bytes inside TLS, then bytes beside it; the first line of what comes back."""

    def run(nodes):
        with socket.create_connection(("127.0.0.1", nodes["tls"].http), timeout=SECONDS) as s:
            incoming, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            t = context().wrap_bio(incoming, out)
            text = b""
            try:
                while True:
                    try:
                        t.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        s.sendall(out.read())
                        incoming.write(s.recv(65536))
                t.write(data)
                s.sendall(out.read() + after)
                if not farewell:
                    s.shutdown(socket.SHUT_WR)
                while True:
                    try:
                        got = t.read(65536)
                        if not got:
                            break
                        text += got
                    except ssl.SSLWantReadError:
                        more = s.recv(65536)
                        if not more:
                            break
                        incoming.write(more)
            except OSError:
                pass
            if text.startswith(b"HTTP/1.1 "):
                return Answer(int(text[9:12]), text.decode(errors="replace"))
            return Answer(CLOSED, repr(text[:80]))

    return Do("TLS", run)


def plain_port(nodes):
    """A ClientHello on a port without TLS."""
    return http1_raw(nodes["main"].http, hello(), half_close=True)


GET = request_bytes("GET", "/collections", headers=[("connection", "close")])
V = ssl.TLSVersion
rows(
    "tls",
    ("HTTP/1.1 on a TLS port", raw(GET, False), CLOSED, ""),
    ("HTTP/2 on a TLS port", raw(PREFACE, False), CLOSED, ""),
    ("nothing", raw(b""), CLOSED, ""),
    ("one byte", raw(b"\x16"), CLOSED, ""),
    ("zeros", raw(bytes(5000)), CLOSED, ""),
    ("noise", raw(bytes(i * 7 & 255 for i in range(5000))), CLOSED, ""),
    ("half a ClientHello", raw(hello()[:100]), CLOSED, ""),
    ("a ClientHello and no more", raw(hello()), CLOSED, ""),
    ("a ClientHello twice", raw(hello() * 2), CLOSED, ""),
    ("a ClientHello cut into 500 records",
     raw(b"".join(record(22, hello()[i:i + 1]) for i in range(5, len(hello()))), True), CLOSED, ""),
    ("a hello of SSL 2", raw(b"\x80\x2e\x01\x00\x02" + bytes(44)), CLOSED, ""),
    ("a record of 65,535 bytes", raw(record(22, bytes(65535))), CLOSED, ""),
    ("a record longer than it says", raw(record(22, bytes(100), length=10)), CLOSED, ""),
    ("1,000 empty records", raw(record(22, b"") * 1000), CLOSED, ""),
    ("data before the handshake", raw(record(23, bytes(100))), CLOSED, ""),
    ("alerts before the handshake", raw(record(21, b"\x01\x00") * 100), CLOSED, ""),
    ("a heartbeat", raw(record(24, b"\x01\x40\x00")), CLOSED, ""),
    ("an unknown handshake message", raw(record(22, b"\x63\0\0\x04abcd")), CLOSED, ""),
    ("a handshake message of 16 MB", raw(record(22, b"\x01\xff\xff\xff" + bytes(1000))), CLOSED, ""),
    ("TLS 1.0", shake(version=V.TLSv1), CLOSED, ""),
    ("TLS 1.1", shake(version=V.TLSv1_1), CLOSED, ""),
    ("TLS 1.2", shake(version=V.TLSv1_2), "TLSv1.2", ""),
    ("TLS 1.3", shake(version=V.TLSv1_3), "TLSv1.3", ""),
    ("ALPN of nothing we speak", shake(alpn=["spdy/3", "h3"]), CLOSED, ""),
    ("ALPN of something we speak", shake(alpn=["spdy/3", "http/1.1"]), "TLSv1.3", ""),
    ("a request", inside(GET), 200, ""),
    ("a request, then the end without a farewell", inside(GET, farewell=False), 200, ""),
    ("malformed HTTP", inside(b"GET / HTTP/9.9\r\n\r\n"), 400, "Bad request: "),
    ("headers of 100 KB", inside(b"GET / HTTP/1.1\r\nx: " + b"a" * 100000 + b"\r\n\r\n"), 431, ""),
    ("a body over the limit", inside(
        b"PUT /collections/a HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n"), 413, ""),
    ("noise behind the handshake", inside(b"", record(23, bytes(200))), CLOSED, ""),
    ("a record cut off", inside(b"", record(23, bytes(100), length=200), False), CLOSED, ""),
    ("plaintext behind the handshake", inside(b"", GET), CLOSED, ""),
    ("TLS on a plain port", Do("TLS", plain_port), 400, "Bad request: "),
)
