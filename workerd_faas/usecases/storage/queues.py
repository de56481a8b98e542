"""Queues: who consumes which, and batches on their way to their consumers."""

import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import Consumer, Resource, ResourceKind
from workerd_faas.domain.routing import Route, RoutingTable
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.storage.inventory import Inventory, refused
from workerd_faas.usecases.storage.ports import (
    Deliveries,
    Dispatch,
    StateQuestion,
)

PATIENCE: Final = 600.0
"""Seconds to wait for a consumer's cell; a lease of workerd's queues lasts for 16 minutes."""

FIRST_PAUSE: Final = 1.0
MOST_PAUSE: Final = 30.0

SETTINGS: Final[Mapping[str, tuple[int, int]]] = {
    "batch_size": (1, 100),
    "max_retries": (0, 100),
    "max_wait_time_ms": (0, 60_000),
    "max_concurrency": (1, 250),
    "retry_delay": (0, 86_400),
}
"""Of a consumer, with the least and the most."""

IN_FLIGHT: Final = 8
"""Batches of one queue at a time, where nothing limits them."""


@attrs.frozen
class Consumed:
    """
    A queue and its consumer.
    """

    queue: Resource
    consumer: Consumer

    @property
    def paused(self) -> bool:
        """
        Whether the consumer gets nothing until its owner says so.
        """
        return bool(self.queue.settings.get("delivery_paused"))


@attrs.define(eq=False)
class ConsumerTable:
    """
    All consumers, in memory: a state cell's configuration and every batch ask for them.

    Attributes:
        paused: Cells that start from now on deliver nothing.
    """

    _accounts: dict[str, dict[str, Consumed]] = attrs.Factory(dict)
    paused: bool = False

    def put(self, consumed: Consumed) -> None:
        """
        Add or replace a queue's consumer.
        """
        queue = consumed.queue
        self._accounts.setdefault(queue.account_id, {})[queue.id] = consumed

    def drop(self, account_id: str, queue_id: str) -> None:
        """
        The queue has no consumer any more, perhaps because there is no queue any more.
        """
        self._accounts.get(account_id, {}).pop(queue_id, None)

    def drop_dead_letters(self, account_id: str, queue_id: str) -> None:
        """
        The queue is gone: what would have been set aside there is dropped.
        """
        queues = self._accounts.get(account_id, {})
        for key, found in queues.items():
            if found.consumer.dead_letter == queue_id:
                queues[key] = attrs.evolve(
                    found, consumer=attrs.evolve(found.consumer, dead_letter=None)
                )

    def get(self, account_id: str, queue_id: str) -> Consumed | None:
        """
        The queue with its consumer.
        """
        return self._accounts.get(account_id, {}).get(queue_id)

    def consumed_by(self, account_id: str, function: str) -> tuple[Consumer, ...]:
        """
        What a function consumes.
        """
        queues = self._accounts.get(account_id, {}).values()
        return tuple(each.consumer for each in queues if each.consumer.function == function)

    def accounts(self) -> tuple[str, ...]:
        """
        Those with a consumer.
        """
        return tuple(account for account, queues in self._accounts.items() if queues)

    def configuration(self, account_id: str) -> Mapping[str, Mapping[str, Any]]:
        """
        An account's consumers as `queues.js` takes its `CONSUMERS`.
        """
        if self.paused:
            return {}
        return {
            queue_id: _configured(found.consumer)
            for queue_id, found in sorted(self._accounts.get(account_id, {}).items())
            if not found.paused
        }


def _configured(consumer: Consumer) -> Mapping[str, Any]:
    settings = consumer.settings
    made: dict[str, Any] = {"consumer": "DELIVER"}
    if consumer.dead_letter is not None:
        made["deadLetterQueue"] = consumer.dead_letter
    for ours, theirs in (
        ("batch_size", "maxBatchSize"),
        ("max_retries", "maxRetries"),
        ("retry_delay", "retryDelay"),
    ):
        if ours in settings:
            made[theirs] = settings[ours]
    if settings.get("max_concurrency", IN_FLIGHT) < IN_FLIGHT:
        made["maxConcurrency"] = settings["max_concurrency"]
    if "max_wait_time_ms" in settings:
        made["maxBatchTimeout"] = settings["max_wait_time_ms"] / 1000
    return made


@attrs.frozen(kw_only=True)
class QueueState:
    """
    A queue with its consumer, and the name of the consumer's dead letter queue.
    """

    queue: Resource
    consumer: Consumer | None
    dead_letter: str | None


