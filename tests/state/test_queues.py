"""Queues: batches reach their consumer, are tried again, and outlast every process."""

import json
import os
import signal
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.support import ACCOUNT, OTHER
from tests.state.support import AccountLoader, StateCase, manage
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Split
from workerd_faas.domain.resources import Consumer, Resource, ResourceKind
from workerd_faas.domain.routing import Route, RoutingTable
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.testing.fakes import SteppingClock
from workerd_faas.usecases.storage.ports import StateQuestion
from workerd_faas.usecases.storage.queues import PATIENCE, Consumed, ConsumerTable, QueueDeliveries

RETRY: Final = {"outcome": "ok", "retryBatch": {"retry": True}, "explicitAcks": []}
VERSION: Final = "11111111-1111-4111-8111-111111111111"


def consumer(**settings: int) -> Consumer:
    """
    The function `worker`, consuming `queue`, with `dead` for what fails.
    """
    return Consumer(
        id="c",
        queue_id="queue",
        function="worker",
        created_at=SteppingClock().now(),
        dead_letter="dead",
        settings=settings,
    )


def consumed(
    settings: Mapping[str, int] | None = None, *, account: str = ACCOUNT, paused: bool = False
) -> Consumed:
    """
    `queue`, called "the queue", and its consumer.
    """
    now = SteppingClock().now()
    queue = Resource(
        id="queue",
        account_id=account,
        kind=ResourceKind.QUEUE,
        name="the queue",
        created_at=now,
        modified_at=now,
        settings={"delivery_paused": paused},
    )
    return Consumed(queue, consumer(**(settings or {})))


ODD: Final = """
export default {
  async fetch(request, { QUEUE }) {
    const outcomes = [];
    for (const body of [() => 1, Symbol("odd"), { toJSON() {} }]) {
      for (const work of [() => QUEUE.send(body), () => QUEUE.sendBatch([{ body }])]) {
        outcomes.push(await work().then(() => "sent", (error) => error.name));
      }
    }
    await QUEUE.send({ left: () => 1, kept: [undefined] });
    return Response.json(outcomes);
  },
};
"""


