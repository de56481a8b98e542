"""Whole daemons to be measured: those of the tests, which run as in production."""

import re
import sqlite3
from pathlib import Path
from typing import Any

from tests.e2e.daemon import Daemon, directory, running, workerds_of

__all__ = [
    "Daemon",
    "cell_of",
    "directory",
    "multiplied",
    "promoted_cell_of",
    "running",
    "version_of",
    "workerds_of",
]


def cell_of(daemon: Daemon) -> tuple[Path, int]:
    """
    The socket and the process of the only cell that runs functions.
    """
    for pid in workerds_of(daemon):
        inside = Path(f"/proc/{pid}/cwd").resolve()
        if inside.parent.name == "f":
            return inside / "h", pid
    raise RuntimeError("the daemon has no cell")


def promoted_cell_of(daemon: Daemon) -> tuple[Path, int] | None:
    """
    The socket and the process of a promoted function, if there is one.
    """
    for pid in workerds_of(daemon):
        socket = Path(f"/proc/{pid}/cwd").resolve() / "p"
        if socket.exists():
            return socket, pid
    return None


def version_of(daemon: Daemon, function: str) -> str:
    """
    The newest version.
    """
    found: list[dict[str, Any]] = daemon.api("GET", f"/workers/scripts/{function}/versions").result[
        "items"
    ]
    return str(found[0]["id"])


def multiplied(path: Path, function: str, count: int) -> None:
    """
    Give the catalog of a stopped daemon so many copies of a function: `copy-1`, `copy-2` …
    """
    with sqlite3.connect(path / "data" / "faas.db") as database:
        for table, names in (("functions", "name"), ("versions", "id"), ("deployments", "id")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            of = "name" if table == "functions" else "function"
            rows = list(database.execute(f"SELECT * FROM {table} WHERE {of} = ?", (function,)))
            marks = ", ".join("?" * len(columns))
            for number in range(1, count + 1):
                for row in rows:
                    copy = dict(zip(columns, row, strict=True))
                    _rename(copy, table, number, names)
                    database.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(copy.values()))


def _rename(row: dict[str, Any], table: str, number: int, key: str) -> None:
    name = f"copy-{number}"
    if table == "functions":
        row["name"] = name
        return
    row["function"] = name
    row[key] = f"{number:08x}{row[key][8:]}"
    if table == "deployments":
        row["number"] = None
        row["splits"] = _with_prefix(row["splits"], number)


def _with_prefix(splits: str, number: int) -> str:
    return re.sub(r'"[0-9a-f]{8}(-[0-9a-f]{4}-)', rf'"{number:08x}\1', splits)