@attrs.frozen(kw_only=True)
class Queues:
    """
    The verbs of queues that other storage does not have.

    Attributes:
        owner: The account that has the function of a name.
    """

    log = Logger()

    inventory: Inventory
    table: ConsumerTable
    owner: Callable[[str], str | None]

    async def start(self) -> None:
        """
        Read all consumers, and let the cells of their accounts go on with what they have.
        """
        for queue, consumer in await self.inventory.resources.consumers():
            self.table.put(Consumed(queue, consumer))
        for account_id in self.table.accounts():
            self.inventory.cells.wake(account_id)

    async def stop(self) -> None:
        """
        Deliver no more, once what is being delivered has been. A delivery that is cut off counts as
        an attempt, and a message has few; senders are served until the cells stop.
        """
        self.table.paused = True
        await gatherResults(
            [Deferred.fromCoroutine(self._hush(account)) for account in self.table.accounts()]
        )

    async def _hush(self, account_id: str) -> None:
        with suppress(Problem):
            await self.inventory.cells.renew(account_id)

    async def resume(self) -> None:
        """
        Deliver again after `stop`.
        """
        self.table.paused = False
        for account_id in self.table.accounts():
            with suppress(Problem):
                await self.inventory.cells.renew(account_id)
        await self.start()

    async def state(self, queue: Resource) -> QueueState:
        """
        A queue with what belongs to it.
        """
        found = self.table.get(queue.account_id, queue.id)
        consumer = None if found is None else found.consumer
        dead_letter = None
        if consumer is not None and consumer.dead_letter is not None:
            try:
                dead_letter = (
                    await self.inventory.resources.get(
                        queue.account_id, ResourceKind.QUEUE, consumer.dead_letter
                    )
                ).name
            except Problem:
                dead_letter = None
        return QueueState(queue=queue, consumer=consumer, dead_letter=dead_letter)

    async def set_consumer(
        self,
        principal: Principal,
        account_id: str,
        queue_id: str,
        consumer_id: str | None,
        document: Mapping[str, Any],
    ) -> QueueState:
        """
        Let a function consume a queue, or (with an id) change how it does. When this returns, the
        next batch goes there.

        Args:
            document: As Wrangler sends it: `type`, `script_name`, `dead_letter_queue`, `settings`.

        Raises:
            Problem: `FORBIDDEN`, `BAD_REQUEST`, `QUEUE_NOT_FOUND`, `CONSUMER_EXISTS`,
                `CONSUMER_NOT_FOUND`.
        """
        account_for(principal, account_id)
        resources = self.inventory.resources
        queue = await resources.get(account_id, ResourceKind.QUEUE, queue_id)
        before = self.table.get(account_id, queue_id)
        if consumer_id is not None and (before is None or before.consumer.id != consumer_id):
            raise Problem(kind=Kind.CONSUMER_NOT_FOUND, message="This queue has no such consumer.")
        function, settings = _read(document)
        if self.owner(function) != account_id:
            raise Problem(
                kind=Kind.SCRIPT_NOT_FOUND,
                message=f"Your account has no function {function[:100]!r} that could consume.",
            )
        dead_letter = await self._dead_letter(principal, account_id, queue, document)
        consumer = Consumer(
            id=consumer_id or uuid.uuid4().hex,
            queue_id=queue_id,
            function=function,
            created_at=self.inventory.clock.now(),
            dead_letter=None if dead_letter is None else dead_letter.id,
            settings=settings,
        )

        async def work() -> None:
            await resources.set_consumer(account_id, consumer)
            async with self._changing(account_id):
                self.table.put(Consumed(queue, consumer))

        await self.inventory.owned(work)
        return await self.state(queue)

    async def remove_consumer(
        self, principal: Principal, account_id: str, queue_id: str, consumer_id: str
    ) -> None:
        """
        Raises:
            Problem: `FORBIDDEN`, `QUEUE_NOT_FOUND`, `CONSUMER_NOT_FOUND`.
        """
        account_for(principal, account_id)

        async def work() -> None:
            await self.inventory.resources.remove_consumer(account_id, queue_id, consumer_id)
            await self.forget(account_id, queue_id)

        await self.inventory.owned(work)

    async def function_removed(self, account_id: str, function: str) -> None:
        """
        A function was deleted: it consumes nothing any more, and the messages stay where they are.
        """
        for consumer in self.table.consumed_by(account_id, function):
            await self.inventory.resources.remove_consumer(
                account_id, consumer.queue_id, consumer.id
            )
            await self.forget(account_id, consumer.queue_id)

    async def changed(self, queue: Resource) -> None:
        """
        A queue has another name or other settings, which hold for its consumer from now on.
        """
        found = self.table.get(queue.account_id, queue.id)
        if found is not None:
            async with self._changing(queue.account_id):
                self.table.put(Consumed(queue, found.consumer))

    async def forget(self, account_id: str, queue_id: str, *, gone: bool = False) -> None:
        """
        A queue has no consumer any more, perhaps because there is no queue any more.
        """
        async with self._changing(account_id):
            self.table.drop(account_id, queue_id)
            if gone:
                self.table.drop_dead_letters(account_id, queue_id)

    async def purge(self, principal: Principal, account_id: str, queue_id: str) -> None:
        """
        Drop all messages.

        Raises:
            Problem: `FORBIDDEN`, `QUEUE_NOT_FOUND`, `UNAVAILABLE`.
        """
        account_for(principal, account_id)
        await self.inventory.resources.get(account_id, ResourceKind.QUEUE, queue_id)
        question = StateQuestion(kind="manage", id=queue_id, method="POST", target="/queue/purge")
        answer = await self.inventory.cells.ask(account_id, question)
        if answer.status != 200:
            raise refused(answer)

    @asynccontextmanager
    async def _changing(self, account_id: str) -> AsyncIterator[None]:
        """
        The cell reads its consumers when it starts: it is replaced, but only when it must be.
        """
        before = self.table.configuration(account_id)
        yield
        if self.table.configuration(account_id) != before:
            await self._renew(account_id)

    async def _renew(self, account_id: str) -> None:
        try:
            await self.inventory.cells.renew(account_id)
        except Problem as problem:
            # What is stored holds; the next start of the cell reads it.
            self.log.warn("state cell of {account}: {problem}", account=account_id, problem=problem)
        if self.table.configuration(account_id):
            self.inventory.cells.wake(account_id)

    async def _dead_letter(
        self, principal: Principal, account_id: str, queue: Resource, document: Mapping[str, Any]
    ) -> Resource | None:
        """
        The queue of that name, which is made if there is none, as at Cloudflare.
        """
        name = document.get("dead_letter_queue")
        if name in (None, ""):
            return None
        if name == queue.name:
            raise Problem(
                kind=Kind.BAD_REQUEST, message="A queue cannot be its own dead letter queue."
            )
        if isinstance(name, str):
            found = await self.inventory.resources.named(account_id, ResourceKind.QUEUE, name)
            if found is not None:
                return found
        return await self.inventory.create(principal, account_id, ResourceKind.QUEUE, name)


