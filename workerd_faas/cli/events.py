"""
Tail events as text for people.

What a function prints must stay what it printed: no control character reaches the terminal, and a
line break in a message cannot make it look like the next event.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from workerd_faas.cli.terminal import printable

_OUTCOMES: Final = {
    "ok": "Ok",
    "canceled": "Canceled",
    "exception": "Exception Thrown",
    "exceededCpu": "Exceeded CPU Limit",
    "exceededMemory": "Exceeded Memory Limit",
}
_STYLES: Final = {"error": "red", "warn": "yellow", "debug": "dim"}


def shown(event: Mapping[str, Any], *, with_name: bool = False) -> Text:
    """
    An event as lines: what caused it and how it ended, then each console call and exception.
    """
    text = Text()
    name = f"{event.get('scriptName')}: " if with_name else ""
    outcome = str(event.get("outcome"))
    text.append(_line(f"{name}{_head(event)}"), "bold" if outcome == "ok" else "bold red")
    for log in _objects(event.get("logs")):
        level = str(log.get("level"))
        message = log.get("message")
        words = message if isinstance(message, list) else [message]
        said = " ".join(word if isinstance(word, str) else json.dumps(word) for word in words)
        text.append("\n" + _block(f"({level}) {said}"), _STYLES.get(level, ""))
        for info in _objects(log.get("errorInfo")):
            text.append(_stack(info), "dim")
    for exception in _objects(event.get("exceptions")):
        said = f"{exception.get('name')}: {exception.get('message')}"
        text.append("\n" + _block(said), "red")
        text.append(_stack(exception), "dim")
    return text


def _head(event: Mapping[str, Any]) -> str:
    cause = event.get("event")
    cause = cause if isinstance(cause, dict) else {}
    if isinstance(cause.get("message"), str) and "type" in cause:
        return str(cause["message"])
    outcome = str(event.get("outcome"))
    parts = [f"{_cause(cause, event)} - {_OUTCOMES.get(outcome, 'Unknown')}"]
    response = cause.get("response")
    if isinstance(response, dict):
        parts.append(str(response.get("status")))
    parts.append(f"@ {_time(event.get('eventTimestamp'))}")
    details = [f"{event.get('wallTime')} ms"]
    version = event.get("scriptVersion")
    if isinstance(version, dict):
        details.append(f"version {str(version.get('id'))[:8]}")
    request = cause.get("request")
    headers = request.get("headers") if isinstance(request, dict) else None
    if isinstance(headers, dict) and "cf-ray" in headers:
        details.append(f"request {headers['cf-ray']}")
    return f"{' '.join(parts)} ({', '.join(details)})"


def _cause(cause: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    request = cause.get("request")
    if isinstance(request, dict):
        return f"{request.get('method')} {request.get('url')}"
    if "cron" in cause:
        return f'"{cause["cron"]}"'
    if "queue" in cause:
        return f"Queue {cause['queue']} ({cause.get('batchSize')} messages)"
    if "rpcMethod" in cause:
        return f"{event.get('entrypoint')}.{cause['rpcMethod']}"
    if isinstance(cause.get("consumedEvents"), list):
        names = {str(each.get("scriptName")) for each in _objects(cause["consumedEvents"])}
        return f"Tailing {', '.join(sorted(names))}"
    return "Unknown Event"


def _time(value: Any) -> str:
    try:
        return datetime.fromtimestamp(value / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError, OverflowError, OSError):
        return "-"


def _stack(error: Mapping[str, Any]) -> str:
    stack = error.get("stack")
    return "\n" + _block(stack) if isinstance(stack, str) and stack else ""


def _line(text: str) -> str:
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def _block(text: str) -> str:
    return "  " + printable(text.strip("\n")).replace("\n", "\n    ")


def _objects(found: Any) -> list[dict[str, Any]]:
    return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
