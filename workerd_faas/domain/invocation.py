"""
What one invocation of a function said and how it ended, in the shape of Cloudflare's tail events.

A report comes from a cell, where a tenant's code runs: nothing in it is believed. What is kept is
of known shape and size, and what a text log or a terminal would take for a command stays text.
"""

import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from workerd_faas.domain.routing import Route

MAX_BYTES: Final = 512 * 1024
"""Of one invocation as JSON; what is longer loses its last lines."""

MAX_LINES: Final = 5000
MAX_EXCEPTIONS: Final = 50
MAX_SEARCHED: Final = 64 * 1024
"""Characters of an invocation's text that can be searched for."""

_LONGEST_NAME: Final = 200
_WORD: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_LATEST: Final = 1 << 53


class Level(enum.IntFlag):
    """
    How an invocation spoke: the console's levels, and whether anything went wrong.
    """

    DEBUG = 1
    LOG = 2
    INFO = 4
    WARN = 8
    ERROR = 16
    EXCEPTION = 32


LEVELS: Final[Mapping[str, Level]] = {level.name.lower(): level for level in Level if level.name}


@attrs.frozen(kw_only=True)
class Invocation:
    """
    One invocation.

    Attributes:
        time: When it began, in milliseconds since 1970.
        request_id: The `CF-Ray` of the request that caused it, if one did.
        levels: Everything that occurs in it.
        text: Its console lines and exceptions, to be searched.
        document: The tail event as ASCII JSON.
        has_stacks: Whether there is something in it that a source map could make clearer.
        is_loss: It says what was dropped.
    """

    route: Route
    time: int
    outcome: str
    request_id: str | None
    levels: Level
    text: str
    document: str = attrs.field(repr=lambda document: f"<{len(document)} characters>")
    has_stacks: bool = False
    is_loss: bool = False

    @property
    def event(self) -> dict[str, Any]:
        """
        The tail event.
        """
        event: dict[str, Any] = json.loads(self.document)
        return event


def read_invocation(route: Route, trace: Mapping[str, Any], *, ended: Any, now: int) -> Invocation:
    """
    An invocation from what a cell reports.

    Args:
        trace: A tail event as workerd's tail handler gets it.
        ended: When it was over by the cell's clock, in milliseconds; believed if it can be.
        now: Our own time in milliseconds, for reports that have none.

    Raises:
        ValueError: it cannot be written as JSON.
    """
    began = _moment(trace.get("eventTimestamp"), now)
    event = trace.get("event")
    logs = [_log(each) for each in _objects(trace.get("logs"), MAX_LINES)]
    exceptions = [_exception(each) for each in _objects(trace.get("exceptions"), MAX_EXCEPTIONS)]
    document: dict[str, Any] = {
        "outcome": _outcome(trace),
        "scriptName": route.function,
        "scriptVersion": {"id": route.version_id},
        "entrypoint": _name(trace.get("entrypoint"), None),
        "eventTimestamp": began,
        "event": _event(event) if isinstance(event, dict) else None,
        "logs": logs,
        "exceptions": exceptions,
        "diagnosticsChannelEvents": [],
        "truncated": trace.get("truncated") is True or len(logs) == MAX_LINES,
        "cpuTime": _duration(trace.get("cpuTime")),
        "wallTime": max(_duration(trace.get("wallTime")), _moment(ended, began) - began, 0),
        "executionModel": "stateless",
    }
    text = _within_bounds(document)
    return Invocation(
        route=route,
        time=began,
        outcome=document["outcome"],
        request_id=_request_id(document["event"]),
        levels=_levels(logs, exceptions),
        text="\n".join(lines(document))[:MAX_SEARCHED],
        document=text,
        has_stacks=bool(exceptions) or any("errorInfo" in log for log in logs),
    )


def loss(route: Route, *, invocations: int, dropped_lines: int, now: int) -> Invocation:
    """
    The event that says what was not kept. Wrangler shows its message in the place of the event.
    """
    what = " and ".join(
        f"{count} {word}"
        for count, word in ((invocations, "invocations"), (dropped_lines, "lines"))
        if count
    )
    message = (
        f"{what} of this function's log were dropped: it writes more than is kept. "
        "Requests are served all the same."
    )
    document: dict[str, Any] = {
        "outcome": "ok",
        "scriptName": route.function,
        "scriptVersion": {"id": route.version_id},
        "entrypoint": None,
        "eventTimestamp": now,
        "event": {
            "type": "overload",
            "message": message,
            "droppedInvocations": invocations,
            "droppedLines": dropped_lines,
        },
        "logs": [],
        "exceptions": [],
        "diagnosticsChannelEvents": [],
        "truncated": True,
        "cpuTime": 0,
        "wallTime": 0,
        "executionModel": "stateless",
    }
    return Invocation(
        route=route,
        time=now,
        outcome="ok",
        request_id=None,
        levels=Level.WARN,
        text=message,
        document=_json(document),
        is_loss=True,
    )


