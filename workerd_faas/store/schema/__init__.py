"""
The numbered schema files and how a database gets from one to the next.

`0001_….sql` is version 1, and so on; `PRAGMA user_version` says which one a file has.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Final

import attrs


@attrs.frozen
class Step:
    """
    One schema file.
    """

    version: int
    sql: str


class NewerSchema(Exception):
    """
    The database was written by a newer release.
    """


def _read_steps() -> tuple[Step, ...]:
    steps = []
    for file in resources.files(__name__).iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match:
            steps.append(Step(int(match[1]), file.read_text("utf-8")))
    return tuple(sorted(steps, key=lambda step: step.version))


SCHEMA: Final = _read_steps()


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Step]) -> None:
    """
    Apply what is missing, each step in a transaction of its own, after copying the database to
    `<name>.before-<version>` when it holds data already.

    Raises:
        NewerSchema: the database has a version that `steps` do not know.
        sqlite3.Error: a step failed; the database is as it was before that step.
    """
    (current,) = connection.execute("PRAGMA user_version").fetchone()
    newest = steps[-1].version
    if current > newest:
        raise NewerSchema(
            f"{path} has schema {current}, this release knows up to {newest}: "
            "install the release that wrote it, or restore the copy made before the upgrade"
        )
    if 0 < current < newest:
        _copy(connection, path.with_name(f"{path.name}.before-{newest}"))
    for step in steps:
        if step.version > current:
            _apply(connection, step)


def _apply(connection: sqlite3.Connection, step: Step) -> None:
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        (current,) = cursor.execute("PRAGMA user_version").fetchone()
        if current < step.version:
            for statement in _statements(step.sql):
                cursor.execute(statement)
            cursor.execute(f"PRAGMA user_version = {step.version:d}")
        cursor.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    finally:
        cursor.close()


def _statements(sql: str) -> Sequence[str]:
    """
    `executescript` would commit by itself, so the file is run statement by statement.
    """
    statements, pending = [], ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
