"""Messages from outside reach a queue's consumer, with a real state cell."""

from typing import Any, Final

import attrs

from tests.runtime.support import ACCOUNT
from tests.state.support import StateCase
from tests.state.test_queues import consumed
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Account, Principal
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.testing.fakes import SteppingClock
from workerd_faas.usecases.storage.inventory import Inventory
from workerd_faas.usecases.storage.messages import Messages
from workerd_faas.usecases.storage.queues import ConsumerTable

OWNER: Final = Principal(
    accounts=(Account(id=ACCOUNT, name="Owner"),), subject="owner", credential="token"
)
QUEUE: Final = consumed().queue


@attrs.define
class OneQueue:
    """
    Resources of an account with one queue.
    """

    async def named(self, account_id: str, kind: ResourceKind, name: str) -> Resource | None:
        """
        See `Resources.named`.
        """
        return QUEUE if name == QUEUE.name else None

    async def get(self, account_id: str, kind: ResourceKind, resource_id: str) -> Resource:
        """
        See `Resources.get`.
        """
        if resource_id != QUEUE.id:
            raise Problem(kind=Kind.QUEUE_NOT_FOUND, message="There is none.")
        return QUEUE


class MessageTests(StateCase):
    """
    The queue has a consumer.
    """

    async def messages(self) -> Messages:
        """
        The verb, on a cell that has started.
        """
        table = ConsumerTable()
        table.put(consumed({"max_wait_time_ms": 0}))
        self.consumers[ACCOUNT] = {
            name: dict(each) for name, each in table.configuration(ACCOUNT).items()
        }
        self.state: StateFleet = await self.state_fleet()
        inventory = Inventory(
            resources=OneQueue(),  # type: ignore[arg-type]
            cells=self.state,
            work=None,  # type: ignore[arg-type]
            clock=SteppingClock(),
        )
        return Messages(inventory=inventory)

    def bodies(self) -> list[Any]:
        """
        What was delivered.
        """
        return [
            message["text"] if "text" in message else message["json"]
            for _, batch in self.deliveries.batches
            for message in batch["messages"]
        ]

    async def test_json_and_texts_are_delivered(self) -> None:
        """
        A body is any JSON, or a text; several come together, those with a delay later.
        """
        messages = await self.messages()
        bodies: list[Any] = [{"a": [1, None]}, None, "é😀", 7]
        await messages.send(
            OWNER,
            ACCOUNT,
            "queue",
            [
                *({"body": body} for body in bodies),
                {"body": "a text", "content_type": "text"},
                {"body": "later", "delay_seconds": 3600},
            ],
        )
        await messages.send(OWNER, ACCOUNT, QUEUE.name, [{"body": "much later"}], 7200)
        await self.until(lambda: len(self.bodies()) >= 5)
        self.assertEqual(self.bodies(), [*bodies, "a text"])

    async def test_what_is_no_message_is_refused(self) -> None:
        """
        Each mistake is told; nothing is sent then, and of too much neither.
        """
        messages = await self.messages()
        good = {"body": 1}
        wrong: list[Any]
        for wrong in (
            [], [good, 1], [{}], [{"body": 1, "content_type": "v8"}],
            [{"body": 1, "content_type": "text"}], [{"body": 1, "delay_seconds": -1}],
            [{"body": 1, "delay_seconds": 86_401}], [{"body": 1, "delay_seconds": "1"}],
        ):  # fmt: skip
            await self.refused(messages, Kind.BAD_REQUEST, wrong)
        await self.refused(messages, Kind.BODY_TOO_LARGE, [good, {"body": "x" * 130_000}])
        await self.refused(messages, Kind.BODY_TOO_LARGE, [good] * 101)
        with self.assertRaises(Problem) as caught:
            await messages.send(OWNER, ACCOUNT, "none", [good])
        self.assertIs(caught.exception.kind, Kind.QUEUE_NOT_FOUND)
        await messages.send(OWNER, ACCOUNT, "queue", [{"body": "the only one"}])
        await self.until(self.bodies)
        self.assertEqual(self.bodies(), ["the only one"])

    async def refused(self, messages: Messages, kind: Kind, wrong: list[Any]) -> None:
        """
        Sending these is a problem of this kind.
        """
        with self.assertRaises(Problem) as caught:
            await messages.send(OWNER, ACCOUNT, "queue", wrong)
        self.assertIs(caught.exception.kind, kind, wrong)
