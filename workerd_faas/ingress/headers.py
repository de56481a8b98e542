"""
What becomes of a head on its way through the relay. Pure.

Two rules of RFC 9110 section 7.6.1 and one of ours: hop-by-hop fields end here; what `Connection`
names ends here too, but nothing that we vouch for; and no field of ours is accepted from outside,
in any case and with `_` for `-` (which CGI-like gateways would take for the same name).
"""

import functools
import json
from collections.abc import Sequence
from typing import Final

import attrs

from workerd_faas.domain.routing import Route
from workerd_faas.ingress.field_names import LOWER_CASE
from workerd_faas.ingress.hosts import Place
from workerd_faas.ingress.http1 import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead
from workerd_faas.ingress.peers import Client
from workerd_faas.wire.headers import OWN_PREFIX, RAY, ROUTE_AND_CF, VERSION_KEY

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
_NOT_FROM_FUNCTIONS: Final = (b"wfaas-", OWN_PREFIX.encode())
_VERSION_KEY: Final = VERSION_KEY.encode()


@attrs.frozen(kw_only=True, eq=False)
class Request:
    """
    A request as it is sent on, but for what depends on its connection and moment.

    Attributes:
        core: Request line, end-to-end fields and framing.
        host: Whom the client asked, as it said it.
        place: Whose host that is.
        cf: Members of `request.cf` that the head decides.
        upgrade: It asks to change the protocol.
        websocket: To WebSocket.
        plain: Nothing special has to be said in answer to it: HTTP/1.1, and the connection is kept.
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
    plain: bool
    repeatable: bool
    core: bytes
    host: bytes
    place: Place
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
        plain: `core` and `framing` in one, if the connection can be kept, `Date` be added and there
            is a body.
    """

    status: int
    core: bytes
    framing: bytes
    body: int
    bodyless: bool
    persistent: bool
    has_date: bool
    plain: bytes | None


def is_ours(name: bytes) -> bool:
    """
    Whether a field of this name (lower case) from outside would be taken for one of ours.
    """
    plain = name.replace(b"_", b"-")
    return plain in _OURS or plain.startswith(_OUR_PREFIXES)


def _ends_here(name: bytes) -> bool:
    """
    Whether a request's field of this name (lower case) is not passed on, or is written anew.
    """
    return name in _HOP_BY_HOP or name.replace(b"_", b"-") in _FRAMING or is_ours(name)


_ENDS_HERE: Final = {name: _ends_here(name) for name in LOWER_CASE.values()}


def prepare_request(head: RequestHead, place: Place) -> Request:
    """
    Make the head what the next server is to see.
    """
    dropped, values = head.options, head.values
    lines = [b"%s %s HTTP/1.1" % (head.method, head.target)]
    for name, line in head.fields:
        ends = _ENDS_HERE.get(name)
        if name not in dropped and not (_ends_here(name) if ends is None else ends):
            lines.append(line)
    if head.body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif b"content-length" in values:
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
        plain=head.keep_alive and not head.http10,
        repeatable=head.method in _IDEMPOTENT,
        core=b"\r\n".join(lines),
        host=head.host,
        place=place,
        cf=_cf(values.get(b"accept-encoding"), head.http10),
        version_key=_joined(values.get(_VERSION_KEY)),
        forwarded_for=_joined(values.get(b"x-forwarded-for")),
        forwarded_host=_last_item(values.get(b"x-forwarded-host")),
        forwarded_proto=_last_item(values.get(b"x-forwarded-proto")),
    )


def prepare_response(head: ResponseHead) -> Response:
    """
    Make the head what the client is to see. For 101, `Upgrade` is kept.
    """
    lines = [b"HTTP/1.1 %d %s" % (head.status, head.reason)]
    has_date = False
    for name, line in head.fields:
        if (
            name in _HOP_BY_HOP
            or name in head.options
            or name == _RAY
            or name.startswith(_NOT_FROM_FUNCTIONS)
        ):
            continue
        has_date = has_date or name == b"date"
        lines.append(line)
    if head.status == 101:
        upgrades = head.values.get(b"upgrade", ())
        lines.append(b"connection: upgrade\r\nupgrade: " + b", ".join(upgrades))
    bodyless = head.status < 200 or head.status in (204, 304)
    persistent = head.persistent and (bodyless or head.body != UNTIL_CLOSE)
    lines.append(b"")
    core, framing = b"\r\n".join(lines), _framing(head)
    return Response(
        status=head.status,
        core=core,
        framing=framing,
        body=head.body,
        bodyless=bodyless,
        persistent=persistent,
        has_date=has_date,
        plain=core + framing if persistent and not has_date and not bodyless else None,
    )


def _framing(head: ResponseHead) -> bytes:
    if head.status < 200 or head.status == 204:
        return b""  # RFC 9110 section 8.6
    if head.body == CHUNKED:
        return b"" if head.status == 304 else b"transfer-encoding: chunked\r\n"
    return b"" if head.length is None else b"content-length: %d\r\n" % head.length


def _joined(values: Sequence[bytes] | None) -> bytes | None:
    return b", ".join(values) if values else None


def _last_item(values: Sequence[bytes] | None) -> bytes | None:
    """
    Of a list, the member that the nearest proxy added; the others may come from anybody.
    """
    return values[-1].rpartition(b",")[2].strip(b" \t") if values else None


@functools.lru_cache(256)
def _encodings(accepted: bytes) -> bytes:
    return b',"clientAcceptEncoding":' + json.dumps(accepted.decode("latin-1")).encode()


def _cf(accepted: Sequence[bytes] | None, http10: bool) -> bytes:
    protocol = b'"httpProtocol":"HTTP/1.0"' if http10 else b'"httpProtocol":"HTTP/1.1"'
    return protocol + _encodings(b", ".join(accepted)) if accepted else protocol


def head_for_upstream(request: Request, host: bytes, who: Client, route: Route | None) -> bytes:
    """
    The head that the next server sees, but for the request id and the empty line.

    Args:
        host: The host that it is to see.
        route: The version to run; None for the API, which gets no `request.cf`.
    """
    lines = b"".join(
        (request.core, b"host: ", host, b"\r\nx-forwarded-host: ", host, b"\r\n", who.lines)
    )
    if route is None:
        return lines
    # Ids and names are made of hex digits, letters and dashes (`domain.names`).
    cf = f'{ROUTE_AND_CF}: {{"version":"{route.version_id}","function":"{route.function}",'
    return b"".join((lines, cf.encode("ascii"), who.cf, b",", request.cf, b"}\r\n"))
