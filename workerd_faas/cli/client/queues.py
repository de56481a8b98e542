"""A function's queues as calls: what it consumes."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from workerd_faas.cli.client.scripts import Record, ScriptsApi
from workerd_faas.cli.config.consumers import QueueConsumer
from workerd_faas.cli.failure import project_failure


@attrs.frozen
class ConsumersApi:
    """
    What one function consumes.
    """

    scripts: ScriptsApi
    function: str

    @property
    def _queues(self) -> tuple[str, ...]:
        return ("accounts", self.scripts.account.id, "queues")

    def queues(self, consumers: Sequence[QueueConsumer]) -> Mapping[str, Record]:
        """
        The account's queues by name.

        Raises:
            Failure: one that is to be consumed is not there.
        """
        found = {
            str(each.get("queue_name")): each for each in self.scripts.api.pages(*self._queues)
        }
        missing = sorted({each.queue for each in consumers} - found.keys())
        if missing:
            raise project_failure(
                "queues.consumers: there is no queue " + ", ".join(map(repr, missing)) + ".",
                hint="make it: " + ", ".join(f"`wrkst queues create {name}`" for name in missing),
            )
        return found

    def consume(self, consumer: QueueConsumer, queue: Record) -> None:
        """
        Let the function consume a queue like this, whether it does already or not.
        """
        document: dict[str, Any] = {
            "type": "worker",
            "script_name": self.function,
            "settings": dict(consumer.settings),
        }
        if consumer.dead_letter_queue is not None:
            document["dead_letter_queue"] = consumer.dead_letter_queue
        path = (*self._queues, str(queue.get("queue_id")), "consumers")
        ours = [each for each in consumers_of(queue) if each.get("script") == self.function]
        if ours:
            path = (*path, str(ours[0].get("consumer_id")))
        self.scripts.api.call("PUT" if ours else "POST", *path, document=document)

    def others(
        self, consumers: Sequence[QueueConsumer], queues: Mapping[str, Record]
    ) -> Sequence[str]:
        """
        Queues that the function consumes although it is not among these consumers.
        """
        named = {each.queue for each in consumers}
        return [
            name
            for name, queue in sorted(queues.items())
            if name not in named
            and any(each.get("script") == self.function for each in consumers_of(queue))
        ]


def consumers_of(queue: Record) -> Sequence[Record]:
    """
    The consumers of a queue as the server tells it.
    """
    found = queue.get("consumers")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
