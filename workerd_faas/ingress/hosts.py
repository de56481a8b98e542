"""
Whose host is it? Pure: the value of a `Host` header and the base domain in, a place out.

Whatever the bytes are, the answer is a place or a problem, never an exception.
"""

import re
from typing import Final, TypeAlias

import attrs

from workerd_faas.domain.errors import Kind, Problem


@attrs.frozen
class ApiHost:
    """
    The base domain itself: the management API.
    """


@attrs.frozen
class FunctionHost:
    """
    `[<selector>.]<function>.<BASE_DOMAIN>`, lower case; neither need exist.
    """

    function: str
    selector: str | None = None


Place: TypeAlias = ApiHost | FunctionHost | Problem

_HOST: Final = re.compile(
    rb"(?P<name>[0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*)\.?(?::(?P<port>[0-9]{0,5}))?"
)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_MALFORMED: Final = Problem(
    kind=Kind.HOST_INVALID,
    message="The Host header must be one host name, with a port or without.",
)
_NO_NAME: Final = Problem(
    kind=Kind.HOST_INVALID,
    message="Requests are told apart by host name, and the Host header does not have one.",
)
_UNKNOWN: Final = Problem(
    kind=Kind.HOST_UNKNOWN,
    message="Nothing is served under this host name.",
)


def place_of(raw: bytes, base_domain: str) -> Place:
    """
    The place that a host names.

    Args:
        raw: The value of the header: `uri-host [":" port]` (RFC 9110 section 7.2).
        base_domain: Lower case, without a trailing dot; may be a single label or an address.
    """
    found = _HOST.fullmatch(raw)
    if found is None or int(found["port"] or 0) > 65535:
        return _MALFORMED
    name = found["name"].decode("ascii").lower()
    if len(name) > 253:
        return _MALFORMED
    if name == base_domain:
        return ApiHost()
    if name.endswith("." + base_domain):
        labels = name[: -len(base_domain) - 1].split(".")
        if len(labels) == 1:
            return FunctionHost(labels[0])
        if len(labels) == 2:
            return FunctionHost(labels[1], labels[0])
        return _UNKNOWN
    # What URL parsers take for an IPv4 address ends in a number (WHATWG URL, "ends in a number").
    last = name.rpartition(".")[2]
    if "." not in name or _NUMBER.fullmatch(last):
        return _NO_NAME
    return _UNKNOWN