class DeliveryTests(StateCase):
    """
    With a real state cell.
    """

    def consume(self, **settings: int) -> None:
        """
        Say that the queue has a consumer.
        """
        table = ConsumerTable()
        table.put(consumed(settings))
        self.consumers[ACCOUNT] = {
            name: dict(each) for name, each in table.configuration(ACCOUNT).items()
        }

    async def send(self, state: StateFleet, body: Any, queue: str = "queue") -> None:
        """
        Send one message as JSON.
        """
        question = StateQuestion(
            kind="queue",
            id=queue,
            method="POST",
            target="/message",
            headers={"x-msg-fmt": "json"},
            body=json.dumps(body).encode(),
        )
        self.assertEqual((await state.ask(ACCOUNT, question)).status, 200)

    async def backlog(self, state: StateFleet, queue: str = "queue") -> int:
        """
        How many messages there are.
        """
        question = StateQuestion(kind="queue", id=queue, method="GET", target="/metrics")
        found: int = json.loads((await state.ask(ACCOUNT, question)).body)["backlogCount"]
        return found

    def bodies(self) -> list[Any]:
        """
        What was delivered, with the number of the attempt.
        """
        return [
            (message.get("text", message.get("json")), message["attempts"])
            for _, batch in self.deliveries.batches
            for message in batch["messages"]
        ]

    async def test_messages_are_delivered_in_batches(self) -> None:
        """
        A full batch is delivered at once and acknowledged messages are gone.
        """
        self.consume(batch_size=3, max_wait_time_ms=60_000)
        state = await self.state_fleet()
        for n in range(6):
            await self.send(state, n)
        await self.until(lambda: len(self.deliveries.batches) == 2)
        self.assertEqual(sorted(self.bodies()), [(n, 1) for n in range(6)])
        self.assertEqual({account for account, _ in self.deliveries.batches}, {ACCOUNT})
        while await self.backlog(state):
            await deferLater(self.reactor, 0.01)

    async def test_what_is_no_json_is_not_sent(self) -> None:
        """
        A body that JSON does not have is refused where it is sent, and so keeps no batch, with
        others' messages in it, from being delivered.
        """
        self.consume(batch_size=2)
        state = await self.state_fleet()
        fleet = await self.functions(state, AccountLoader(ODD))
        await self.send(state, "before")
        self.assertEqual((await self.call(fleet)).json, ["TypeError"] * 6)
        await self.until(lambda: self.deliveries.batches)
        self.assertEqual(self.bodies(), [("before", 1), ({"kept": [None]}, 1)])

    async def test_what_fails_is_tried_again_and_then_set_aside(self) -> None:
        """
        A message that is never accepted is delivered once and `max_retries` times more, then is in
        the dead letter queue.
        """
        self.consume(batch_size=1, max_wait_time_ms=0, max_retries=2)
        self.deliveries.outcome = RETRY
        state = await self.state_fleet()
        await self.send(state, "poison")
        while not await self.backlog(state, "dead"):
            await deferLater(self.reactor, 0.01)
        self.assertEqual(self.bodies(), [("poison", 1), ("poison", 2), ("poison", 3)])

    async def test_messages_outlast_the_cell(self) -> None:
        """
        What was sent before the cell was killed is delivered by its successor, which nobody has to
        ask for.
        """
        state = await self.state_fleet()
        for n in range(5):
            await self.send(state, n)
        self.consume(batch_size=5, max_wait_time_ms=0)
        os.kill(self.pid(state), signal.SIGKILL)
        await self.until(lambda: len(self.bodies()) == 5)

    async def test_a_consumer_begins_without_a_request(self) -> None:
        """
        A new consumer gets what has been waiting as soon as the cell is renewed.
        """
        state = await self.state_fleet()
        await self.send(state, "waiting")
        self.consume(max_wait_time_ms=0)
        await state.renew(ACCOUNT)
        await self.until(lambda: self.bodies() == [("waiting", 1)])

    async def test_batches_at_a_time_are_limited(self) -> None:
        """
        As many batches as `max_concurrency` says are with the consumer at a time, and no more.
        """
        self.consume(batch_size=1, max_wait_time_ms=0, max_concurrency=3)
        self.deliveries.held = Deferred()
        state = await self.state_fleet()
        for n in range(9):
            await self.send(state, n)
        self.assertEqual(await self.backlog(state), 9)
        await self.until(lambda: self.deliveries.in_flight == 3)
        self.deliveries.held.callback(None)
        await self.until(lambda: len(self.bodies()) == 9)
        self.assertEqual(self.deliveries.most, 3)
        self.assertEqual(sorted(self.bodies()), [(n, 1) for n in range(9)])

    async def test_another_limit_loses_nothing(self) -> None:
        """
        Messages that were sent under one `max_concurrency` are delivered, counted and purged under
        another.
        """
        self.consume(batch_size=100, max_wait_time_ms=60_000, max_concurrency=5)
        state = await self.state_fleet()
        question = StateQuestion(
            kind="queue",
            id="queue",
            method="POST",
            target="/batch",
            body=json.dumps({"messages": [{"body": "MQ==", "contentType": "text"}]}).encode(),
        )
        for _ in range(5):
            self.assertEqual((await state.ask(ACCOUNT, question)).status, 200)
        self.consume(batch_size=1, max_wait_time_ms=0)
        await state.renew(ACCOUNT)
        await self.until(lambda: len(self.bodies()) == 5)
        self.consumers.clear()
        await state.renew(ACCOUNT)
        await self.send(state, "left")
        self.consume(max_concurrency=2, max_wait_time_ms=60_000)
        await state.renew(ACCOUNT)
        await self.send(state, "right")
        self.assertEqual(await self.backlog(state), 2)
        self.assertEqual((await manage(state, "POST", "/queue/purge", "queue")).status, 200)
        self.assertEqual(await self.backlog(state), 0)

    async def test_a_cell_that_keeps_dying_is_not_given_up(self) -> None:
        """
        A cell with a consumer that dies again and again, and waits ever longer in between, comes
        back without a request.
        """
        self.consume(batch_size=1, max_wait_time_ms=0)
        state = await self.state_fleet(wait=1.0)
        state.wake(ACCOUNT)
        killed: set[int | None] = {None}

        def fresh() -> list[int]:
            return [
                cell.pid
                for cell in state.cells()
                if cell.state == "ready" and cell.pid is not None and cell.pid not in killed
            ]

        for _ in range(5):
            await self.until(fresh)
            (pid,) = fresh()
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        await self.until(fresh)

    async def test_a_change_in_the_middle_of_another_is_not_missed(self) -> None:
        """
        A consumer that comes while the cell is starting for another one gets its messages.
        """
        state = await self.state_fleet()
        await self.send(state, "waiting")
        os.kill(self.pid(state), signal.SIGKILL)
        await self.until(lambda: not state.cells())
        state.wake(ACCOUNT)
        self.consume(max_wait_time_ms=0)
        await state.renew(ACCOUNT)
        await self.until(lambda: self.bodies() == [("waiting", 1)])

    async def test_a_change_waits_for_consumers_and_holds_nobody_up(self) -> None:
        """
        While a batch is with its consumer the cell goes on to serve, though it is to be replaced,
        and the batch has not to be delivered again.
        """
        self.consume(batch_size=1, max_wait_time_ms=0)
        self.deliveries.held = Deferred()
        state = await self.state_fleet()
        await self.send(state, "slow")
        await self.until(lambda: self.deliveries.in_flight == 1)
        pid = self.pid(state)
        renewed = Deferred.fromCoroutine(state.renew(ACCOUNT))
        for _ in range(10):
            self.assertEqual(await self.backlog(state), 1)
            await deferLater(self.reactor, 0.05)
        self.assertEqual(self.pid(state), pid)
        self.deliveries.held.callback(None)
        await renewed
        self.assertNotEqual(self.pid(state), pid)
        self.assertEqual(await self.backlog(state), 0)
        self.assertEqual(self.bodies(), [("slow", 1)])

    async def test_a_cell_with_a_backlog_is_not_stopped(self) -> None:
        """
        While messages wait for their consumer the idle cell stays; once there are none it goes.
        """
        self.consume(batch_size=1, max_wait_time_ms=0, max_retries=100, retry_delay=1)
        self.deliveries.outcome = RETRY
        state = await self.state_fleet(idle=0.1)
        await self.send(state, 1)
        pid = self.pid(state)
        await self.until(lambda: len(self.bodies()) >= 3)
        self.assertEqual(self.pid(state), pid)
        self.deliveries.outcome = {**RETRY, "retryBatch": {"retry": False}}
        await self.until(lambda: not state.cells())


