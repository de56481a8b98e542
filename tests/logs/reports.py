"""Reports as cells send them."""

from typing import Any

from workerd_faas.domain.invocation import Invocation, read_invocation
from workerd_faas.domain.routing import Route

ACCOUNT = "a" * 32
OTHER = "b" * 32
VERSION = "11111111-2222-4333-8444-555555555555"
ROUTE = Route(ACCOUNT, "talker", VERSION)
NOW = 1_795_000_000_000


def trace(*said: Any, **changes: Any) -> dict[str, Any]:
    """
    A tail event of a request in which these were printed.
    """
    request = {
        "url": "https://talker.test/path",
        "method": "GET",
        "headers": {"cf-ray": "0123456789abcdef", "cf-connecting-ip": "192.0.2.7"},
        "cf": {"version": VERSION, "function": "talker", "colo": "SELF"},
    }
    return {
        "outcome": "ok",
        "eventTimestamp": NOW,
        "logs": [{"message": [word], "level": "log", "timestamp": NOW} for word in said],
        "exceptions": [],
        "event": {"request": request, "response": {"status": 200}},
        **changes,
    }


def invocation(*said: Any, route: Route = ROUTE, **changes: Any) -> Invocation:
    """
    The same, read.
    """
    return read_invocation(route, trace(*said, **changes), ended=NOW + 5, now=NOW + 10)


def exception(message: str = "no", stack: str = "    at fetch (index.js:1:2)") -> dict[str, Any]:
    """
    One entry of `exceptions`.
    """
    return {"name": "TypeError", "message": message, "stack": stack, "timestamp": NOW}
