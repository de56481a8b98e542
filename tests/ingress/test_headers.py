"""What becomes of heads."""

import json
import re

import pytest

from workerd_faas.domain.errors import Kind
from workerd_faas.domain.routing import Route
from workerd_faas.ingress.answers import _STATUS_AND_CODE
from workerd_faas.ingress.headers import (
    Request,
    Response,
    head_for_upstream,
    is_ours,
    prepare_request,
    prepare_response,
)
from workerd_faas.ingress.hosts import FunctionHost
from workerd_faas.ingress.http1 import parse_request, parse_response
from workerd_faas.ingress.peers import Peer, direct_client, parse_address


def prepared(*lines: bytes) -> Request:
    """
    A request with these fields.
    """
    head = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a.b", *lines, b"", b""])
    parsed = parse_request(head, max_line=1000, max_fields=50)
    return prepare_request(parsed, FunctionHost("a"))


def response(*lines: bytes, status: bytes = b"200 OK") -> Response:
    """
    A response with these fields.
    """
    head = b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])
    return prepare_response(parse_response(head, max_fields=50))


@pytest.mark.parametrize(
    "line",
    [
        b"wfaas-cf: {}",
        b"WFAAS-CF: {}",
        b"Wfaas_Cf: {}",
        b"wfaas-anything: x",
        b"CF-Connecting-IP: 1.2.3.4",
        b"cf_connecting_ip: 1.2.3.4",
        b"CF-Ray: 1",
        b"Cf-Visitor: x",
        b"CF-Worker: x",
        b"X-Forwarded-For: 1.2.3.4",
        b"X_Forwarded_For: 1.2.3.4",
        b"X-Forwarded-Proto: https",
        b"x-forwarded-host: evil",
        b"X-Forwarded-Whatever: x",
        b"X-Real-IP: 1.2.3.4",
        b"x_real-ip: 1.2.3.4",
        b"True-Client-IP: 1.2.3.4",
        b"Forwarded: for=1.2.3.4",
        b"Host_: x".replace(b"_", b""),
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eA==",
        b"TE: trailers",
        b"Trailer: A",
        b"Upgrade: websocket",
        b"HTTP2-Settings: x",
        b"Connection: x",
        b"Content_Length: 5",
        b"Transfer_Encoding: chunked",
    ],
)
def test_dropped(line: bytes) -> None:
    """
    No field of ours and none that is for the next hop alone is passed on.
    """
    if line.startswith(b"Host"):
        assert is_ours(b"host")
        return
    assert prepared(line).core == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "line",
    [b"Cookie: a=b", b"CFX: y", b"X-Forward: x", b"Cloudflare-Workers-Version-Key: k", b"Date: x"],
)
def test_kept(line: bytes) -> None:
    """
    Other fields are passed on as they were written.
    """
    assert prepared(line).core == b"GET / HTTP/1.1\r\n" + line + b"\r\n"


def test_connection_names() -> None:
    """
    What `Connection` names is dropped, but no length and nothing that tells who asks.
    """
    request = prepared(
        b"Connection: Cookie, X-A, Host, Content-Length, CF-Connecting-IP, wfaas-cf",
        b"cookie: a",
        b"x-a: b",
        b"X-B: c",
        b"Content-Length: 5",
    )
    assert request.core == b"GET / HTTP/1.1\r\nX-B: c\r\ncontent-length: 5\r\n"
    assert request.host == b"a.b"


def test_framing() -> None:
    """
    Lengths are written anew; an empty body that was announced stays announced.
    """
    assert prepared(b"Content-Length: 0005").core.endswith(b"content-length: 5\r\n")
    assert prepared(b"Content-Length: 0").core.endswith(b"content-length: 0\r\n")
    assert prepared(b"Transfer-Encoding: Chunked").core.endswith(b"transfer-encoding: chunked\r\n")


def test_cf() -> None:
    """
    `request.cf` is JSON whatever the client accepts.
    """
    request = prepared(b'Accept-Encoding: gzip"}, \xe4', b"Accept-Encoding: br")
    who = direct_client(Peer(address=parse_address("192.0.2.1")))
    head = head_for_upstream(request, b"a.b", who, Route("account", "f", "v"))
    (document,) = re.findall(rb"(?m)^wfaas-cf: (.*)\r$", head)
    cf = json.loads(document)
    assert (cf["version"], cf["function"], cf["clientIp"]) == ("v", "f", "192.0.2.1")
    assert b"wfaas-cf" not in head_for_upstream(request, b"a.b", who, None)
    assert cf["clientAcceptEncoding"] == 'gzip"}, \xe4, br'
    assert document.isascii()


def test_response() -> None:
    """
    Of a response, what is for us alone and the request id are dropped.
    """
    kept = response(
        b"Connection: close, X-A",
        b"X-A: b",
        b"Keep-Alive: x",
        b"CF-Ray: forged",
        b"wfaas-x: y",
        b"Upgrade: h2c",
        b"Trailer: T",
        b"Content-Type: text/plain",
        b"Content-Length: 5",
    )
    assert kept.core == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    assert kept.framing == b"content-length: 5\r\n"
    assert not kept.persistent
    assert response(b"Content-Length: 0", status=b"204 No").framing == b""
    assert response(b"Transfer-Encoding: chunked", status=b"304 No").framing == b""
    assert response(b"Date: x").has_date


def test_codes_agree() -> None:
    """
    A problem has the same status and code whether the relay or the API answers.
    """
    from workerd_faas.api.errors import STATUS_AND_CODE

    assert {kind: STATUS_AND_CODE[kind] for kind in _STATUS_AND_CODE} == _STATUS_AND_CODE
    assert Kind.UNAVAILABLE in _STATUS_AND_CODE