class TableTests(SynchronousTestCase):
    """
    What a cell is told of consumers.
    """

    def test_a_paused_queue_has_no_consumer(self) -> None:
        """
        A paused queue is not in the configuration, though its consumer is known.
        """
        table = ConsumerTable()
        table.put(consumed({"batch_size": 7}))
        self.assertEqual(table.configuration(ACCOUNT)["queue"]["maxBatchSize"], 7)
        table.put(consumed(paused=True))
        self.assertEqual(table.configuration(ACCOUNT), {})
        self.assertIsNotNone(table.get(ACCOUNT, "queue"))

    def test_a_dead_letter_queue_that_is_gone_is_none(self) -> None:
        """
        Consumers do not go on sending to a dead letter queue that was deleted.
        """
        table = ConsumerTable()
        table.put(consumed())
        self.assertEqual(table.configuration(ACCOUNT)["queue"]["deadLetterQueue"], "dead")
        table.drop_dead_letters(ACCOUNT, "dead")
        self.assertNotIn("deadLetterQueue", table.configuration(ACCOUNT)["queue"])

    def test_limits_above_what_there_is_are_none(self) -> None:
        """
        `max_concurrency` reaches the cell only where it limits anything.
        """
        table = ConsumerTable()
        for most, told in ((1, 1), (7, 7), (8, None), (250, None)):
            table.put(consumed({"max_concurrency": most}))
            self.assertEqual(table.configuration(ACCOUNT)["queue"].get("maxConcurrency"), told)


