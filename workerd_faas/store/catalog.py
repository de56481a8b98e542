"""The catalog in SQL. Each public method is one transaction; the functions below it are its SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from sqlite3 import Cursor
from types import MappingProxyType

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import LARGE_CODE, MAX_ALIASES
from workerd_faas.domain.model import (
    Alias,
    Deployment,
    Function,
    Reach,
    Version,
    timestamp,
)
from workerd_faas.domain.routing import FunctionRoutes
from workerd_faas.store import rows
from workerd_faas.usecases import ports


@attrs.frozen
class SQLCatalog:
    """
    `usecases.ports.Catalog` on a `Database`.
    """

    _database: ports.Database

    async def routes(self) -> Sequence[FunctionRoutes]:
        """
        See `usecases.ports.Catalog.routes`.
        """
        return await self._database.run(_routes)

    async def bundles(self) -> frozenset[str]:
        """
        The digests of all bundles and site documents that a version refers to.
        """
        return await self._database.run(_bundles)

    async def sites(self) -> Mapping[str, Collection[str]]:
        """
        See `usecases.ports.Catalog.sites`.
        """
        return await self._database.run(_sites)

    async def add_version(
        self,
        version: Version,
        *,
        deployment: Deployment | None = None,
        alias: str | None = None,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> Version:
        """
        See `usecases.ports.Catalog.add_version`.
        """

        def work(cursor: Cursor) -> Version:
            stored = _add_version(cursor, version)
            cursor.executemany(
                "INSERT INTO secrets (id, function, sealed) VALUES (?, ?, ?)",
                [(id_, version.function, sealed) for id_, sealed in secrets.items()],
            )
            if deployment is not None:
                _insert_deployment(cursor, deployment)
            if alias is not None:
                _set_alias(cursor, version.function, alias, version.id, version.created_at)
            return stored

        return await self._database.run(work)

    async def secrets(self, ids: Sequence[str]) -> Mapping[str, str]:
        """
        See `usecases.ports.Catalog.secrets`.
        """

        def work(cursor: Cursor) -> Mapping[str, str]:
            found = {}
            for id_ in ids:
                cursor.execute("SELECT sealed FROM secrets WHERE id = ?", (id_,))
                for (sealed,) in cursor:
                    found[id_] = sealed
            return found

        return await self._database.run(work)

    async def add_deployment(self, account_id: str, deployment: Deployment) -> Deployment:
        """
        See `usecases.ports.Catalog.add_deployment`.
        """

        def work(cursor: Cursor) -> Deployment:
            _function(cursor, account_id, deployment.function)
            for split in deployment.splits:
                _version(cursor, account_id, deployment.function, split.version_id)
            _insert_deployment(cursor, deployment)
            return deployment

        return await self._database.run(work)

    async def function(self, account_id: str, name: str) -> Function:
        """
        See `usecases.ports.Catalog.function`.
        """
        return await self._database.run(lambda cursor: _function(cursor, account_id, name))

    async def functions(self, account_id: str) -> Sequence[tuple[Function, Deployment | None]]:
        """
        See `usecases.ports.Catalog.functions`.
        """
        return await self._database.run(lambda cursor: _functions(cursor, account_id))

    async def remove_function(self, account_id: str, name: str) -> Sequence[str]:
        """
        See `usecases.ports.Catalog.remove_function`.
        """

        def work(cursor: Cursor) -> Sequence[str]:
            _function(cursor, account_id, name)
            cursor.execute("SELECT id FROM versions WHERE function = ?", (name,))
            gone = [version_id for (version_id,) in cursor]
            cursor.execute("DELETE FROM functions WHERE name = ?", (name,))
            return gone

        return await self._database.run(work)

    async def version(self, account_id: str, name: str, version_id: str) -> Version:
        """
        See `usecases.ports.Catalog.version`.
        """
        return await self._database.run(
            lambda cursor: _version(cursor, account_id, name, version_id)
        )

    async def version_to_run(self, account_id: str | None, version_id: str) -> Version:
        """
        See `usecases.ports.Catalog.version_to_run`.
        """
        return await self._database.run(
            lambda cursor: _version_to_run(cursor, account_id, version_id)
        )

    async def versions(self, account_id: str, name: str, limit: int) -> Sequence[Version]:
        """
        See `usecases.ports.Catalog.versions`.
        """

        def work(cursor: Cursor) -> Sequence[Version]:
            _function(cursor, account_id, name)
            cursor.execute(
                f"SELECT {rows.LISTED_VERSION} FROM versions WHERE function = ?"
                " ORDER BY number DESC LIMIT ?",
                (name, limit),
            )
            return [rows.version_of(row, account_id) for row in cursor]

        return await self._database.run(work)

    async def deployments(self, account_id: str, name: str, limit: int) -> Sequence[Deployment]:
        """
        See `usecases.ports.Catalog.deployments`.
        """

        def work(cursor: Cursor) -> Sequence[Deployment]:
            _function(cursor, account_id, name)
            cursor.execute(
                f"SELECT {rows.DEPLOYMENT} FROM deployments WHERE function = ?"
                " ORDER BY number DESC LIMIT ?",
                (name, limit),
            )
            return [rows.deployment_of(row) for row in cursor]

        return await self._database.run(work)

    async def aliases(self, account_id: str, name: str) -> Sequence[Alias]:
        """
        See `usecases.ports.Catalog.aliases`.
        """

        def work(cursor: Cursor) -> Sequence[Alias]:
            _function(cursor, account_id, name)
            cursor.execute(
                f"SELECT {rows.ALIAS} FROM aliases WHERE function = ? ORDER BY name", (name,)
            )
            return [rows.alias_of(row) for row in cursor]

        return await self._database.run(work)

    async def set_reach(self, account_id: str, name: str, reach: Reach) -> None:
        """
        See `usecases.ports.Catalog.set_reach`.
        """

        def work(cursor: Cursor) -> None:
            _function(cursor, account_id, name)
            cursor.execute(
                "UPDATE functions SET enabled = ?, previews = ? WHERE name = ?",
                (reach.enabled, reach.previews, name),
            )

        await self._database.run(work)

    async def set_alias(
        self, account_id: str, name: str, alias: str, version_id: str, now: datetime
    ) -> Alias:
        """
        See `usecases.ports.Catalog.set_alias`.
        """

        def work(cursor: Cursor) -> Alias:
            _function(cursor, account_id, name)
            _version(cursor, account_id, name, version_id)
            return _set_alias(cursor, name, alias, version_id, now)

        return await self._database.run(work)

    async def remove_alias(self, account_id: str, name: str, alias: str) -> None:
        """
        See `usecases.ports.Catalog.remove_alias`.
        """

        def work(cursor: Cursor) -> None:
            _function(cursor, account_id, name)
            cursor.execute("DELETE FROM aliases WHERE function = ? AND name = ?", (name, alias))
            if not cursor.rowcount:
                raise Problem(
                    kind=Kind.ALIAS_NOT_FOUND,
                    message=f"The Worker {name!r} has no alias {alias!r}.",
                )

        await self._database.run(work)


def _routes(cursor: Cursor) -> Sequence[FunctionRoutes]:
    versions: dict[str, list[str]] = {}
    large: set[str] = set()
    for function, version_id, size in cursor.execute("SELECT function, id, size FROM versions"):
        versions.setdefault(function, []).append(version_id)
        if size >= LARGE_CODE:
            large.add(function)
    aliases: dict[str, dict[str, str]] = {}
    for function, alias, version_id in cursor.execute(
        "SELECT function, name, version_id FROM aliases"
    ):
        aliases.setdefault(function, {})[alias] = version_id
    cursor.execute(
        "SELECT functions.name, functions.account_id, functions.enabled, functions.previews,"
        " deployments.splits FROM functions"
        " LEFT JOIN deployments ON deployments.number ="
        " (SELECT max(number) FROM deployments WHERE function = functions.name)"
    )
    return [
        FunctionRoutes(
            function=name,
            account_id=account_id,
            splits=rows.splits_of(splits or "[]"),
            aliases=aliases.get(name, {}),
            versions=versions.get(name, ()),
            reach=Reach(enabled=bool(enabled), previews=bool(previews)),
            large=name in large,
        )
        for name, account_id, enabled, previews, splits in cursor
    ]


def _bundles(cursor: Cursor) -> frozenset[str]:
    cursor.execute(
        "SELECT bundle FROM versions UNION SELECT assets FROM versions WHERE assets IS NOT NULL"
    )
    return frozenset(digest for (digest,) in cursor)


def _sites(cursor: Cursor) -> Mapping[str, Collection[str]]:
    cursor.execute(
        "SELECT DISTINCT functions.account_id, versions.assets FROM versions"
        " JOIN functions ON functions.name = versions.function WHERE versions.assets IS NOT NULL"
    )
    found: dict[str, set[str]] = {}
    for account_id, digest in cursor:
        found.setdefault(account_id, set()).add(digest)
    return found


def _function(cursor: Cursor, account_id: str, name: str) -> Function:
    cursor.execute(
        f"SELECT {rows.FUNCTION} FROM functions WHERE name = ? AND account_id = ?",
        (name, account_id),
    )
    row = cursor.fetchone()
    if row is None:
        raise Problem(
            kind=Kind.SCRIPT_NOT_FOUND,
            message="This Worker does not exist on your account.",
        )
    return rows.function_of(row)


def _functions(cursor: Cursor, account_id: str) -> Sequence[tuple[Function, Deployment | None]]:
    cursor.execute(
        f"SELECT {rows.qualified(rows.FUNCTION, 'functions')},"
        f" {rows.qualified(rows.DEPLOYMENT, 'deployments')} FROM functions"
        " LEFT JOIN deployments ON deployments.number ="
        " (SELECT max(number) FROM deployments WHERE function = functions.name)"
        " WHERE functions.account_id = ? ORDER BY functions.name",
        (account_id,),
    )
    width = len(rows.FUNCTION.split(","))
    return [
        (
            rows.function_of(row[:width]),
            rows.deployment_of(row[width:]) if row[width] is not None else None,
        )
        for row in cursor
    ]


def _version(cursor: Cursor, account_id: str, name: str, version_id: str) -> Version:
    _function(cursor, account_id, name)
    cursor.execute(
        f"SELECT {rows.VERSION} FROM versions WHERE id = ? AND function = ?", (version_id, name)
    )
    row = cursor.fetchone()
    if row is None:
        raise Problem(
            kind=Kind.VERSION_NOT_FOUND, message=f"The Worker {name!r} has no such version."
        )
    return rows.version_of(row, account_id)


def _version_to_run(cursor: Cursor, account_id: str | None, version_id: str) -> Version:
    cursor.execute(
        f"SELECT functions.account_id, {rows.qualified(rows.VERSION, 'versions')} FROM versions"
        " JOIN functions ON functions.name = versions.function WHERE versions.id = ?",
        (version_id,),
    )
    row = cursor.fetchone()
    if row is None or account_id not in (None, row[0]):
        raise Problem(kind=Kind.VERSION_NOT_FOUND, message="There is no such version.")
    return rows.version_of(row[1:], row[0])


def _add_version(cursor: Cursor, version: Version) -> Version:
    now = timestamp(version.created_at)
    cursor.execute(
        f"INSERT INTO functions ({rows.FUNCTION}) VALUES (?1, ?2, ?3, ?4, ?4, 1, 1)"
        " ON CONFLICT (name) DO UPDATE SET modified_at = excluded.modified_at"
        " WHERE account_id = excluded.account_id",
        (version.function, version.account_id, _tag(version), now),
    )
    if not cursor.rowcount:
        raise Problem(
            kind=Kind.NAME_TAKEN,
            message=f"The name {version.function!r} is taken: choose another one.",
        )
    (number,) = cursor.execute(
        "SELECT coalesce(max(number), 0) + 1 FROM versions WHERE function = ?",
        (version.function,),
    ).fetchone()
    stored = attrs.evolve(version, number=number)
    columns = rows.version_row(stored)
    cursor.execute(
        f"INSERT INTO versions ({rows.VERSION}) VALUES ({_marks(columns)})",
        columns,
    )
    return stored


def _insert_deployment(cursor: Cursor, deployment: Deployment) -> None:
    columns = rows.deployment_row(deployment)
    cursor.execute(
        f"INSERT INTO deployments ({rows.DEPLOYMENT}) VALUES ({_marks(columns)})", columns
    )
    cursor.execute(
        "UPDATE functions SET modified_at = ? WHERE name = ?",
        (timestamp(deployment.created_at), deployment.function),
    )


def _set_alias(cursor: Cursor, function: str, alias: str, version_id: str, now: datetime) -> Alias:
    cursor.execute(
        "SELECT count(*) FROM aliases WHERE function = ? AND name != ?", (function, alias)
    )
    if cursor.fetchone()[0] >= MAX_ALIASES:
        raise Problem(
            kind=Kind.TOO_MANY_ALIASES,
            message=f"The Worker {function!r} has {MAX_ALIASES} aliases, and may have no more: "
            "remove some (`wrkst alias delete`), or let an existing one name this version.",
        )
    cursor.execute(
        "INSERT INTO aliases (function, name, version_id, created_at, modified_at)"
        " VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (function, name) DO UPDATE"
        " SET version_id = excluded.version_id, modified_at = excluded.modified_at"
        f" RETURNING {rows.ALIAS}",
        (function, alias, version_id, timestamp(now)),
    )
    return rows.alias_of(cursor.fetchone())


def _marks(columns: Sequence[object]) -> str:
    return ", ".join("?" * len(columns))


def _tag(version: Version) -> str:
    """
    An opaque id of the function that outlives none of its name's owners: its first version's.
    """
    return version.id.replace("-", "")


_check: type[ports.Catalog] = SQLCatalog
