"""Our own answers: problems in Cloudflare's envelope, as bytes. Pure."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.ingress.http1 import Malformed
from workerd_faas.wire.headers import TERMINATION

_STATUS_AND_CODE: Final[Mapping[Kind, tuple[int, int]]] = {
    Kind.BAD_REQUEST: (400, 10001),
    Kind.BODY_TOO_LARGE: (413, 10002),
    Kind.VERSION_NOT_FOUND: (404, 10008),
    Kind.VERSION_AMBIGUOUS: (409, 10009),
    Kind.HOST_INVALID: (400, 10017),
    Kind.HOST_UNKNOWN: (404, 10018),
    Kind.FUNCTION_NOT_FOUND: (404, 10019),
    Kind.NOT_DEPLOYED: (404, 10020),
    Kind.TOO_MANY_REQUESTS: (429, 10429),
    Kind.INTERNAL: (500, 10500),
    Kind.UPSTREAM_FAILED: (502, 10502),
    Kind.UNAVAILABLE: (503, 10503),
    Kind.UPSTREAM_TIMEOUT: (504, 10504),
    Kind.TERMINATED: (503, 10505),
    Kind.QUARANTINED: (503, 10506),
}
"""The codes are those of `api.errors`, where they overlap."""


def status_of(problem: Problem) -> int:
    """
    The HTTP status that a problem is answered with.
    """
    return _STATUS_AND_CODE.get(problem.kind, (500, 0))[0]


def problem_answer(
    problem: Problem, *, ray: bytes, date: bytes, connection: bytes, head_only: bool = False
) -> bytes:
    """
    A complete response.

    Args:
        date: The `Date` line.
        connection: The `Connection` line, or nothing.
        head_only: The request was HEAD.
    """
    status, code = _STATUS_AND_CODE.get(problem.kind, (500, 10500))
    extra = b""
    if problem.retry_after is not None:
        extra = b"retry-after: %d\r\n" % problem.retry_after
    error: dict[str, object] = {"code": code, "message": problem.message}
    if problem.termination is not None:
        error["termination"] = problem.termination.value
        extra += b"%s: %s\r\n" % (TERMINATION.encode(), problem.termination.value.encode())
    return _answer(status, error, ray, date, extra + connection, head_only)


def malformed_answer(malformed: Malformed, *, ray: bytes, date: bytes) -> bytes:
    """
    The last response of a connection that cannot go on.
    """
    status = malformed.status
    code = {400: 10001, 413: 10002}.get(status, 10000 + status)
    extra = b"retry-after: 1\r\n" if status == 503 else b""
    extra += b"connection: close\r\n"
    return _answer(status, {"code": code, "message": str(malformed)}, ray, date, extra, False)


def _answer(
    status: int,
    error: Mapping[str, object],
    ray: bytes,
    date: bytes,
    extra: bytes,
    head_only: bool,
) -> bytes:
    body = json.dumps(
        {
            "success": False,
            "result": None,
            "errors": [error],
            "messages": [],
            "request_id": ray.decode("ascii"),
        },
        separators=(",", ":"),
    ).encode()
    head = b"".join(
        (
            b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode()),
            b"content-type: application/json\r\ncache-control: no-store\r\n"
            b"x-content-type-options: nosniff\r\n",
            b"content-length: %d\r\n" % len(body),
            date,
            b"cf-ray: " + ray + b"\r\n",
            extra,
            b"\r\n",
        )
    )
    return head if head_only else head + body
