"""Requests from outside, and what of their answers is compared."""

import json
import re
from http.client import HTTPException
from typing import Any, Final

import attrs

from tests.compatibility.differences import FIELDS
from tests.compatibility.platforms import Answer, Platform


@attrs.frozen
class Exchange:
    """
    One request.
    """

    what: str
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


FORM: Final = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\ncontent\r\n--b--\r\n"
)

REQUESTS: Final = (
    Exchange("GET", "/seen"),
    Exchange("a query", "/seen?a=1&a=2&b=%20+%C3%A9&c"),
    Exchange("an escaped path", "/seen/%C3%A9/%2F/a%20b"),
    Exchange("dots in a path", "/seen/x/../y/./z"),
    Exchange("two slashes", "/seen//x"),
    Exchange("quotes and angles in a query", '/seen?a="<b>"'),
    Exchange("a long path", "/seen/" + "x" * 4000),
    Exchange("POST", "/seen", "POST", (), b"hello"),
    Exchange("POST without a body", "/seen", "POST", (), b""),
    Exchange("PUT", "/seen", "PUT", (), b"x"),
    Exchange("PATCH", "/seen", "PATCH", (), b"x"),
    Exchange("DELETE", "/seen", "DELETE"),
    Exchange("OPTIONS", "/seen", "OPTIONS"),
    Exchange("a method of one's own", "/seen", "PURGE"),
    Exchange("fields", "/seen", headers=(("X-One", "1"), ("X-Two", "a, b"), ("X-Empty", ""))),
    Exchange("a field twice", "/seen", headers=(("X-Twice", "1"), ("X-Twice", "2"))),
    Exchange("a field beyond ASCII", "/seen", headers=(("X-Name", "é"),)),
    Exchange("a cookie twice", "/seen", headers=(("Cookie", "a=1"), ("Cookie", "b=2"))),
    Exchange("Accept-Encoding", "/seen", headers=(("Accept-Encoding", "gzip, br"),)),
    Exchange("Authorization", "/seen", headers=(("Authorization", "Bearer x"),)),
    Exchange("hop-by-hop fields", "/seen", headers=(("Connection", "x-hop"), ("X-Hop", "1"))),
    Exchange("forged CF-Connecting-IP", "/seen", headers=(("CF-Connecting-IP", "192.0.2.1"),)),
    Exchange("forged CF-Ray", "/seen", headers=(("CF-Ray", "forged"),)),
    Exchange("forged X-Forwarded-For", "/seen", headers=(("X-Forwarded-For", "192.0.2.1"),)),
    Exchange("forged X-Forwarded-Proto", "/seen", headers=(("X-Forwarded-Proto", "https"),)),
    Exchange("forged X-Real-IP", "/seen", headers=(("X-Real-IP", "192.0.2.1"),)),
    Exchange("forged X-Forwarded-Host", "/seen", headers=(("X-Forwarded-Host", "evil.example"),)),
    Exchange("names of fields", "/names"),
    Exchange(
        "a form", "/form", "POST", (("Content-Type", "multipart/form-data; boundary=b"),), FORM
    ),
    Exchange(
        "a short form",
        "/form",
        "POST",
        (("Content-Type", "application/x-www-form-urlencoded"),),
        b"a=1&b=%C3%A9",
    ),
)

RESPONSES: Final = (
    Exchange("a text", "/text"),
    Exchange("HEAD of a text", "/text", "HEAD"),
    Exchange("bytes", "/bytes"),
    Exchange("JSON", "/json"),
    Exchange("HTML", "/html"),
    Exchange("no body", "/empty"),
    Exchange("204", "/nothing"),
    Exchange("304", "/unchanged"),
    Exchange("205", "/reset"),
    Exchange("an own reason", "/reason"),
    Exchange("a redirect", "/redirect"),
    Exchange("a stream", "/stream"),
    Exchange("HEAD of a stream", "/stream", "HEAD"),
    Exchange("an own Content-Length", "/length"),
    Exchange("a stream of fixed length", "/fixed"),
    Exchange("cookies", "/cookies"),
    Exchange("a field beyond ASCII", "/latin"),
    Exchange("Vary, Cache-Control, Server, Date", "/vary"),
    Exchange("gzip for who accepts it", "/gzip", headers=(("Accept-Encoding", "gzip"),)),
    Exchange("gzip for who does not", "/gzip"),
    Exchange("packed by itself", "/packed", headers=(("Accept-Encoding", "gzip"),)),
    Exchange("a large body", "/large"),
    Exchange("Connection, Keep-Alive", "/connection"),
    Exchange("the body was not read", "/early", "POST", (), b"x" * 100_000),
    Exchange("no such path", "/no-such-exchange"),
    Exchange("waitUntil", "/late"),
    Exchange("what waitUntil did", "/waited"),
)