def lines(event: Mapping[str, Any]) -> Iterable[str]:
    """
    The console calls and exceptions of a tail event, each as one text.
    """
    for log in event["logs"]:
        yield " ".join(_word(word) for word in log["message"])
    for exception in event["exceptions"]:
        yield f"{exception['name']}: {exception['message']}"


def with_stacks(event: dict[str, Any], change: Callable[[str], str]) -> None:
    """
    Change each stack trace of a tail event, in place.
    """
    for exception in event["exceptions"]:
        if "stack" in exception:
            exception["stack"] = change(exception["stack"])
    for log in event["logs"]:
        for info in log.get("errorInfo", ()):
            if info is not None and "stack" in info:
                info["stack"] = change(info["stack"])


def one_line(text: str) -> str:
    """
    Text that stays on its line and moves no cursor: control characters, and those that separate
    lines or turn the direction of writing, are written as escapes.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _within_bounds(document: dict[str, Any]) -> str:
    """
    The document as JSON, without the last lines if there are too many.
    """
    text = _json(document)
    while len(text) > MAX_BYTES:
        document["truncated"] = True
        if document["logs"]:
            del document["logs"][len(document["logs"]) // 2 :]
        elif document["exceptions"]:
            del document["exceptions"][len(document["exceptions"]) // 2 :]
        elif document["event"] is not None:
            document["event"] = None
        text = _json(document)
    return text


def _json(document: Any) -> str:
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _word(word: Any) -> str:
    return word if isinstance(word, str) else json.dumps(word, ensure_ascii=False)


def _levels(logs: list[dict[str, Any]], exceptions: list[dict[str, Any]]) -> Level:
    found = Level.EXCEPTION if exceptions else Level(0)
    for log in logs:
        found |= LEVELS[log["level"]]
    return found


def _log(log: dict[str, Any]) -> dict[str, Any]:
    message, level = log.get("message"), log.get("level")
    made = {
        "message": message if isinstance(message, list) else [message],
        "level": level if level in ("debug", "info", "warn", "error") else "log",
        "timestamp": _moment(log.get("timestamp"), 0),
    }
    infos = log.get("errorInfo")
    if isinstance(infos, list):
        made["errorInfo"] = [_thrown(i) if isinstance(i, dict) else None for i in infos]
    return made


def _exception(exception: dict[str, Any]) -> dict[str, Any]:
    return {**_thrown(exception), "timestamp": _moment(exception.get("timestamp"), 0)}


def _thrown(error: dict[str, Any]) -> dict[str, Any]:
    made = {"name": _name(error.get("name"), "Error"), "message": _text(error.get("message"))}
    if isinstance(error.get("stack"), str):
        made["stack"] = error["stack"]
    return made


def _outcome(trace: Mapping[str, Any]) -> str:
    """
    How it ended. workerd calls it `ok` also if the client had gone before there was a response;
    the only other event of a request without one is that of a WebSocket.
    """
    outcome = _identifier(trace.get("outcome")) or "unknown"
    event = trace.get("event")
    if outcome != "ok" or not isinstance(event, dict) or event.get("response") is not None:
        return outcome
    request = event.get("request")
    headers = request.get("headers") if isinstance(request, dict) else None
    # A report that had to be cut has none of the headers.
    told = isinstance(headers, dict) and headers and "upgrade" not in headers
    return "canceled" if told else outcome


def _event(event: dict[str, Any]) -> dict[str, Any]:
    """
    What caused the invocation, without what only the platform puts into `request.cf`.
    """
    request = event.get("request")
    if not isinstance(request, dict):
        return event
    cf, headers = request.get("cf"), request.get("headers")
    return {
        **event,
        "request": {
            "url": _text(request.get("url")),
            "method": _text(request.get("method")),
            "headers": headers if isinstance(headers, dict) else {},
            "cf": {k: v for k, v in cf.items() if k not in ("version", "function")}
            if isinstance(cf, dict)
            else {},
        },
    }


def _request_id(event: dict[str, Any] | None) -> str | None:
    request = (event or {}).get("request")
    return _identifier(request["headers"].get("cf-ray")) if isinstance(request, dict) else None


def _objects(found: Any, most: int) -> list[dict[str, Any]]:
    return [e for e in found[:most] if isinstance(e, dict)] if isinstance(found, list) else []


def _identifier(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _name(value: Any, otherwise: Any) -> Any:
    return value[:_LONGEST_NAME] if isinstance(value, str) else otherwise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _moment(value: Any, otherwise: int) -> int:
    return value if _is_number(value) and isinstance(value, int) else otherwise


def _duration(value: Any) -> int | float:
    return value if _is_number(value) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST
