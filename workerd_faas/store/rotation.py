"""
Encrypting every stored secret anew, while the daemon runs or not.

A batch is a transaction of its own, so that the daemon never waits for long.
"""

from functools import partial
from sqlite3 import Connection, Cursor
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.store.database import transact
from workerd_faas.store.vault import FernetVault

SEALED: Final = (("secrets", "sealed"), ("hyperdrives", "sealed"))
"""Tables with a column `id`, and the column that is sealed with it."""

BATCH: Final = 100


@attrs.frozen(kw_only=True)
class Rotated:
    """
    What became of the stored secrets.

    Attributes:
        renewed: Were under another key and are under the first one now.
        current: Were under the first key already.
        unreadable: Cannot be decrypted with any key, and are as they were.
    """

    renewed: int = 0
    current: int = 0
    unreadable: int = 0


def rotate(connection: Connection, vault: FernetVault) -> Rotated:
    """
    Put every secret under the vault's first key.

    Raises:
        Problem: `UNAVAILABLE`, `STORAGE_FULL`; what was done before stays done.
    """
    done = Rotated()
    for table, column in SEALED:
        after: str | None = ""
        while after is not None:
            work = partial(_batch, table=table, column=column, after=after, vault=vault)
            batch, after = transact(connection, work)
            done = Rotated(
                renewed=done.renewed + batch.renewed,
                current=done.current + batch.current,
                unreadable=done.unreadable + batch.unreadable,
            )
    return done


def _batch(
    cursor: Cursor, *, table: str, column: str, after: str, vault: FernetVault
) -> tuple[Rotated, str | None]:
    """
    What became of the rows after this id, and the id to go on after; None: these were the last.
    """
    cursor.execute(
        f"SELECT id, {column} FROM {table} WHERE id > ? ORDER BY id LIMIT ?", (after, BATCH)
    )
    rows = cursor.fetchall()
    renewed = unreadable = 0
    for id_, sealed in rows:
        try:
            new = vault.renew(id_, sealed)
        except Problem as problem:
            if problem.kind is not Kind.SECRET_UNREADABLE:
                raise
            unreadable += 1
            continue
        if new is not None:
            cursor.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (new, id_))
            renewed += 1
    counts = Rotated(
        renewed=renewed, current=len(rows) - renewed - unreadable, unreadable=unreadable
    )
    return counts, rows[-1][0] if len(rows) == BATCH else None
