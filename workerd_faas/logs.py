"""Log events as lines of JSON, one event a line, with the fields that the event was given."""

import json
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from twisted.logger import ILogObserver, formatEvent
from twisted.python.failure import Failure
from zope.interface import provider

MAX_FIELD: Final = 16 * 1024
"""Characters of one field; what is longer is cut."""


def json_observer(out: TextIO) -> ILogObserver:
    """
    An observer that writes to `out`.
    """

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        out.write(json_line(event))
        out.flush()

    observer: ILogObserver = observe
    return observer


def json_line(event: dict[str, Any]) -> str:
    """
    One event as a line: time, level, logger, message and its own fields.
    """
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0), UTC).isoformat(
            timespec="milliseconds"
        ),
        "level": event["log_level"].name if "log_level" in event else "info",
        "logger": event.get("log_namespace", "-"),
        "message": _cut(formatEvent(event)),
    }
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        line["failure"] = _cut(failure.getTraceback())
    for name, value in event.items():
        if not name.startswith("log_") and name not in _OLD and name not in line:
            line[name] = _plain(value)
    return json.dumps(line, ensure_ascii=False, default=_text) + "\n"


_OLD: Final = frozenset(
    {"format", "isError", "message", "system", "time", "why", "failure", "logLevel", "log_system"}
)
"""What the older logging system adds to each event."""


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _cut(value)
    return value


def _text(value: object) -> str:
    """
    For values that JSON does not know.
    """
    if isinstance(value, bytes):
        return _cut(value.decode("utf-8", "replace"))
    return _cut(str(value))


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= MAX_FIELD else text[:MAX_FIELD] + "…"
