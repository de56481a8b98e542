"""What the storage verbs need of others, and what state cells need of them."""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import attrs

from workerd_faas.domain.model import Binding, Code
from workerd_faas.domain.resources import Consumer, Resource, ResourceKind
from workerd_faas.domain.routing import Route


@attrs.frozen(kw_only=True)
class StateQuestion:
    """
    A request to an account's state cell (`runtime/js/state.js`).

    Attributes:
        kind: `kv`, `d1` or `queue` for the bundled modules' own protocols, `manage` for ours.
        id: The namespace, database or queue.
        target: Path and query, percent-encoded.
    """

    kind: str
    id: str
    method: str
    target: str
    headers: Mapping[str, str] = attrs.Factory(dict)
    body: bytes | BinaryIO | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class StateAnswer:
    """
    Its answer; header names are lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


class StateCells(Protocol):
    """
    The accounts' state cells, started when they are needed.
    """

    async def ask(
        self, account_id: str, question: StateQuestion, sink: BinaryIO | None = None
    ) -> StateAnswer:
        """
        Ask an account's state cell.

        Args:
            sink: Where the body of a success (200) is written to, instead of into the answer.

        Raises:
            Problem: `UNAVAILABLE` when it does not come up in time or ends meanwhile.
        """

    async def renew(self, account_id: str) -> None:
        """
        Have the cell, if there is one, read the consumers anew: it is replaced, and requests wait
        meanwhile. Returns when the new one is ready.

        Raises:
            Problem: `UNAVAILABLE` when the new one did not come up.
        """

    def wake(self, account_id: str) -> None:
        """
        Start the cell if there is none, so that its queues go on. Never raises.
        """


class Holds(Protocol):
    """
    Instants of an account's state, for whoever copies it.
    """

    async def hold(self, account_id: str) -> None:
        """
        From its return until `release` nothing of the account's state changes: the process that
        has it open stands still, and none is started. At most one at a time of an account.

        Raises:
            Problem: `UNAVAILABLE` when the process does not come to rest.
        """

    def release(self, account_id: str) -> bool:
        """
        Let it go on. False: it did not stand still all the while.
        """


class Deliveries(Protocol):
    """
    Where the batches of queues go.
    """

    async def deliver(self, account_id: str, batch: bytes) -> bytes:
        """
        Give a batch (JSON of `deliver.js`) to the queue's consumer; returns its outcome as JSON.

        Raises:
            Problem: the consumer is not there, or cannot be reached; the batch is tried again.
        """


class Dispatch(Protocol):
    """
    Events for functions that are no HTTP requests from outside.
    """

    async def dispatch(self, route: Route, event: Mapping[str, Any], body: bytes) -> bytes:
        """
        Run an event in a cell of this route; returns what the router answers.

        Raises:
            Problem: `UNAVAILABLE`, `UPSTREAM_FAILED`.
        """


class StorageBindings(Protocol):
    """
    Checks what an upload binds.
    """

    async def bound(self, account_id: str, function: str, code: Code) -> tuple[Binding, ...]:
        """
        The upload's bindings, with ids in the place of names, and those that every function has.

        Raises:
            Problem: `BINDING_INVALID` when one is to something that the account does not own.
        """


@attrs.frozen(kw_only=True)
class Use:
    """
    A function some version of which binds a namespace, database or queue.

    Attributes:
        deployed: Whether a version that serves does.
    """

    function: str
    kind: ResourceKind
    resource_id: str
    deployed: bool


class Uses(Protocol):
    """
    Who uses what.
    """

    async def all(self, account_id: str) -> Sequence[Use]:
        """
        All there are in an account, by function.
        """


class Resources(Protocol):
    """
    The accounts' namespaces, databases and queues. Each method is one transaction.
    """

    async def add(self, resource: Resource) -> Resource:
        """
        Raises:
            Problem: `NAMESPACE_EXISTS`, `DATABASE_EXISTS`, `QUEUE_EXISTS` when the account has one
                of this kind and name.
        """

    async def default_database(self, resource: Resource) -> Resource:
        """
        The database that is this function's own, made from `resource` if there is none; its name
        is made different from all others.
        """

    async def rename(self, resource: Resource) -> Resource:
        """
        Store name, settings and time of change.

        Raises:
            Problem: as `add` and `get`.
        """

    async def remove(self, account_id: str, kind: ResourceKind, resource_id: str) -> Resource:
        """
        Remove it, and its consumer; where it is a dead letter queue there is none then. Returns
        what it was.

        Raises:
            Problem: as `get`.
        """

    async def get(self, account_id: str, kind: ResourceKind, resource_id: str) -> Resource:
        """
        Raises:
            Problem: `NAMESPACE_NOT_FOUND`, `DATABASE_NOT_FOUND`, `QUEUE_NOT_FOUND`, also for
                another account's.
        """

    async def named(self, account_id: str, kind: ResourceKind, name: str) -> Resource | None:
        """
        The one of this name.
        """

    async def all(self, account_id: str, kind: ResourceKind) -> Sequence[Resource]:
        """
        By name.
        """

    async def set_consumer(self, account_id: str, consumer: Consumer) -> Consumer:
        """
        Store a queue's consumer: a new one, or new settings of one with this id.

        Raises:
            Problem: `QUEUE_NOT_FOUND`, `CONSUMER_NOT_FOUND`, or `CONSUMER_EXISTS` when the queue
                has another one.
        """

    async def remove_consumer(self, account_id: str, queue_id: str, consumer_id: str) -> None:
        """
        Raises:
            Problem: as `get`.
        """

    async def consumers(self) -> Sequence[tuple[Resource, Consumer]]:
        """
        All there are, each with its queue.
        """
