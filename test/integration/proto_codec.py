"""Protobuf by the project's own .proto files: dictionaries to bytes and back, field names as they
stand there. Small and slow; an independent second opinion on what src/wire reads and writes.

A schema is read from the text: messages (nested ones by their outer name), enums, maps, oneofs.
Encoding takes {field: value}; enums by name or number; maps as dictionaries. Decoding leaves out
what is not there; unknown fields raise.
"""

import glob
import os
import re
import struct

from wire_client import pb_f32, pb_f64, pb_int, pb_len, varint

TOKEN = re.compile(r'"[^"]*"|[A-Za-z_][\w.]*|\d+|[{}=;<>,\[\]()]')
INTS = {"int32", "int64", "uint32", "uint64", "bool"}
FIXED = {"float": ("<f", 5), "double": ("<d", 1)}


class Field:
    def __init__(self, name, number, kind, repeated=False, packed=False, key=None):
        self.name, self.number, self.kind = name, number, kind
        self.repeated, self.packed, self.key = repeated, packed, key
        self.choice = None  # the oneof that it is in


class Schema:
    def __init__(self, folder):
        self.messages, self.enums, self.methods = {}, {}, {}
        for path in sorted(glob.glob(os.path.join(folder, "quiver_*.proto"))):
            with open(path, encoding="utf-8") as f:
                text = re.sub(r"//[^\n]*|/\*.*?\*/", "", f.read(), flags=re.S)
            if "package qdrant;" not in text:
                continue
            self.tokens = TOKEN.findall(text)
            self._file()
        del self.tokens

    def _take(self):
        return self.tokens.pop(0)

    def _skip(self, until):
        while self._take() != until:
            pass

    def _file(self):
        while self.tokens:
            word = self._take()
            if word == "message":
                self._message("")
            elif word == "enum":
                self._enum("")
            elif word == "service":
                self._service()
            else:
                self._skip(";")

    def _enum(self, outer):
        name = outer + self._take()
        values = self.enums[name] = {}
        self._take()
        while (word := self._take()) != "}":
            self._take()
            values[word] = int(self._take())
            self._skip(";")

    def _service(self):
        service = self._take()
        self._take()
        while self._take() != "}":  # rpc
            method = self._take()
            self._take()
            asked = self._take()
            self._take(), self._take(), self._take()
            self.methods[f"{service}/{method}"] = (asked, self._take())
            self._take(), self._take()

    def _message(self, outer):
        name = outer + self._take()
        fields = self.messages[name] = {}
        self._take()
        choice = None
        while (word := self._take()) != "}" or choice:
            if word == "}":
                choice = None
            elif word == "oneof":
                choice = self._take()
                self._take()
            elif word == "message":
                self._message(name + ".")
            elif word == "enum":
                self._enum(name + ".")
            elif word in ("reserved", "option"):
                self._skip(";")
            else:
                self._field(fields, word).choice = choice

    def _field(self, fields, word):
        repeated = word == "repeated"
        key = None
        if word == "map":
            self._take()
            key = self._take()
            self._take()
            kind = self._take()
            self._take()
        else:
            kind = self._take() if word in ("repeated", "optional", "required") else word
        name = self._take()
        self._take()
        number = int(self._take())
        packed = False
        while (end := self._take()) != ";":
            packed = packed or end == "packed"
        fields[name] = Field(name, number, kind, repeated, packed, key)
        return fields[name]

    def type_of(self, message, kind):
        """The full name of a message or enum as it is seen from inside a message."""
        while message:
            if message + "." + kind in self.messages or message + "." + kind in self.enums:
                return message + "." + kind
            message = message.rpartition(".")[0]
        return kind

    # ---- encoding ----

    def encode(self, message, values):
        fields = self.messages[message]
        out = []
        for name, value in values.items():
            f = fields[name]
            if value is None:
                continue
            if f.key:
                for k, v in value.items():
                    out.append(pb_len(f.number, pb_len(1, k), self._one(message, f.kind, 2, v)))
            elif f.packed:
                out.append(pb_len(f.number, *(self._bare(f.kind, v) for v in value)))
            elif f.repeated:
                out += [self._one(message, f.kind, f.number, v) for v in value]
            else:
                out.append(self._one(message, f.kind, f.number, value))
        return b"".join(out)

    @staticmethod
    def _bare(kind, value):
        return struct.pack(FIXED[kind][0], value) if kind in FIXED else varint(int(value))

    def _one(self, message, kind, number, value):
        if kind in INTS:
            return pb_int(number, int(value))
        if kind == "double":
            return pb_f64(number, value)
        if kind == "float":
            return pb_f32(number, value)
        if kind in ("string", "bytes"):
            return pb_len(number, value)
        kind = self.type_of(message, kind)
        if kind in self.enums:
            return pb_int(number, self.enums[kind].get(value, value))
        return pb_len(number, self.encode(kind, value))

    # ---- decoding ----

    def decode(self, message, data):
        by_number = {f.number: f for f in self.messages[message].values()}
        out, at = {}, 0
        while at < len(data):
            tag, at = read_varint(data, at)
            value, at = read_value(data, at, tag & 7)
            self._put(message, by_number[tag >> 3], tag & 7, value, out)
        return out

    def _put(self, message, f, wire, value, out):
        if f.key:
            entry = {}
            at = 0
            while at < len(value):
                tag, at = read_varint(value, at)
                v, at = read_value(value, at, tag & 7)
                entry[tag >> 3] = (tag & 7, v)
            key = entry.get(1, (2, b""))[1].decode()
            kind = self.type_of(message, f.kind)
            wire, v = entry.get(2, (2, b""))
            out.setdefault(f.name, {})[key] = self._value(kind, wire, v)
        elif f.repeated and wire == 2 and (f.kind in INTS or f.kind in FIXED):
            out.setdefault(f.name, []).extend(unpack(f.kind, value))
        elif f.repeated:
            out.setdefault(f.name, []).append(self._value(self.type_of(message, f.kind), wire, value))
        else:
            out[f.name] = self._value(self.type_of(message, f.kind), wire, value)

    def _value(self, kind, wire, value):
        if kind in FIXED:
            return struct.unpack(FIXED[kind][0], value)[0]
        if kind in INTS:
            return signed(kind, value)
        if kind in ("string", "bytes"):  # bytes only where we check the text ourselves
            return value.decode()
        if kind in self.enums:
            return next((n for n, v in self.enums[kind].items() if v == value), value)
        return self.decode(kind, value)


def signed(kind, value):
    if kind == "bool":
        return bool(value)
    return value - (1 << 64) if kind.startswith("int") and value >> 63 else value


def unpack(kind, data):
    if kind in FIXED:
        size = struct.calcsize(FIXED[kind][0])
        return [struct.unpack_from(FIXED[kind][0], data, i)[0] for i in range(0, len(data), size)]
    out, at = [], 0
    while at < len(data):
        v, at = read_varint(data, at)
        out.append(signed(kind, v))
    return out


def read_varint(data, at):
    v = shift = 0
    while True:
        byte = data[at]
        at += 1
        v |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return v, at


def read_value(data, at, wire):
    if wire == 0:
        return read_varint(data, at)
    if wire == 2:
        n, at = read_varint(data, at)
        return data[at:at + n], at + n
    n = 8 if wire == 1 else 4
    return data[at:at + n], at + n
