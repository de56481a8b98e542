"""Storage that an account owns, as plain values: KV namespaces, D1 databases, queues."""

import enum
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem


class ResourceKind(enum.Enum):
    """
    What it is.
    """

    KV = "kv"
    D1 = "d1"
    QUEUE = "queue"

    @property
    def noun(self) -> str:
        """
        What people call it.
        """
        return _NOUNS[self]


_NOUNS: Final = {
    ResourceKind.KV: "KV namespace",
    ResourceKind.D1: "D1 database",
    ResourceKind.QUEUE: "queue",
}


@attrs.frozen(kw_only=True)
class Resource:
    """
    One namespace, database or queue; its content is in the account's state cell under its id.

    Attributes:
        name: Unique among the account's of this kind.
        function: Of a database: whose `env.D1` it is without having been asked for.
    """

    id: str
    account_id: str
    kind: ResourceKind
    name: str
    created_at: datetime
    modified_at: datetime
    function: str | None = None
    settings: Mapping[str, Any] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class Consumer:
    """
    The function that gets a queue's messages.

    Attributes:
        dead_letter: Id of the queue for what could not be delivered.
        settings: As Wrangler sends them: `batch_size`, `max_retries`, `max_wait_time_ms`,
            `max_concurrency`, `retry_delay`; those that are set.
    """

    id: str
    queue_id: str
    function: str
    created_at: datetime
    dead_letter: str | None = None
    settings: Mapping[str, int] = attrs.Factory(dict)


MAX_KV_TITLE: Final = 512
_D1_NAME: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,99}")
_QUEUE_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_resource_name(kind: ResourceKind, name: Any) -> str:
    """
    Return `name` if one of this kind may be called so.

    Raises:
        Problem: `BAD_REQUEST`, saying what is right.
    """
    if kind is ResourceKind.KV:
        good = isinstance(name, str) and 0 < len(name) <= MAX_KV_TITLE and name.isprintable()
        rule = f"a title of 1 to {MAX_KV_TITLE} printable characters"
    elif kind is ResourceKind.D1:
        good = isinstance(name, str) and _D1_NAME.fullmatch(name) is not None
        rule = "a name of 1 to 100 characters of a-z, A-Z, 0-9, '_' and '-', not beginning with '-'"
    else:
        good = isinstance(name, str) and _QUEUE_NAME.fullmatch(name) is not None
        rule = "a name of 1 to 63 characters of a-z, 0-9 and '-', with no '-' at either end"
    if not good:
        raise Problem(kind=Kind.BAD_REQUEST, message=f"A {kind.noun} needs {rule}.")
    assert isinstance(name, str)
    return name
