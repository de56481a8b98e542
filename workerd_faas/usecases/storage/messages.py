"""Messages that are put into a queue from outside."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import ResourceKind
from workerd_faas.usecases.storage.inventory import Inventory, refused
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion

MAX_DELAY: Final = 24 * 60 * 60
"""Seconds that a message may wait before it is delivered first."""

_CONTENT_TYPES: Final = ("json", "text")


@attrs.frozen(kw_only=True)
class Messages:
    """
    The verb. The account's own state cell does the work.
    """

    inventory: Inventory

    async def send(
        self,
        principal: Principal,
        account_id: str,
        queue_id: str,
        messages: Sequence[Any],
        delay: Any = None,
    ) -> None:
        """
        Put messages into a queue: all of them or none.

        Args:
            messages: Of the form `{"body", "content_type"?, "delay_seconds"?}`; a body is JSON
                unless the type is `text`.
            delay: Of the messages that name none; None: the queue's own.

        Raises:
            Problem: `FORBIDDEN`, `QUEUE_NOT_FOUND`, `BAD_REQUEST`, `BODY_TOO_LARGE`;
                `TOO_MANY_REQUESTS` when the queue is full.
        """
        queue = await self.inventory.find(principal, account_id, ResourceKind.QUEUE, queue_id)
        usual = _delay(delay)
        if usual is None:
            usual = queue.settings.get("delivery_delay", 0)
        document = {"messages": [_encoded(each, usual) for each in messages]}
        if not messages:
            raise _wrong("there must be one message at least")
        question = StateQuestion(
            kind="queue",
            id=queue.id,
            method="POST",
            target="/batch",
            body=json.dumps(document).encode(),
        )
        answer = await self.inventory.cells.ask(account_id, question)
        if answer.status != 200:
            raise _refused(answer)


def _encoded(message: Any, usual: int) -> Mapping[str, Any]:
    """
    As workerd's queue binding sends it.
    """
    if not isinstance(message, dict) or "body" not in message:
        raise _wrong("a message is an object with 'body'")
    content_type = message.get("content_type") or "json"
    if content_type not in _CONTENT_TYPES:
        raise _wrong("'content_type' is json or text")
    body = message["body"]
    if content_type == "json":
        body = json.dumps(body, ensure_ascii=False)
    elif not isinstance(body, str):
        raise _wrong("the 'body' of a text is a string")
    delay = _delay(message.get("delay_seconds"))
    return {
        "body": base64.b64encode(body.encode("utf-8", "replace")).decode("ascii"),
        "contentType": content_type,
        "delaySecs": usual if delay is None else delay,
    }


def _delay(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_DELAY:
        raise _wrong(f"'delay_seconds' is a whole number from 0 to {MAX_DELAY}")
    return value


def _wrong(what: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The message cannot be sent: {what}.")


_KINDS: Final = {413: Kind.BODY_TOO_LARGE, 429: Kind.TOO_MANY_REQUESTS}


def _refused(answer: StateAnswer) -> Problem:
    kind = _KINDS.get(answer.status)
    if kind is None:
        return refused(answer)
    said = json.loads(answer.body)
    return Problem(
        kind=kind,
        message=f"The messages cannot be sent: {said}.",
        retry_after=10 if kind is Kind.TOO_MANY_REQUESTS else None,
    )
