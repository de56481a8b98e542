"""
Which invocations a live tail is about: Wrangler's filters, all of which must hold. Pure.

    {"filters": [{"outcome": ["ok"]}, {"method": ["GET"]}, {"query": "text"}, …]}
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.invocation import Invocation

OUTCOMES: Final = frozenset(
    {"ok", "canceled", "exception", "exceededCpu", "exceededMemory", "unknown"}
)
_NAMED: Final = OUTCOMES - {"unknown"}
SELF: Final = "self"

_MOST: Final = 50
_LONGEST: Final = 1000

Test = Callable[[Invocation, Mapping[str, Any]], bool]


@attrs.frozen
class TailFilters:
    """
    What a tail lets through.

    Attributes:
        sampling_rate: The share of the invocations that pass the tests, from 0 to 1.
    """

    tests: tuple[Test, ...] = ()
    sampling_rate: float = 1.0

    def let_through(self, invocation: Invocation, event: Mapping[str, Any], chance: float) -> bool:
        """
        Whether this tail shows it.

        Args:
            event: The invocation's tail event.
            chance: A random number from 0 to 1.
        """
        if chance >= self.sampling_rate:
            return False
        return all(test(invocation, event) for test in self.tests)


def read_filters(document: Mapping[str, Any], *, client_ip: str | None) -> TailFilters:
    """
    The filters of a request for a tail.

    Args:
        client_ip: The address of whoever asks: the filters call it `self`.

    Raises:
        Problem: `BAD_REQUEST`; names the filter.
    """
    given = document.get("filters", [])
    if not isinstance(given, list) or len(given) > _MOST:
        raise _refused("'filters' takes a list of at most 50 objects")
    tests: list[Test] = []
    rate = 1.0
    for each in given:
        if not isinstance(each, dict) or len(each) != 1:
            raise _refused("each filter is an object with one key")
        ((name, value),) = each.items()
        if name == "sampling_rate":
            rate *= _rate(value)
        elif name == "client_ip":
            tests.append(_by_address(_texts(name, value), client_ip))
        elif name in _READERS:
            tests.append(_READERS[name](value))
        else:
            known = ", ".join(sorted(["sampling_rate", "client_ip", *_READERS]))
            raise _refused(f"there is no filter {str(name)[:80]!r}; there are {known}")
    return TailFilters(tuple(tests), rate)


def _refused(message: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The tail's filters: {message}.")


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _refused("'sampling_rate' takes a number from 0 to 1")
    return float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise _refused(f"{name!r} takes a text of at most {_LONGEST} characters")
    return value


def _texts(name: str, value: Any) -> Sequence[str]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST:
        raise _refused(f"{name!r} takes a list of 1 to {_MOST} texts")
    return [_text(name, each) for each in value]


def _request(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = (event.get("event") or {}).get("request")
    return found if isinstance(found, dict) else None


def _by_outcome(value: Any) -> Test:
    wanted = frozenset(_texts("outcome", value))
    if not wanted <= OUTCOMES:
        raise _refused(f"'outcome' takes {', '.join(sorted(OUTCOMES))}")

    def test(invocation: Invocation, _event: Mapping[str, Any]) -> bool:
        outcome = invocation.outcome
        return (outcome if outcome in _NAMED else "unknown") in wanted

    return test


def _by_method(value: Any) -> Test:
    wanted = frozenset(text.upper() for text in _texts("method", value))

    def test(_invocation: Invocation, event: Mapping[str, Any]) -> bool:
        request = _request(event)
        return request is not None and request["method"].upper() in wanted

    return test


def _by_header(value: Any) -> Test:
    if not isinstance(value, dict) or not value.keys() <= {"key", "query"}:
        raise _refused("'header' takes an object with 'key' and, if wished, 'query'")
    key = _text("header", value.get("key")).lower()
    query = None if value.get("query") is None else _text("header", value["query"])

    def test(_invocation: Invocation, event: Mapping[str, Any]) -> bool:
        request = _request(event)
        found = None if request is None else request["headers"].get(key)
        return isinstance(found, str) and (query is None or query.lower() in found.lower())

    return test


def _by_text(value: Any) -> Test:
    wanted = _text("query", value).lower()

    def test(invocation: Invocation, _event: Mapping[str, Any]) -> bool:
        return wanted in invocation.text.lower()

    return test


def _by_version(value: Any) -> Test:
    wanted = _text("scriptVersion", value).lower()

    def test(invocation: Invocation, _event: Mapping[str, Any]) -> bool:
        return invocation.route.version_id.startswith(wanted)

    return test


def _by_address(values: Sequence[str], client_ip: str | None) -> Test:
    wanted = {_address(client_ip if value == SELF else value) for value in values}

    def test(_invocation: Invocation, event: Mapping[str, Any]) -> bool:
        request = _request(event)
        found = None if request is None else request["headers"].get("cf-connecting-ip")
        return isinstance(found, str) and found in wanted

    return test


def _address(text: str | None) -> str:
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        raise _refused("'client_ip' takes IP addresses, or 'self'") from None


_READERS: Final[Mapping[str, Callable[[Any], Test]]] = {
    "outcome": _by_outcome,
    "method": _by_method,
    "header": _by_header,
    "query": _by_text,
    "scriptVersion": _by_version,
}
