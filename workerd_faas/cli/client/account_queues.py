"""Queues and their consumers, as calls of the API."""

import attrs

from workerd_faas.cli.client.api import Api
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.failure import Failure


@attrs.frozen
class QueuesApi:
    """
    The queues of an account.
    """

    api: Api
    account_id: str

    def _at(self, *rest: str) -> tuple[str, ...]:
        return ("accounts", self.account_id, "queues", *rest)

    def all(self) -> list[Record]:
        """
        All, by name.
        """
        return self.api.pages(*self._at())

    def find(self, name: str) -> Record | None:
        """
        The one of this name.
        """
        found = self.api.get(*self._at(), query={"name": name})
        return found[0] if found else None

    def named(self, name: str) -> Record:
        """
        The one of this name.

        Raises:
            Failure: there is none.
        """
        found = self.find(name)
        if found is None:
            raise Failure(
                f"Your account has no queue {name!r}.", hint="`wrkst queues list` shows yours"
            )
        return found

    def create(self, name: str, settings: Record) -> Record:
        """
        A new one.
        """
        document = {"queue_name": name, "settings": settings}
        made: Record = self.api.call("POST", *self._at(), document=document)
        return made

    def change(self, name: str, settings: Record) -> Record:
        """
        Give it other settings.
        """
        document = {"queue_name": name, "settings": settings}
        at = self._at(self.named(name)["queue_id"])
        changed: Record = self.api.call("PATCH", *at, document=document)
        return changed

    def delete(self, name: str) -> None:
        """
        With all messages.
        """
        self.api.call("DELETE", *self._at(self.named(name)["queue_id"]))

    def purge(self, name: str) -> None:
        """
        Drop all messages.
        """
        self.api.call("POST", *self._at(self.named(name)["queue_id"], "purge"), document={})

    def set_consumer(self, name: str, document: Record) -> Record:
        """
        Let a function consume a queue; one that does already gets these settings.
        """
        queue = self.named(name)
        at = self._at(queue["queue_id"], "consumers")
        for consumer in queue.get("consumers") or []:
            if consumer.get("script") == document["script_name"]:
                changed: Record = self.api.call(
                    "PUT", *at, str(consumer["consumer_id"]), document=document
                )
                return changed
        made: Record = self.api.call("POST", *at, document=document)
        return made

    def remove_consumer(self, name: str, function: str) -> None:
        """
        The function consumes the queue no more.

        Raises:
            Failure: it does not.
        """
        queue = self.named(name)
        for consumer in queue.get("consumers") or []:
            if consumer.get("script") == function:
                at = self._at(queue["queue_id"], "consumers", str(consumer["consumer_id"]))
                self.api.call("DELETE", *at)
                return
        raise Failure(f"{function} does not consume {name}.")