class PatienceTests(SynchronousTestCase):
    """
    Finding the consumer, without processes.
    """

    def setUp(self) -> None:
        """
        A deployed consumer.
        """
        self.clock = Clock()
        self.routes = RoutingTable()
        self.routes.version_added(ACCOUNT, "worker", VERSION)
        self.routes.deployed("worker", (Split(version_id=VERSION, percentage=100),))
        self.table = ConsumerTable()
        self.table.put(consumed())
        self.asked: list[tuple[Route, Any]] = []
        self.outcomes: list[bytes | Problem] = []

    async def dispatch(self, route: Route, event: Any, body: bytes) -> bytes:
        """
        See `Dispatch`.
        """
        self.asked.append((route, event))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def deliver(self, account: str = ACCOUNT, queue: str = "queue") -> "Deferred[bytes]":
        """
        Deliver a batch.
        """
        deliveries = QueueDeliveries(
            table=self.table,
            routes=self.routes,
            dispatch=self,
            pause=lambda seconds: deferLater(self.clock, seconds),
        )
        batch = json.dumps({"queue": queue, "messages": []}).encode()
        return Deferred.fromCoroutine(deliveries.deliver(account, batch))

    def test_the_deployed_version_gets_it_under_the_queues_name(self) -> None:
        """
        The event names the deployed version and the queue as people call it.
        """
        self.outcomes = [b"{}"]
        self.assertEqual(self.successResultOf(self.deliver()), b"{}")
        event = {"queue": {"version": VERSION, "name": "the queue"}}
        self.assertEqual(self.asked, [(Route(ACCOUNT, "worker", VERSION), event)])

    def test_a_cell_that_is_not_there_is_waited_for(self) -> None:
        """
        While no cell can be had the batch waits and no attempt is counted; not for ever.
        """
        missing = Problem(kind=Kind.UNAVAILABLE, message="no cell")
        self.outcomes = [missing, missing, b"{}"]
        delivered = self.deliver()
        self.assertNoResult(delivered)
        self.clock.pump([1] * 10)
        self.assertEqual(self.successResultOf(delivered), b"{}")
        self.outcomes = [missing] * 1000
        given_up = self.deliver()
        self.clock.pump([1] * int(PATIENCE + 60))
        self.failureResultOf(given_up, Problem)

    def test_a_process_that_ended_in_the_middle_counts(self) -> None:
        """
        A consumer that takes its process down is not waited for: that was an attempt.
        """
        self.outcomes = [Problem(kind=Kind.UPSTREAM_FAILED, message="ended")]
        self.failureResultOf(self.deliver(), Problem)

    def test_only_the_accounts_own_consumer_is_asked(self) -> None:
        """
        Another account's queue of that id, and a function that now belongs to another account, get
        nothing.
        """
        self.failureResultOf(self.deliver(account=OTHER), Problem)
        self.table.put(consumed(account=OTHER))
        self.failureResultOf(self.deliver(account=OTHER), Problem)
        self.assertEqual(self.asked, [])

    def test_a_paused_table_configures_nobody(self) -> None:
        """
        Cells that start while the daemon stops deliver nothing.
        """
        self.assertEqual(
            self.table.configuration(ACCOUNT),
            {"queue": {"consumer": "DELIVER", "deadLetterQueue": "dead"}},
        )
        self.table.paused = True
        self.assertEqual(self.table.configuration(ACCOUNT), {})
        self.assertEqual(self.successResultOf(succeed(self.table.accounts())), (ACCOUNT,))
