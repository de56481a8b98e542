"""
What becomes of a head on its way through the relay. Pure.

Two rules of RFC 9110 section 7.6.1 and one of ours: hop-by-hop fields end here; what `Connection`
names ends here too, but nothing that we vouch for; and no field of ours is accepted from outside,
in any case and with `_` for `-` (which CGI-like gateways would take for the same name).
"""

import json
from typing import Final

import attrs

from workerd_faas.ingress.http1 import CHUNKED, UNTIL_CLOSE, Fields, RequestHead, ResponseHead
from workerd_faas.wire.headers import RAY, ROUTE_AND_CF, VERSION_KEY

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"content-length", b"http2-settings", b"keep-alive", b"proxy-authenticate",
        b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade",
    }
)  # fmt: skip
"""Ends here; the lengths and `Upgrade` are written anew."""

_OURS: Final = frozenset({b"forwarded", b"host", b"true-client-ip", b"x-real-ip"})
_OUR_PREFIXES: Final = (b"cf-", b"x-forwarded-", b"wfaas-")
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})

_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
_RAY: Final = RAY.encode()
_VERSION_KEY: Final = VERSION_KEY.encode()


@attrs.frozen(kw_only=True, eq=False)
class Request:
    """
    A request as it is sent on, but for what depends on its connection and moment.

    Attributes:
        core: Request line, end-to-end fields and framing.
        host: Whom the client asked, as it said it.
        cf: Members of `request.cf` that the head decides.
        upgrade: It asks to change the protocol.
        websocket: To WebSocket.
        repeatable: Sending it twice does no harm (RFC 9110 section 9.2.2).
        forwarded_for, forwarded_host, forwarded_proto: What the client says in `X-Forwarded-*`;
            for trusted proxies only.
    """

    method: bytes
    target: bytes
    http10: bool
    is_head: bool
    keep_alive: bool
    body: int
    upgrade: bool
    websocket: bool
    expects_continue: bool
    repeatable: bool
    core: bytes
    host: bytes
    cf: bytes
    version_key: bytes | None
    forwarded_for: bytes | None
    forwarded_host: bytes | None
    forwarded_proto: bytes | None


@attrs.frozen(kw_only=True, eq=False)
class Response:
    """
    A response as it is sent on.

    Attributes:
        core: Status line and end-to-end fields.
        framing: The lines that tell where its body ends; empty when the connection's end does.
        bodyless: It has no body whatever the request was.
        has_date: The upstream set `Date`.
    """

    status: int
    core: bytes
    framing: bytes
    body: int
    bodyless: bool
    persistent: bool
    has_date: bool


def is_ours(name: bytes) -> bool:
    """
    Whether a field of this name (lower case) from outside would be taken for one of ours.
    """
    plain = name.replace(b"_", b"-")
    return plain in _OURS or plain.startswith(_OUR_PREFIXES)


def prepare_request(head: RequestHead) -> Request:
    """
    Make the head what the next server is to see.
    """
    lines = [b"%s %s HTTP/1.1" % (head.method, head.target)]
    dropped = head.options
    for name, _, line in head.fields:
        if (
            name in _HOP_BY_HOP
            or name in dropped
            or is_ours(name)
            or name.replace(b"_", b"-") in _FRAMING
        ):
            continue
        lines.append(line)
    if head.body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif head.body or _said_zero(head.fields):
        lines.append(b"content-length: %d" % head.body)
    if head.upgrade:
        lines.append(b"connection: upgrade\r\nupgrade: " + b", ".join(head.upgrade))
    lines.append(b"")
    return Request(
        method=head.method,
        target=head.target,
        http10=head.http10,
        is_head=head.method == b"HEAD",
        keep_alive=head.keep_alive,
        body=head.body,
        upgrade=bool(head.upgrade),
        websocket=[protocol.lower() for protocol in head.upgrade] == [b"websocket"],
        expects_continue=head.expects_continue,
        repeatable=head.method in _IDEMPOTENT,
        core=b"\r\n".join(lines),
        host=head.host,
        cf=_cf(head),
        version_key=_last(head.fields, _VERSION_KEY),
        forwarded_for=_joined(head.fields, b"x-forwarded-for"),
        forwarded_host=_last_item(_joined(head.fields, b"x-forwarded-host")),
        forwarded_proto=_last_item(_joined(head.fields, b"x-forwarded-proto")),
    )


def prepare_response(head: ResponseHead) -> Response:
    """
    Make the head what the client is to see. For 101, `Upgrade` is kept.
    """
    lines = [b"HTTP/1.1 %d %s" % (head.status, head.reason)]
    has_date = False
    for name, _, line in head.fields:
        if (
            name in _HOP_BY_HOP
            or name in head.options
            or name == _RAY
            or name.startswith(b"wfaas-")
        ):
            continue
        has_date = has_date or name == b"date"
        lines.append(line)
    if head.status == 101:
        upgrades = [value for name, value, _ in head.fields if name == b"upgrade"]
        lines.append(b"connection: upgrade\r\nupgrade: " + b", ".join(upgrades))
    bodyless = head.status < 200 or head.status in (204, 304)
    lines.append(b"")
    return Response(
        status=head.status,
        core=b"\r\n".join(lines),
        framing=_framing(head),
        body=head.body,
        bodyless=bodyless,
        persistent=head.persistent and (bodyless or head.body != UNTIL_CLOSE),
        has_date=has_date,
    )


def _framing(head: ResponseHead) -> bytes:
    if head.status < 200 or head.status == 204:
        return b""  # RFC 9110 section 8.6
    if head.body == CHUNKED:
        return b"" if head.status == 304 else b"transfer-encoding: chunked\r\n"
    return b"" if head.length is None else b"content-length: %d\r\n" % head.length


def _said_zero(fields: Fields) -> bool:
    return any(name == b"content-length" for name, _, _ in fields)


def _joined(fields: Fields, wanted: bytes) -> bytes | None:
    values = [value for name, value, _ in fields if name == wanted]
    return b", ".join(values) if values else None


def _last(fields: Fields, wanted: bytes) -> bytes | None:
    found = None
    for name, value, _ in fields:
        if name == wanted:
            found = value
    return found


def _last_item(value: bytes | None) -> bytes | None:
    """
    Of a list, the member that the nearest proxy added; the others may come from anybody.
    """
    return None if value is None else value.rpartition(b",")[2].strip(b" \t")


def _cf(head: RequestHead) -> bytes:
    protocol = b'"httpProtocol":"HTTP/1.%d"' % (not head.http10)
    accepted = _joined(head.fields, b"accept-encoding")
    if accepted is None:
        return protocol
    return protocol + b',"clientAcceptEncoding":' + json.dumps(accepted.decode("latin-1")).encode()


def cf_start(version_id: str, function: str) -> bytes:
    """
    The first part of the line that tells the cell which version to run.
    """
    return f'{ROUTE_AND_CF}: {{"version":"{version_id}","function":"{function}",'.encode("ascii")