def _read(document: Mapping[str, Any]) -> tuple[str, Mapping[str, int]]:
    if document.get("type", "worker") != "worker":
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message="Consumers of the type 'worker' only: pulling over HTTP is not supported yet.",
        )
    function = document.get("script_name") or document.get("script") or document.get("service")
    if not isinstance(function, str):
        raise Problem(kind=Kind.BAD_REQUEST, message="A consumer needs 'script_name'.")
    given = document.get("settings") or {}
    if not isinstance(given, dict):
        raise Problem(kind=Kind.BAD_REQUEST, message="A consumer's 'settings' are an object.")
    settings = {}
    for name, sent in given.items():
        if sent is None:
            continue
        value = int(sent) if isinstance(sent, float) and sent.is_integer() else sent
        if name not in SETTINGS:
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message=f"The consumer setting {name[:80]!r} is not known to this platform.",
            )
        least, most = SETTINGS[name]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message=f"The consumer setting {name!r} takes a whole number from {least} to "
                f"{most}.",
            )
        settings[name] = value
    return function, settings


@attrs.frozen(kw_only=True)
class QueueDeliveries:
    """
    `usecases.storage.ports.Deliveries`: the consumer's deployed version, in its account's cell.

    A cell that cannot be had is waited for, since every failure counts as one of the few attempts
    that a message has.

    Attributes:
        chance: In [0, 1), chooses among the versions of a deployment.
        pause: Waits so many seconds.
    """

    log = Logger()

    table: ConsumerTable
    routes: RoutingTable
    dispatch: Dispatch
    pause: Callable[[float], Awaitable[None]]
    chance: Callable[[], float] = random.random

    async def deliver(self, account_id: str, batch: bytes) -> bytes:
        """
        See `Deliveries.deliver`.
        """
        queue_id = json.loads(batch)["queue"]
        found = self.table.get(account_id, queue_id)
        if found is None:
            raise Problem(kind=Kind.CONSUMER_NOT_FOUND, message="The queue has no consumer.")
        route = self.routes.resolve(found.consumer.function, None, self.chance() * 100)
        if route.account_id != account_id:
            raise Problem(
                kind=Kind.SCRIPT_NOT_FOUND, message="The queue's consumer is not there any more."
            )
        return await self._patiently(route, found.queue.name, batch)

    async def _patiently(self, route: Route, name: str, batch: bytes) -> bytes:
        waited = 0.0
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._once(route, name, batch)
            except Problem as problem:
                if problem.kind is not Kind.UNAVAILABLE or waited >= PATIENCE:
                    raise
                self.log.warn(
                    "queue {queue} waits for {function}: {problem}",
                    queue=name,
                    function=route.function,
                    problem=str(problem),
                )
            await self.pause(pause)
            waited += pause
            pause = min(2 * pause, MOST_PAUSE)

    async def _once(self, route: Route, name: str, batch: bytes) -> bytes:
        event = {"queue": {"version": route.version_id, "name": name}}
        return await self.dispatch.dispatch(route, event, batch)


_check: type[Deliveries] = QueueDeliveries
