"""The SQL of the log of functions. Everything here runs on the log's own thread."""

from collections.abc import Sequence
from sqlite3 import Cursor
from typing import Any, Final

import attrs

from workerd_faas.domain.invocation import Invocation, Level
from workerd_faas.domain.log_query import Kept, LogPage, LogQuery
from workerd_faas.domain.routing import Route
from workerd_faas.store.schema import Step

SCHEMA: Final = (
    Step(
        1,
        """
        CREATE TABLE invocations (
          -- Never used again, so that a cursor stays where it was.
          number INTEGER PRIMARY KEY AUTOINCREMENT,
          account TEXT NOT NULL,
          function TEXT NOT NULL,
          version TEXT NOT NULL,
          time INTEGER NOT NULL,
          outcome TEXT NOT NULL,
          request TEXT,
          levels INTEGER NOT NULL,
          has_stacks INTEGER NOT NULL,
          size INTEGER NOT NULL,
          text TEXT NOT NULL,
          document TEXT NOT NULL
        );
        CREATE INDEX invocations_of_function ON invocations (account, function, number);
        CREATE INDEX invocations_of_account ON invocations (account, number);
        CREATE INDEX invocations_by_request ON invocations (request) WHERE request IS NOT NULL;
        CREATE INDEX invocations_by_time ON invocations (time);
        """,
    ),
)

MAX_PAGE_BYTES: Final = 8 << 20
"""Of the documents in one answer: a page may be shorter than asked for."""

_OVERHEAD: Final = 200
"""Bytes that a row takes beside its text and document, indexes included."""

_REMOVED_AT_ONCE: Final = 200
_ROOM: Final = 0.9
"""How far an account that has too much is brought below what it may have."""


@attrs.define
class Sizes:
    """
    Bytes that each function has in the log, by account.
    """

    accounts: dict[str, dict[str, int]] = attrs.Factory(dict)

    def add(self, account_id: str, function: str, size: int) -> None:
        """
        A function has so many more, or fewer.
        """
        functions = self.accounts.setdefault(account_id, {})
        functions[function] = functions.get(function, 0) + size
        if functions[function] <= 0:
            del functions[function]
        if not functions:
            del self.accounts[account_id]

    def of(self, account_id: str) -> int:
        """
        All of an account's.
        """
        return sum(self.accounts.get(account_id, {}).values())

    def largest(self, account_id: str) -> str:
        """
        The function of the account that has most.
        """
        functions = self.accounts[account_id]
        return max(functions, key=lambda name: functions[name])


def size_of(invocation: Invocation) -> int:
    """
    About how many bytes it takes.
    """
    return len(invocation.document) + len(invocation.text) + _OVERHEAD


def sizes(cursor: Cursor) -> Sizes:
    """
    What there is.
    """
    found = Sizes()
    cursor.execute("SELECT account, function, sum(size) FROM invocations GROUP BY 1, 2")
    for account_id, function, size in cursor:
        found.add(account_id, function, size)
    return found


def insert(cursor: Cursor, known: Sizes, batch: Sequence[Invocation], keep_bytes: int) -> None:
    """
    Write these, and remove what is then too much for their accounts.
    """
    cursor.executemany(
        "INSERT INTO invocations (account, function, version, time, outcome, request, levels,"
        " has_stacks, size, text, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_row(each) for each in batch],
    )
    for each in batch:
        known.add(each.route.account_id, each.route.function, size_of(each))
    for account_id in {each.route.account_id for each in batch}:
        if known.of(account_id) > keep_bytes:
            goal = int(keep_bytes * _ROOM)
            while known.of(account_id) > goal:
                _remove_oldest(cursor, known, account_id, known.of(account_id) - goal)


def select(cursor: Cursor, query: LogQuery) -> LogPage:
    """
    One page.
    """
    conditions, values = _conditions(query)
    cursor.execute(
        "SELECT number, account, function, version, time, outcome, request, levels, has_stacks,"
        f" text, document FROM invocations WHERE {' AND '.join(conditions)}"
        " ORDER BY number DESC LIMIT ?",
        [*values, query.limit + 1],
    )
    found: list[Kept] = []
    size = 0
    for row in cursor:
        kept = _kept(row)
        size += len(kept.invocation.document)
        if len(found) == query.limit or (found and size > MAX_PAGE_BYTES):
            return LogPage(tuple(found), found[-1].number)
        found.append(kept)
    return LogPage(tuple(found), None)


def forget(cursor: Cursor, known: Sizes, account_id: str, function: str) -> None:
    """
    Remove all of a function's.
    """
    cursor.execute(
        "DELETE FROM invocations WHERE account = ? AND function = ?", (account_id, function)
    )
    size = known.accounts.get(account_id, {}).get(function, 0)
    if size:
        known.add(account_id, function, -size)


def remove_older(cursor: Cursor, known: Sizes, oldest: int) -> None:
    """
    Remove all that began before this time, in milliseconds since 1970.
    """
    cursor.execute(
        "DELETE FROM invocations WHERE time < ? RETURNING account, function, size", (oldest,)
    )
    for account_id, function, size in cursor.fetchall():
        known.add(account_id, function, -size)


def _remove_oldest(cursor: Cursor, known: Sizes, account_id: str, surplus: int) -> None:
    """
    Remove some of the oldest of the account's largest function, at most so many bytes.
    """
    function = known.largest(account_id)
    where = (account_id, function)
    cursor.execute(
        "SELECT number, size FROM invocations WHERE account = ? AND function = ?"
        " ORDER BY number LIMIT ?",
        (*where, _REMOVED_AT_ONCE),
    )
    removed, last = 0, 0
    for number, size in cursor.fetchall():
        if removed >= surplus:
            break
        removed, last = removed + size, number
    cursor.execute(
        "DELETE FROM invocations WHERE account = ? AND function = ? AND number <= ?",
        (*where, last),
    )
    # Without rows there is nothing either, whatever was counted.
    known.add(account_id, function, -(removed or known.accounts[account_id][function]))


def _conditions(query: LogQuery) -> tuple[list[str], list[Any]]:
    version = None if query.version is None else (query.version, query.version + "\U0010ffff")
    given = (
        ("account = ?", query.account_id),
        ("function = ?", query.function),
        ("version >= ? AND version < ?", version),
        ("levels & ?", None if query.levels is None else int(query.levels)),
        ("outcome = ?", query.outcome),
        ("instr(lower(text), lower(?))", query.text),
        ("time >= ?", query.since),
        ("time < ?", query.until),
        ("request = ?", query.request_id),
        ("number < ?", query.before),
    )
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in given:
        if value is not None:
            conditions.append(condition)
            values.extend(value if isinstance(value, tuple) else (value,))
    return conditions, values


def _row(each: Invocation) -> tuple[Any, ...]:
    route = each.route
    return (
        route.account_id,
        route.function,
        route.version_id,
        each.time,
        each.outcome,
        each.request_id,
        int(each.levels),
        each.has_stacks,
        size_of(each),
        # A lone surrogate cannot be stored, and SQL's functions end at a NUL; the document has both
        # as escapes.
        each.text.encode("utf-8", "replace").decode().replace("\0", " "),
        each.document,
    )


def _kept(row: tuple[Any, ...]) -> Kept:
    number, account_id, function, version, time, outcome, request, levels, stacks, text, doc = row
    return Kept(
        number,
        Invocation(
            route=Route(account_id, function, version),
            time=time,
            outcome=outcome,
            request_id=request,
            levels=Level(levels),
            text=text,
            document=doc,
            has_stacks=bool(stacks),
        ),
    )
