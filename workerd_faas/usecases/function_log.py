"""
What functions said lately: a bounded memory of their console output and exceptions.

Each function keeps its newest invocations, up to a number and a size, so that one that talks a lot
pushes out only its own. The same goes to the daemon's log as events, bounded in rate.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.logger import Logger

from workerd_faas.usecases.ports import FunctionEvents

KEPT_INVOCATIONS: Final = 200
KEPT_BYTES: Final = 256 * 1024
MAX_TRACE_BYTES: Final = 64 * 1024
MAX_FUNCTIONS: Final = 2000


@attrs.define(eq=False)
class _Kept:
    entries: deque[tuple[int, Mapping[str, Any]]] = attrs.Factory(deque)
    size: int = 0
    dropped: int = 0


@attrs.define(eq=False)
class RecentEvents:
    """
    `usecases.ports.FunctionEvents` in memory.
    """

    log = Logger(namespace="workerd_faas.function")

    _functions: dict[str, _Kept] = attrs.Factory(dict)

    def invocation(self, function: str, version_id: str, trace: Mapping[str, Any]) -> None:
        """
        See `usecases.ports.FunctionEvents.invocation`.
        """
        kept = self._functions.pop(function, None) or _Kept()
        self._functions[function] = kept  # the one heard last is at the end
        if len(self._functions) > MAX_FUNCTIONS:
            del self._functions[next(iter(self._functions))]
        size = len(json.dumps(trace))
        if size > MAX_TRACE_BYTES:
            kept.dropped += 1
            return
        kept.entries.append((size, {**trace, "scriptVersion": {"id": version_id}}))
        kept.size += size
        while len(kept.entries) > KEPT_INVOCATIONS or kept.size > KEPT_BYTES:
            kept.size -= kept.entries.popleft()[0]
        self.log.info(
            "{request_id} {function}: {outcome} {said}",
            function=function,
            version=version_id,
            outcome=str(trace.get("outcome"))[:40],
            request_id=request_id(trace),
            said=said(trace),
        )

    def recent(self, function: str) -> Sequence[Mapping[str, Any]]:
        """
        The kept traces of a function, the oldest first.
        """
        kept = self._functions.get(function)
        return [trace for _, trace in kept.entries] if kept else []

    def forget(self, function: str) -> None:
        """
        The function is gone: so is what it said.
        """
        self._functions.pop(function, None)


def request_id(trace: Mapping[str, Any]) -> str | None:
    """
    The `CF-Ray` of the request that caused the invocation, None if it was none.
    """
    event = trace.get("event")
    request = event.get("request") if isinstance(event, dict) else None
    headers = request.get("headers") if isinstance(request, dict) else None
    ray = headers.get("cf-ray") if isinstance(headers, dict) else None
    return ray[:32] if isinstance(ray, str) else None


def said(trace: Mapping[str, Any]) -> list[str]:
    """
    The console lines and exceptions of a trace, each as one line of text.
    """
    lines = []
    for entry in _entries(trace, "logs"):
        message = entry.get("message")
        words = message if isinstance(message, list) else [message]
        text = " ".join(w if isinstance(w, str) else json.dumps(w) for w in words)
        lines.append(f"{entry.get('level')}: {text}")
    for entry in _entries(trace, "exceptions"):
        lines.append(f"{entry.get('name')}: {entry.get('message')}")
    return lines


def _entries(trace: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = trace.get(key)
    return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []


_check: type[FunctionEvents] = RecentEvents
