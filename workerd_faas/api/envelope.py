"""Requests in, answers out: the pieces that every route shares."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from twisted.web.iweb import IRequest

from workerd_faas.api.errors import STATUS_AND_CODE, envelope_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.wire.strict_json import MAX_VALUES, RefusedJson, parse_json

T = TypeVar("T")

MAX_JSON_BODY: Final = 1 << 20
"""Bytes of a JSON body; no document of the API comes near it."""

MAX_PER_PAGE: Final = 1000

_UNAUTHENTICATED: Final = frozenset({Kind.UNAUTHENTICATED, Kind.NOBODY, Kind.TOKEN_INVALID})


def write_json(request: IRequest, status: int, document: Any) -> bytes:
    """
    Set status and headers for a JSON document and return its bytes.
    """
    return _write(request, status, _encoded(document))


def _write(request: IRequest, status: int, body: bytes) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    return body


def _encoded(document: Any) -> bytes:
    try:
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # JavaScript's strings may have lone surrogates, and so may what functions stored: JSON can
        # say them escaped only.
        return json.dumps(document, separators=(",", ":")).encode()


def answer(
    request: IRequest,
    result: Any,
    *,
    status: int = 200,
    info: dict[str, Any] | None = None,
    messages: Sequence[str] = (),
) -> bytes:
    """
    A success in Cloudflare's envelope; `messages` are for people.
    """
    document = {"success": True, "result": result, "errors": [], "messages": list(messages)}
    if info is not None:
        document["result_info"] = info
    return write_json(request, status, document)


def answer_made(request: IRequest, result: bytes, *, info: dict[str, Any] | None = None) -> bytes:
    """
    A success whose result is JSON already: what may be long is not read for being passed on.
    """
    more = b"" if info is None else b',"result_info":' + _encoded(info)
    body = b'{"success":true,"result":' + result + b',"errors":[],"messages":[]' + more + b"}"
    return _write(request, 200, body)


def answer_problem(request: IRequest, problem: Problem) -> bytes:
    """
    A failure in Cloudflare's envelope, with its status and `Retry-After`.
    """
    status = STATUS_AND_CODE[problem.kind][0]
    if problem.retry_after is not None:
        request.setHeader(b"retry-after", b"%d" % problem.retry_after)
    if problem.kind in _UNAUTHENTICATED:
        request.setHeader(b"www-authenticate", _challenge(_bearer_error(request)))
    elif problem.kind is Kind.SCOPE_MISSING:
        request.setHeader(b"www-authenticate", _challenge("insufficient_scope"))
    elif status == 401:  # which names a scheme always (RFC 9110 section 15.5.2)
        request.setHeader(b"www-authenticate", _challenge(None))
    return write_json(request, status, envelope_of(problem))


def _bearer_error(request: IRequest) -> str | None:
    """
    Who brought no bearer token is not told that one is wrong (RFC 6750 section 3.1).
    """
    sent = request.requestHeaders.getRawHeaders(b"authorization", [])
    brought = any(each.partition(b" ")[0].lower() == b"bearer" for each in sent)
    return "invalid_token" if brought else None


def _challenge(error: str | None) -> bytes:
    realm = 'Bearer realm="workerd-faas"'
    return (realm if error is None else f'{realm}, error="{error}"').encode()


def answer_page(
    request: IRequest, items: Sequence[T], shape: Callable[[T], Any] = lambda item: item
) -> bytes:
    """
    A numbered page of a whole list: `?page=` (from 1) and `?per_page=` (20 unless told).
    """
    page = number(request, "page", default=1, most=1_000_000)
    per_page = number(request, "per_page", default=20, most=MAX_PER_PAGE)
    shown = items[(page - 1) * per_page : page * per_page]
    info = {
        "page": page,
        "per_page": per_page,
        "count": len(shown),
        "total_count": len(items),
        "total_pages": -(-len(items) // per_page),
    }
    return answer(request, [shape(item) for item in shown], info=info)


def number(request: IRequest, name: str, *, default: int, most: int) -> int:
    """
    A whole number from 1 to `most` from the query.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    text = query(request, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message=f"The query parameter {name!r} takes a whole number from 1 to {most}.",
        )
    return int(text)


def query(request: IRequest, name: str) -> str | None:
    """
    A parameter of the query, None if it is not there.

    Raises:
        Problem: `BAD_REQUEST` when it is repeated or not UTF-8.
    """
    values: list[bytes] = request.args.get(name.encode(), [])
    if not values:
        return None
    try:
        (value,) = values
        return value.decode("utf-8")
    except ValueError:
        raise Problem(
            kind=Kind.BAD_REQUEST,
            message=f"The query parameter {name!r} must be there once, in UTF-8.",
        ) from None


def read_json(
    request: IRequest, *, max_bytes: int = MAX_JSON_BODY, max_values: int = MAX_VALUES
) -> dict[str, Any]:
    """
    The body as a JSON object, whatever its content type says (Wrangler labels some as text).

    Raises:
        Problem: `BAD_REQUEST`.
    """
    document = read_any_json(request, max_bytes=max_bytes, max_values=max_values)
    if not isinstance(document, dict):
        raise Problem(kind=Kind.BAD_REQUEST, message="The body must be a JSON object.")
    return document


def read_any_json(
    request: IRequest, *, max_bytes: int = MAX_JSON_BODY, max_values: int = MAX_VALUES
) -> Any:
    """
    The body as any JSON value.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    request.content.seek(0)
    try:
        content = request.content.read(max_bytes + 1)
        return parse_json(content, max_bytes=max_bytes, max_values=max_values)
    except RefusedJson as refused:
        raise Problem(kind=Kind.BAD_REQUEST, message=f"The body must be JSON: {refused}.") from None


def whole_body(request: IRequest) -> bytes:
    """
    The body as it came, even in another thread when the client has gone meanwhile.

    Raises:
        Problem: `BAD_REQUEST` then.
    """
    try:
        request.content.seek(0)
        content: bytes = request.content.read()
    except ValueError:  # twisted.web has closed the file
        raise Problem(
            kind=Kind.BAD_REQUEST, message="The client has gone before its upload was read."
        ) from None
    return content


def header(request: IRequest, name: str) -> str | None:
    """
    A header of the request that may be there once; latin-1, as HTTP has it.
    """
    values = request.requestHeaders.getRawHeaders(name.encode())
    return values[0].decode("latin-1") if values and len(values) == 1 else None
