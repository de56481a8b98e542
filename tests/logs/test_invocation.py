"""Reports of cells, which nobody believes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.logs.reports import NOW, ROUTE, VERSION, exception, invocation, trace
from workerd_faas.domain.invocation import (
    MAX_BYTES,
    MAX_LINES,
    Level,
    lines,
    loss,
    one_line,
    read_invocation,
    with_stacks,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(["outcome", "eventTimestamp", "logs", "exceptions", "event", "entrypoint"])
ENTRY = st.dictionaries(
    st.sampled_from(["message", "level", "timestamp", "name", "stack", "errorInfo"]), JSON
)


def test_an_event_has_what_wrangler_needs() -> None:
    """
    Names, version, times and request id are there, and what only the platform knows is not.
    """
    found = invocation("hello", {"a": 1})
    event = found.event
    assert found.request_id == "0123456789abcdef"
    assert event["scriptName"] == "talker"
    assert event["scriptVersion"] == {"id": VERSION}
    assert event["wallTime"] == 5
    assert event["event"]["request"]["cf"] == {"colo": "SELF"}
    assert event["event"]["response"] == {"status": 200}
    assert found.levels == Level.LOG
    assert found.text == 'hello\n{"a": 1}'


@given(st.dictionaries(KEYS, JSON | st.lists(ENTRY, max_size=3)), JSON)
def test_whatever_a_cell_says_becomes_an_event_or_is_refused(
    report: dict[str, Any], ended: Any
) -> None:
    """
    Any JSON gives an event that Wrangler's printing does not stumble over, or a ValueError.
    """
    try:
        found = read_invocation(ROUTE, report, ended=ended, now=NOW)
    except ValueError:
        return
    event = json.loads(found.document, parse_constant=pytest.fail)
    assert found.document.isascii()
    assert isinstance(event["outcome"], str)
    assert isinstance(event["eventTimestamp"], int)
    assert event["wallTime"] >= 0
    assert event["event"] is None or isinstance(event["event"], dict)
    for log in event["logs"]:
        assert isinstance(log["message"], list)
        assert log["level"] in ("debug", "log", "info", "warn", "error")
    for each in event["exceptions"]:
        assert isinstance(each["name"], str)
        assert isinstance(each["message"], str)
    list(lines(event))
    with_stacks(event, str.upper)


def test_a_request_without_a_response_was_canceled() -> None:
    """
    workerd's `ok` of a request that got no response is `canceled`, but for a WebSocket's, which
    never has one, and for events that are no requests.
    """
    answered = trace()["event"]
    request = answered["request"]
    socket = {**request, "headers": {**request["headers"], "upgrade": "websocket"}}
    for event, outcome in (
        (answered, "ok"),
        ({"request": request}, "canceled"),
        ({"request": request, "response": None}, "canceled"),
        ({"request": socket}, "ok"),
        ({"request": {**request, "headers": {}}}, "ok"),
        ({"cron": "* * * * *", "scheduledTime": NOW}, "ok"),
        (None, "ok"),
    ):
        assert invocation(event=event).outcome == outcome, event
    assert invocation(event={"request": request}, outcome="exception").outcome == "exception"


def test_a_long_report_loses_its_last_lines() -> None:
    """
    What is over the bound is cut off at the end, and the event says so.
    """
    found = invocation(*("x" * 1000 for _ in range(2000)))
    assert len(found.document) <= MAX_BYTES
    assert found.event["truncated"] is True
    assert 100 < len(found.event["logs"]) < 2000
    many = invocation(*range(2 * MAX_LINES))
    assert len(many.event["logs"]) == MAX_LINES
    assert many.event["truncated"] is True
    # The cause alone may be too much.
    huge = invocation("kept", event={"request": {"url": "u" * MAX_BYTES, "headers": {}}})
    assert len(huge.document) <= MAX_BYTES


def test_deep_reports_are_refused() -> None:
    """
    Nesting that cannot be written again is a ValueError, not a crash.
    """
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="deep"):
        invocation(deep)


def test_odd_texts_stay_text() -> None:
    """
    Lone surrogates and control characters are escapes in the document; names that are no names go.
    """
    found = invocation("\ud800\0\x1b[31m", outcome="ok\n2026 forged", event={})
    assert found.document.isascii()
    assert found.outcome == "unknown"
    odd = invocation(event={"request": {"headers": {"cf-ray": "a\nb"}}})
    assert odd.request_id is None


def test_levels_and_stacks() -> None:
    """
    Every level that occurs is known, and whether there are stack traces.
    """
    logs: list[Any] = [{"level": level, "message": []} for level in ("debug", "warn", "nonsense")]
    found = invocation(logs=logs, exceptions=[exception()])
    assert found.levels == Level.DEBUG | Level.WARN | Level.LOG | Level.EXCEPTION
    assert found.has_stacks
    assert not invocation("x").has_stacks
    handled = [{"level": "error", "message": ["E"], "errorInfo": [{"stack": "at f"}, None]}]
    event = invocation(logs=handled).event
    with_stacks(event, lambda stack: stack + "!")
    assert event["logs"][0]["errorInfo"][0]["stack"] == "at f!"


def test_a_loss_says_how_much() -> None:
    """
    The event of a loss has the numbers, in words for Wrangler and as numbers for programs.
    """
    event = loss(ROUTE, invocations=3, dropped_lines=1_000_000, now=NOW).event
    assert "3 invocations and 1000000 lines" in event["event"]["message"]
    assert event["event"]["type"] == "overload"
    assert event["event"]["droppedLines"] == 1_000_000
    assert event["logs"] == event["exceptions"] == []


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    """
    No text can end its line or move a cursor.
    """
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    assert not text.isprintable() or shown == text


def test_times_are_plausible_or_ours() -> None:
    """
    A report without a usable time gets our own; a clock that goes back gives no negative duration.
    """
    for odd in (None, "x", -1, 1e300, True, float("nan")):
        report = trace("x", eventTimestamp=odd)
        assert read_invocation(ROUTE, report, ended=odd, now=NOW).time == NOW
    assert read_invocation(ROUTE, trace("x"), ended=NOW - 1000, now=NOW).event["wallTime"] == 0