ERRORS: Final = (
    Exchange("an exception", "/throw"),
    Exchange("an exception, for a browser", "/throw", headers=(("Accept", "text/html"),)),
    Exchange("a rejection with a text", "/reject"),
    Exchange("an answer that is undefined", "/undefined"),
    Exchange("an answer that is a string", "/string"),
    Exchange("an answer that never comes", "/hangs"),
    Exchange("Response.error()", "/error"),
    Exchange("a stream that breaks", "/broken"),
    Exchange("passThroughOnException", "/pass"),
    Exchange("a form that is none", "/form", "POST", (("Content-Type", "text/plain"),), b"x"),
)

SITE: Final = tuple(
    Exchange(what, path, method, headers)
    for what, path, method, headers in (
        ("a page", "/page", "GET", ()),
        ("a page with its extension", "/page.html", "GET", ()),
        ("a directory", "/dir/", "GET", ()),
        ("a file", "/hello.txt", "GET", ()),
        ("HEAD of a file", "/hello.txt", "HEAD", ()),
        ("POST to a file", "/hello.txt", "POST", ()),
        ("a range", "/hello.txt", "GET", (("Range", "bytes=1-3"),)),
        ("a range that is none", "/hello.txt", "GET", (("Range", "bytes=9-"),)),
        ("_headers", "/with-header.txt", "GET", ()),
        ("_redirects", "/moved", "GET", ()),
        ("a name beyond ASCII", "/%C3%BC.txt", "GET", ()),
        ("nothing, for a browser", "/nothing-here", "GET", (("Sec-Fetch-Mode", "navigate"),)),
    )
)

GROUPS: Final = {
    "requests": REQUESTS,
    "responses": RESPONSES,
    "errors": ERRORS,
    "site": SITE,
}

NOT_COMPARED_IN_REQUESTS: Final = {field.name for field in FIELDS if field.where == "request"}
NOT_COMPARED_IN_ANSWERS: Final = {field.name for field in FIELDS if field.where == "answer"} | {
    "content-length",
    "transfer-encoding",
}

_RAY: Final = re.compile(r"^[0-9a-f]{16}(-[A-Z]{3})?$")


def outcome(platform: Platform, exchange: Exchange) -> Any:
    """
    What came of it, without what is another at each request, and without the fields whose
    difference is declared (`differences.FIELDS`).
    """
    try:
        answer = platform.ask(exchange.method, exchange.path, exchange.headers, exchange.body)
    except (OSError, HTTPException) as error:
        return {"no whole answer": type(error).__name__}
    headers = [[name, _steady(name, value)] for name, value in answer.headers]
    return {
        "status": answer.status,
        "reason": answer.reason,
        "length": _length(exchange, dict(answer.headers)),
        "headers": sorted(pair for pair in headers if pair[0] not in NOT_COMPARED_IN_ANSWERS),
        "body": _body(platform, exchange, answer),
    }


def _length(exchange: Exchange, headers: dict[str, str]) -> str:
    """
    How the end of the body is told. How long it is shows in the body, but for HEAD.
    """
    if "content-length" in headers:
        return headers["content-length"] if exchange.method == "HEAD" else "told"
    return headers.get("transfer-encoding", "not told")


def _steady(name: str, value: str) -> str:
    if name == "date":
        return "a time" if value.endswith(" GMT") else value
    if name == "etag" and not value.startswith('"x"'):
        return "a tag"
    if name in {"cf-ray", "mf-request-id"} and _RAY.match(value):
        return "an id"
    return value


def _body(platform: Platform, exchange: Exchange, answer: Answer) -> Any:
    text = answer.body.decode("utf-8", "backslashreplace")
    text = text.replace(platform.host, "HOST").replace(f":{platform.port}", ":PORT")
    text = re.sub(r'("request_id": ?")[0-9a-f]+', r"\1ID", text)
    text = re.sub(r"<code>[0-9a-f]{16}</code>", "<code>ID</code>", text)
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if isinstance(document, dict) and isinstance(document.get("headers"), list):
        # What the request itself brings is compared: what becomes of it is the question.
        brought = {name.lower() for name, _ in exchange.headers}
        document["headers"] = [
            [name, _steady(name, value)]
            for name, value in document["headers"]
            if name not in NOT_COMPARED_IN_REQUESTS or name in brought
        ]
    return document
