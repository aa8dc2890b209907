"""Protobuf's wire format, as far as an auditor needs it: it reads stored bytes without the program that wrote them.

https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections import defaultdict

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


class Damaged(Exception):
    """The bytes are no message."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Damaged("a number is cut off")


def _field(data: bytes, at: int, kind: int) -> tuple[int | float | bytes, int]:
    match kind:
        case 0:
            return _varint(data, at)
        case 1:
            size, form = 8, "<d"
        case 5:
            size, form = 4, "<f"
        case 2:
            size, at = _varint(data, at)
            form = ""
        case _:
            raise Damaged(f"wire type {kind}")
    content = data[at : at + size]
    if len(content) != size:
        raise Damaged("a field is cut off")
    return (struct.unpack(form, content)[0] if form else content), at + size


class Message:
    """Fields by number, each with all its values in order."""

    def __init__(self, data: bytes) -> None:
        self.fields: dict[int, list] = defaultdict(list)
        at = 0
        while at < len(data):
            tag, at = _varint(data, at)
            value, at = _field(data, at, tag & 7)
            self.fields[tag >> 3].append(value)

    def number(self, field: int, default: int = 0) -> int:
        """A number; the default where it is absent."""
        return self.fields[field][-1] if field in self.fields else default

    def content(self, field: int) -> bytes:
        """Bytes, none where they are absent."""
        return self.fields[field][-1] if field in self.fields else b""

    def text(self, field: int) -> str:
        """A text, empty where it is absent."""
        return self.content(field).decode()

    def messages(self, field: int) -> list["Message"]:
        """Every message of a field."""
        return [Message(value) for value in self.fields.get(field, [])]

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return field in self.fields


def varint(value: int) -> bytes:
    """A number as it stands in a message."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encoded(fields: list[tuple[int, int | bytes]]) -> bytes:
    """A message of numbers and bytes."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3 | VARINT) + varint(value))
        else:
            parts.append(varint(number << 3 | LENGTH_DELIMITED) + varint(len(value)) + value)
    return b"".join(parts)
