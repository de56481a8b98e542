"""Tail events as text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.cli.events import shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = ("outcome", "scriptName", "scriptVersion", "eventTimestamp", "wallTime", "event")


def event(**changes: Any) -> dict[str, Any]:
    """
    A request's event.
    """
    request = {
        "url": "https://hello.test/",
        "method": "GET",
        "headers": {"cf-ray": "0123456789abcdef"},
    }
    return {
        "outcome": "ok",
        "scriptName": "hello",
        "scriptVersion": {"id": "11111111-2222-4333-8444-555555555555"},
        "eventTimestamp": 1_795_000_000_000,
        "wallTime": 12,
        "event": {"request": request, "response": {"status": 204}},
        "logs": [],
        "exceptions": [],
        **changes,
    }


def test_a_request() -> None:
    """
    Cause, outcome, status, time, duration, version and request id are on the first line.
    """
    text = shown(event(), with_name=True).plain
    assert text.startswith("hello: GET https://hello.test/ - Ok 204 @ ")
    assert text.endswith("(12 ms, version 11111111, request 0123456789abcdef)")


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ({"cron": "* * * * *", "scheduledTime": 1}, '"* * * * *" - Ok'),
        ({"queue": "jobs", "batchSize": 3}, "Queue jobs (3 messages) - Ok"),
        ({"rpcMethod": "add"}, "Adder.add - Ok"),
        ({"consumedEvents": [{"scriptName": "a"}, {"scriptName": "a"}]}, "Tailing a - Ok"),
        ({"type": "overload", "message": "9 lines were dropped"}, "9 lines were dropped"),
        (None, "Unknown Event - Ok"),
    ],
)
def test_causes(cause: Any, expected: str) -> None:
    """
    Each kind of event is called what Wrangler calls it.
    """
    assert shown(event(event=cause, entrypoint="Adder")).plain.startswith(expected)


def test_nothing_printed_can_be_taken_for_something_else() -> None:
    """
    Further lines of a message are indented more than any line of ours, and control characters are
    gone, in every part that a function or its caller decides.
    """
    evil = "x\r\n\x1b[2JGET https://forged/ - Ok\x07\u202e"
    found = shown(
        event(
            outcome=evil,
            event={"request": {"url": evil, "method": evil, "headers": {"cf-ray": evil}}},
            logs=[{"level": evil, "message": [evil, {evil: evil}]}],
            exceptions=[{"name": evil, "message": evil, "stack": evil}],
        )
    ).plain
    first, *others = found.split("\n")
    assert first.startswith("x")
    assert all(line.startswith("  ") for line in others)
    assert not set(found) & set("\x1b\x07\u202e\r")


@given(st.dictionaries(st.sampled_from([*KEYS, "logs", "exceptions"]), JSON))
def test_any_event_is_shown(found: dict[str, Any]) -> None:
    """
    Whatever a server sends is text in the end.
    """
    assert isinstance(shown(found).plain, str)
