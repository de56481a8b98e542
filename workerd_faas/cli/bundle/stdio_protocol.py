"""
The packets that esbuild's own JavaScript library exchanges with the esbuild program over its
standard streams: the only way to give esbuild a plugin without Node.js.

A packet is a little-endian 32-bit length and that many bytes: 32 bits of id (the lowest says
whether it is a response), then one value. It has been the same since esbuild 0.8 (2020).
"""

import struct
from typing import IO, Any, Final

import attrs

_UINT32: Final = struct.Struct("<I")
_INT32: Final = struct.Struct("<i")
_NULL, _BOOLEAN, _INTEGER, _STRING, _BYTES, _LIST, _OBJECT = range(7)
MAX_PACKET: Final = 1 << 30


class MalformedPacket(ValueError):
    """
    Bytes that are no packet.
    """


@attrs.frozen
class Packet:
    """
    A request or the response to the request with the same id.
    """

    id: int
    is_request: bool
    value: Any


def encode_packet(packet: Packet) -> bytes:
    """
    The bytes of a packet with its length.
    """
    out = bytearray(_UINT32.pack(packet.id << 1 | (not packet.is_request)))
    _encode(packet.value, out)
    return _UINT32.pack(len(out)) + bytes(out)


def _encode(value: Any, out: bytearray) -> None:
    if value is None:
        out.append(_NULL)
    elif isinstance(value, bool):
        out += bytes((_BOOLEAN, value))
    elif isinstance(value, int):
        out.append(_INTEGER)
        out += _INT32.pack(value)
    elif isinstance(value, str):
        out.append(_STRING)
        _encode_bytes(value.encode("utf-8", "surrogateescape"), out)
    elif isinstance(value, bytes):
        out.append(_BYTES)
        _encode_bytes(value, out)
    elif isinstance(value, list | tuple):
        out.append(_LIST)
        out += _UINT32.pack(len(value))
        for each in value:
            _encode(each, out)
    elif isinstance(value, dict):
        out.append(_OBJECT)
        out += _UINT32.pack(len(value))
        for key, each in value.items():
            _encode_bytes(key.encode(), out)
            _encode(each, out)
    else:
        raise TypeError(f"{type(value).__name__} cannot be sent to esbuild")


def _encode_bytes(data: bytes, out: bytearray) -> None:
    out += _UINT32.pack(len(data))
    out += data


def decode_packet(data: bytes) -> Packet:
    """
    The inverse of `encode_packet`, without the length.

    Raises:
        MalformedPacket: it is none.
    """
    try:
        (number,) = _UINT32.unpack_from(data)
        value, end = _decode(data, _UINT32.size)
    except (struct.error, IndexError, RecursionError) as error:
        raise MalformedPacket(str(error)) from None
    if end != len(data):
        raise MalformedPacket("wrong length")
    return Packet(number >> 1, not number & 1, value)


def _decode(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at]
    at += 1
    if kind == _NULL:
        return None, at
    if kind == _BOOLEAN:
        return bool(data[at]), at + 1
    if kind == _INTEGER:
        return _INT32.unpack_from(data, at)[0], at + 4
    if kind in (_STRING, _BYTES):
        content, at = _decode_bytes(data, at)
        return (content.decode("utf-8", "surrogateescape") if kind == _STRING else content), at
    if kind not in (_LIST, _OBJECT):
        raise MalformedPacket(f"unknown kind {kind}")
    (count,) = _UINT32.unpack_from(data, at)
    at += 4
    if kind == _LIST:
        items = []
        for _ in range(count):
            item, at = _decode(data, at)
            items.append(item)
        return items, at
    members = {}
    for _ in range(count):
        key, at = _decode_bytes(data, at)
        members[key.decode("utf-8", "replace")], at = _decode(data, at)
    return members, at


def _decode_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _UINT32.unpack_from(data, at)
    at += 4
    if at + length > len(data):
        raise MalformedPacket("cut short")
    return data[at : at + length], at + length


def read_frame(stream: IO[bytes]) -> bytes:
    """
    The next length-prefixed bytes.

    Raises:
        EOFError: the stream has ended.
        MalformedPacket: the length is absurd.
    """
    (length,) = _UINT32.unpack(_exactly(stream, _UINT32.size))
    if length > MAX_PACKET:
        raise MalformedPacket("too long")
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data
