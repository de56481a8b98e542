"""The bounded memory of what functions said."""

from typing import Any

from workerd_faas.usecases.function_log import (
    KEPT_BYTES,
    KEPT_INVOCATIONS,
    MAX_FUNCTIONS,
    RecentEvents,
    request_id,
    said,
)


def trace(text: str = "hi", **changes: Any) -> dict[str, Any]:
    """
    A tail event.
    """
    return {
        "outcome": "ok",
        "logs": [{"message": [text], "level": "log", "timestamp": 1}],
        "exceptions": [],
        "event": {"request": {"headers": {"cf-ray": "0123456789abcdef"}}},
        **changes,
    }


def test_traces_are_kept_with_their_version() -> None:
    """
    What was said comes back in order, with the version that said it.
    """
    events = RecentEvents()
    events.invocation("hello", "v1", trace("one"))
    events.invocation("hello", "v2", trace("two"))
    kept = events.recent("hello")
    assert [t["logs"][0]["message"] for t in kept] == [["one"], ["two"]]
    assert [t["scriptVersion"] for t in kept] == [{"id": "v1"}, {"id": "v2"}]
    assert events.recent("other") == []
    events.forget("hello")
    assert events.recent("hello") == []


def test_a_talkative_function_pushes_out_only_its_own() -> None:
    """
    Number and bytes are bounded for each function alone.
    """
    events = RecentEvents()
    events.invocation("quiet", "v", trace("still here"))
    for n in range(3 * KEPT_INVOCATIONS):
        events.invocation("loud", "v", trace(f"{n} " + "x" * 5000))
    kept = events.recent("loud")
    assert 0 < len(kept) <= KEPT_INVOCATIONS
    assert sum(len(str(t)) for t in kept) < KEPT_BYTES * 1.1
    assert kept[-1]["logs"][0]["message"][0].startswith(f"{3 * KEPT_INVOCATIONS - 1} ")
    events.invocation("loud", "v", trace("x" * 1_000_000))
    assert len(events.recent("loud")) == len(kept)
    assert len(events.recent("quiet")) == 1


def test_the_number_of_functions_is_bounded() -> None:
    """
    The function that was silent longest is forgotten first.
    """
    events = RecentEvents()
    for n in range(MAX_FUNCTIONS):
        events.invocation(f"f{n}", "v", trace())
    events.invocation("f0", "v", trace())
    events.invocation("new", "v", trace())
    assert events.recent("f1") == []
    assert len(events.recent("f0")) == 2


def test_the_request_id_is_found_or_not() -> None:
    """
    The id is the CF-Ray of a fetch event; any other shape has none.
    """
    assert request_id(trace()) == "0123456789abcdef"
    odd: list[Any] = [None, {}, [], {"request": None}, {"request": {"headers": {"cf-ray": 1}}}]
    for event in odd:
        assert request_id(trace(event=event)) is None


def test_what_was_said_is_one_line_each() -> None:
    """
    Console calls and exceptions become lines; a trace of another shape becomes none.
    """
    exception = {"name": "TypeError", "message": "no", "stack": "…"}
    logs = [{"level": "warn", "message": ["a", {"b": [1]}, 2]}]
    found = said(trace(logs=logs, exceptions=[exception]))
    assert found == ['warn: a {"b": [1]} 2', "TypeError: no"]
    assert said({"logs": "x", "exceptions": [1, None]}) == []
