"""Namespaces, databases, queues and consumers in SQL. Each public method is one transaction."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from sqlite3 import Cursor
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import timestamp
from workerd_faas.domain.resources import Consumer, Resource, ResourceKind
from workerd_faas.usecases.ports import Database
from workerd_faas.usecases.storage import ports

_RESOURCE: Final = "id, account_id, kind, name, function, settings, created_at, modified_at"
_CONSUMER: Final = "id, queue_id, function, dead_letter, settings, created_at"


@attrs.frozen
class SQLResources:
    """
    `usecases.storage.ports.Resources` on a `Database`.
    """

    _database: Database

    async def add(self, resource: Resource) -> Resource:
        """
        See `usecases.storage.ports.Resources.add`.
        """
        await self._database.run(lambda cursor: _insert(cursor, resource))
        return resource

    async def default_database(self, resource: Resource) -> Resource:
        """
        See `usecases.storage.ports.Resources.default_database`.
        """

        def work(cursor: Cursor) -> Resource:
            cursor.execute(
                f"SELECT {_RESOURCE} FROM resources WHERE account_id = ? AND function = ?",
                (resource.account_id, resource.function),
            )
            row = cursor.fetchone()
            if row is not None:
                return _resource_of(row)
            made, number = resource, 1
            while _named(cursor, made.account_id, made.kind, made.name) is not None:
                number += 1
                made = attrs.evolve(resource, name=f"{resource.name}-{number}")
            _insert(cursor, made)
            return made

        return await self._database.run(work)

    async def rename(self, resource: Resource) -> Resource:
        """
        See `usecases.storage.ports.Resources.rename`.
        """

        def work(cursor: Cursor) -> Resource:
            _get(cursor, resource.account_id, resource.kind, resource.id)
            try:
                cursor.execute(
                    "UPDATE resources SET name = ?, settings = ?, modified_at = ? WHERE id = ?",
                    (
                        resource.name,
                        json.dumps(resource.settings),
                        timestamp(resource.modified_at),
                        resource.id,
                    ),
                )
            except sqlite3.IntegrityError:
                raise _exists(resource) from None
            return resource

        return await self._database.run(work)

    async def remove(self, account_id: str, kind: ResourceKind, resource_id: str) -> Resource:
        """
        See `usecases.storage.ports.Resources.remove`.
        """

        def work(cursor: Cursor) -> Resource:
            found = _get(cursor, account_id, kind, resource_id)
            cursor.execute("DELETE FROM resources WHERE id = ?", (resource_id,))
            cursor.execute(
                "UPDATE consumers SET dead_letter = NULL WHERE dead_letter = ?", (resource_id,)
            )
            return found

        return await self._database.run(work)

    async def get(self, account_id: str, kind: ResourceKind, resource_id: str) -> Resource:
        """
        See `usecases.storage.ports.Resources.get`.
        """
        return await self._database.run(lambda cursor: _get(cursor, account_id, kind, resource_id))

    async def named(self, account_id: str, kind: ResourceKind, name: str) -> Resource | None:
        """
        See `usecases.storage.ports.Resources.named`.
        """
        return await self._database.run(lambda cursor: _named(cursor, account_id, kind, name))

    async def all(self, account_id: str, kind: ResourceKind) -> Sequence[Resource]:
        """
        See `usecases.storage.ports.Resources.all`.
        """

        def work(cursor: Cursor) -> Sequence[Resource]:
            cursor.execute(
                f"SELECT {_RESOURCE} FROM resources WHERE account_id = ? AND kind = ?"
                " ORDER BY name",
                (account_id, kind.value),
            )
            return [_resource_of(row) for row in cursor]

        return await self._database.run(work)

    async def set_consumer(self, account_id: str, consumer: Consumer) -> Consumer:
        """
        See `usecases.storage.ports.Resources.set_consumer`.
        """

        def work(cursor: Cursor) -> Consumer:
            _get(cursor, account_id, ResourceKind.QUEUE, consumer.queue_id)
            try:
                cursor.execute(
                    f"INSERT INTO consumers ({_CONSUMER}) VALUES (?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET function = excluded.function,"
                    " dead_letter = excluded.dead_letter, settings = excluded.settings",
                    (
                        consumer.id,
                        consumer.queue_id,
                        consumer.function,
                        consumer.dead_letter,
                        json.dumps(consumer.settings),
                        timestamp(consumer.created_at),
                    ),
                )
            except sqlite3.IntegrityError:
                raise Problem(
                    kind=Kind.CONSUMER_EXISTS,
                    message="This queue has a consumer already; a queue has at most one.",
                ) from None
            return consumer

        return await self._database.run(work)

    async def remove_consumer(self, account_id: str, queue_id: str, consumer_id: str) -> None:
        """
        See `usecases.storage.ports.Resources.remove_consumer`.
        """

        def work(cursor: Cursor) -> None:
            _get(cursor, account_id, ResourceKind.QUEUE, queue_id)
            cursor.execute(
                "DELETE FROM consumers WHERE id = ? AND queue_id = ?", (consumer_id, queue_id)
            )
            if not cursor.rowcount:
                raise Problem(
                    kind=Kind.CONSUMER_NOT_FOUND, message="This queue has no such consumer."
                )

        await self._database.run(work)

    async def consumers(self) -> Sequence[tuple[Resource, Consumer]]:
        """
        See `usecases.storage.ports.Resources.consumers`.
        """

        def work(cursor: Cursor) -> Sequence[tuple[Resource, Consumer]]:
            ours, theirs = (
                ", ".join(f"{table}.{name}" for name in columns.split(", "))
                for table, columns in (("resources", _RESOURCE), ("consumers", _CONSUMER))
            )
            cursor.execute(
                f"SELECT {ours}, {theirs} FROM consumers"
                " JOIN resources ON resources.id = consumers.queue_id"
            )
            width = len(_RESOURCE.split(", "))
            return [(_resource_of(row[:width]), _consumer_of(row[width:])) for row in cursor]

        return await self._database.run(work)


def _insert(cursor: Cursor, resource: Resource) -> None:
    try:
        cursor.execute(
            f"INSERT INTO resources ({_RESOURCE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                resource.id,
                resource.account_id,
                resource.kind.value,
                resource.name,
                resource.function,
                json.dumps(resource.settings),
                timestamp(resource.created_at),
                timestamp(resource.modified_at),
            ),
        )
    except sqlite3.IntegrityError:
        raise _exists(resource) from None


_EXISTS: Final = {
    ResourceKind.KV: Kind.NAMESPACE_EXISTS,
    ResourceKind.D1: Kind.DATABASE_EXISTS,
    ResourceKind.QUEUE: Kind.QUEUE_EXISTS,
}

_MISSING: Final = {
    ResourceKind.KV: Kind.NAMESPACE_NOT_FOUND,
    ResourceKind.D1: Kind.DATABASE_NOT_FOUND,
    ResourceKind.QUEUE: Kind.QUEUE_NOT_FOUND,
}


def _exists(resource: Resource) -> Problem:
    return Problem(
        kind=_EXISTS[resource.kind],
        message=f"A {resource.kind.noun} of the name {resource.name!r} already exists.",
    )


def _get(cursor: Cursor, account_id: str, kind: ResourceKind, resource_id: str) -> Resource:
    cursor.execute(
        f"SELECT {_RESOURCE} FROM resources WHERE id = ? AND account_id = ? AND kind = ?",
        (resource_id, account_id, kind.value),
    )
    row = cursor.fetchone()
    if row is None:
        raise Problem(
            kind=_MISSING[kind],
            message=f"Your account has no {kind.noun} {resource_id[:100]!r}.",
        )
    return _resource_of(row)


def _named(cursor: Cursor, account_id: str, kind: ResourceKind, name: str) -> Resource | None:
    cursor.execute(
        f"SELECT {_RESOURCE} FROM resources WHERE account_id = ? AND kind = ? AND name = ?",
        (account_id, kind.value, name),
    )
    row = cursor.fetchone()
    return None if row is None else _resource_of(row)


def _resource_of(row: Sequence[Any]) -> Resource:
    id_, account_id, kind, name, function, settings, created_at, modified_at = row
    return Resource(
        id=id_,
        account_id=account_id,
        kind=ResourceKind(kind),
        name=name,
        function=function,
        settings=json.loads(settings),
        created_at=datetime.fromisoformat(created_at),
        modified_at=datetime.fromisoformat(modified_at),
    )


def _consumer_of(row: Sequence[Any]) -> Consumer:
    id_, queue_id, function, dead_letter, settings, created_at = row
    return Consumer(
        id=id_,
        queue_id=queue_id,
        function=function,
        dead_letter=dead_letter,
        settings=json.loads(settings),
        created_at=datetime.fromisoformat(created_at),
    )


_check: type[ports.Resources] = SQLResources
