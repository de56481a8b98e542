"""Configurations of databases in SQL; passwords are sealed like secrets."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from sqlite3 import Cursor, IntegrityError
from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.hyperdrive import Configuration, Origin
from workerd_faas.domain.model import timestamp
from workerd_faas.usecases import ports
from workerd_faas.usecases.hyperdrive.ports import Configurations

_COLUMNS: Final = "id, account_id, name, origin, sealed, settings, created_at, modified_at"

_IN_USE: Final = """
    SELECT DISTINCT json_extract(hyperdrives.origin, '$.host'), functions.name, hyperdrives.id
    FROM functions
    JOIN deployments ON deployments.number =
        (SELECT max(number) FROM deployments WHERE function = functions.name)
    JOIN json_each(deployments.splits) AS split
    JOIN versions ON versions.id = json_extract(split.value, '$[0]')
    JOIN json_each(versions.bindings) AS binding
    JOIN hyperdrives ON hyperdrives.id = json_extract(binding.value, '$.value.id')
        AND hyperdrives.account_id = functions.account_id
    WHERE functions.account_id = ? AND json_extract(binding.value, '$.type') = 'hyperdrive'
"""


@attrs.frozen
class SQLConfigurations:
    """
    `usecases.hyperdrive.ports.Configurations`.
    """

    _database: ports.Database
    _vault: ports.Vault

    async def add(self, configuration: Configuration) -> None:
        """
        See `Configurations.add`.
        """
        row = self._row(configuration)
        await self._named(
            lambda cursor: cursor.execute(
                f"INSERT INTO hyperdrives ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row
            )
        )

    async def get(self, account_id: str, id_: str) -> Configuration:
        """
        See `Configurations.get`.
        """
        return self._value(await self._database.run(lambda cursor: _get(cursor, account_id, id_)))

    async def all_of(self, account_id: str) -> Sequence[Configuration]:
        """
        See `Configurations.all_of`.
        """

        def work(cursor: Cursor) -> Sequence[Any]:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM hyperdrives WHERE account_id = ? ORDER BY name",
                (account_id,),
            )
            return cursor.fetchall()

        return [self._value(row) for row in await self._database.run(work)]

    async def replace(self, configuration: Configuration) -> None:
        """
        See `Configurations.replace`.
        """
        id_, account_id, name, origin, sealed, settings, _, modified_at = self._row(configuration)

        def work(cursor: Cursor) -> None:
            _get(cursor, account_id, id_)
            cursor.execute(
                "UPDATE hyperdrives SET name = ?, origin = ?, sealed = ?, settings = ?,"
                " modified_at = ? WHERE id = ?",
                (name, origin, sealed, settings, modified_at, id_),
            )

        await self._named(work)

    async def remove(self, account_id: str, id_: str) -> None:
        """
        See `Configurations.remove`.
        """

        def work(cursor: Cursor) -> None:
            _get(cursor, account_id, id_)
            users = [function for _, function, used in _in_use(cursor, account_id) if used == id_]
            if users:
                raise Problem(
                    kind=Kind.HYPERDRIVE_IN_USE,
                    message=f"The function {min(users)!r} binds this configuration: deploy it "
                    "without the binding first.",
                )
            cursor.execute("DELETE FROM hyperdrives WHERE id = ?", (id_,))

        await self._database.run(work)

    async def accounts_in_use(self) -> Sequence[str]:
        """
        See `Configurations.accounts_in_use`.
        """

        def work(cursor: Cursor) -> Sequence[str]:
            # Most installations have none: then versions are not looked through.
            cursor.execute("SELECT DISTINCT account_id FROM hyperdrives")
            accounts = [account_id for (account_id,) in cursor.fetchall()]
            return [account_id for account_id in accounts if _in_use(cursor, account_id)]

        return await self._database.run(work)

    async def hosts_in_use(self, account_id: str) -> frozenset[str]:
        """
        See `Configurations.hosts_in_use`.
        """
        found = await self._database.run(lambda cursor: _in_use(cursor, account_id))
        return frozenset(host for host, _, _ in found)

    async def _named(self, work: Callable[[Cursor], object]) -> None:
        try:
            await self._database.run(work)
        except IntegrityError:
            raise Problem(
                kind=Kind.HYPERDRIVE_EXISTS,
                message="There is a Hyperdrive configuration of this name already.",
            ) from None

    def _row(self, configuration: Configuration) -> tuple[Any, ...]:
        origin = attrs.asdict(configuration.origin)
        sealed = self._vault.seal(configuration.id, origin.pop("password"))
        return (
            configuration.id,
            configuration.account_id,
            configuration.name,
            json.dumps(origin),
            sealed,
            json.dumps(configuration.settings),
            timestamp(configuration.created_at),
            timestamp(configuration.modified_at),
        )

    def _value(self, row: Any) -> Configuration:
        id_, account_id, name, origin, sealed, settings, created_at, modified_at = row
        return Configuration(
            id=id_,
            account_id=account_id,
            name=name,
            origin=Origin(**json.loads(origin), password=self._vault.open(id_, sealed)),
            settings=json.loads(settings),
            created_at=datetime.fromisoformat(created_at),
            modified_at=datetime.fromisoformat(modified_at),
        )


def _in_use(cursor: Cursor, account_id: str) -> Sequence[tuple[str, str, str]]:
    """
    Host, function and id of the configurations that deployed versions bind.
    """
    cursor.execute("SELECT 1 FROM hyperdrives WHERE account_id = ? LIMIT 1", (account_id,))
    if cursor.fetchone() is None:
        return ()
    return cursor.execute(_IN_USE, (account_id,)).fetchall()


def _get(cursor: Cursor, account_id: str, id_: str) -> Any:
    cursor.execute(
        f"SELECT {_COLUMNS} FROM hyperdrives WHERE id = ? AND account_id = ?", (id_, account_id)
    )
    row = cursor.fetchone()
    if row is None:
        raise Problem(
            kind=Kind.HYPERDRIVE_NOT_FOUND,
            message="There is no Hyperdrive configuration with this id.",
        )
    return row


_check: type[Configurations] = SQLConfigurations
