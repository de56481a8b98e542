"""`queues.consumers` of a configuration: whose messages the function gets, and how."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from workerd_faas.cli.config.reader import Reader

_SETTINGS: Final[Mapping[str, tuple[str, int]]] = {
    "max_batch_size": ("batch_size", 1),
    "max_retries": ("max_retries", 1),
    "max_batch_timeout": ("max_wait_time_ms", 1000),
    "max_concurrency": ("max_concurrency", 1),
    "retry_delay": ("retry_delay", 1),
}
"""Key in the configuration to key in the API, and what its number is multiplied with."""


@attrs.frozen(kw_only=True)
class QueueConsumer:
    """
    That the function consumes a queue.

    Attributes:
        settings: As the API takes them.
    """

    queue: str
    dead_letter_queue: str | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)


def read_consumers(reader: Reader) -> tuple[QueueConsumer, ...] | None:
    """
    The consumers; None when the configuration does not speak of queues. Mistakes are noted with
    the reader; the server knows which numbers it takes.
    """
    if reader.values.get("queues") is None:
        return None
    queues = reader.below("queues", reader.mapping("queues"))
    found = []
    for inner in queues.entries("consumers"):
        inner.unexpected(
            {"dead_letter_queue", "queue", "type", "visibility_timeout_ms", *_SETTINGS}
        )
        queue = inner.text("queue")
        if not queue:
            inner.wrong("queue", "should be the name of a queue")
        if inner.text("type") not in (None, "worker"):
            inner.wrong("type", "should be worker: pulling over HTTP is not supported")
        if inner.values.get("visibility_timeout_ms") is not None:
            inner.without_effect("visibility_timeout_ms", "it is for pulling over HTTP")
        settings = {}
        for key, (theirs, factor) in _SETTINGS.items():
            value = inner.values.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                inner.wrong(key, "should be a number")
            else:
                settings[theirs] = value * factor
        found.append(
            QueueConsumer(
                queue=queue or "",
                dead_letter_queue=inner.text("dead_letter_queue"),
                settings=settings,
            )
        )
    return tuple(found)
