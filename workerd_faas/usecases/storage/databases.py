"""D1 databases from outside: SQL, files of SQL in and out."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.serial import SerialByName
from workerd_faas.usecases.storage.inventory import Inventory, refused
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion
from workerd_faas.wire.strict_json import RefusedJson, parse_json

TRANSFER_SECONDS: Final = 3600.0
"""How long a file of SQL is kept for the client that uploads or downloads it."""

MAX_TRANSFERS: Final = 100
MAX_SQL_BYTES: Final = 10 << 20
MAX_PARAMS: Final = 100
MAX_SQL_VALUES: Final = 200_000
"""Of one question: 100 000 parameters, or 50 000 statements without any."""

Shape = Literal["objects", "raw"]


@attrs.define(eq=False)
class Transfer:
    """
    A file of SQL on its way in or out; who knows its token may send or fetch it.

    Attributes:
        etag: MD5 of an upload in hex, as the client said and the server found.
        outcome: What became of it, once it has been done.
    """

    token: str
    account_id: str
    database_id: str
    path: Path
    etag: str = ""
    uploaded: bool = False
    outcome: Mapping[str, Any] | None = None
    expiry: IDelayedCall | None = None


@attrs.define(kw_only=True, eq=False)
class Databases:
    """
    The verbs. The account's own state cell does the work.

    Attributes:
        directory: Where files of SQL are kept meanwhile; emptied at the start.
    """

    inventory: Inventory
    directory: Path
    reactor: IReactorTime
    _transfers: dict[str, Transfer] = attrs.Factory(dict)
    _ingesting: SerialByName = attrs.Factory(SerialByName)

    async def find(self, principal: Principal, account_id: str, id_or_name: str) -> Resource:
        """
        Raises:
            Problem: `DATABASE_NOT_FOUND`, `FORBIDDEN`.
        """
        return await self.inventory.find(principal, account_id, ResourceKind.D1, id_or_name)

    async def info(self, database: Resource) -> Mapping[str, Any]:
        """
        `num_tables` and `file_size`.

        Raises:
            Problem: `UNAVAILABLE`.
        """
        found: Mapping[str, Any] = await self._ask(database, "GET", "/d1")
        return found

    async def query(self, database: Resource, statements: bytes, shape: Shape) -> bytes:
        """
        Run statements, as `read_statements` gives them, in one transaction; returns the JSON of
        their results. It may be long, and is not read here: that would keep everybody waiting.

        Args:
            shape: Of a result, which is `{"results", "success", "meta"}`: rows are objects, or
                there is `{"columns", "rows"}`.

        Raises:
            Problem: `SQL_FAILED` with SQLite's message: then nothing was changed.
        """

        async def work() -> bytes:
            answer = await self._answer(database, "POST", f"/d1/query?shape={shape}", statements)
            return answer.body

        return await self.inventory.owned(work)

    # Files in.

    def begin_import(self, database: Resource, etag: str) -> Transfer:
        """
        A place for a file with this MD5.

        Raises:
            Problem: `TOO_MANY_REQUESTS`.
        """
        return self._new_transfer(database, etag)

    def has_transfer(self, token: str) -> bool:
        """
        Whether a URL names a transfer.
        """
        return token in self._transfers

    def transfer(self, token: str) -> Transfer:
        """
        The transfer that a URL names.

        Raises:
            Problem: `NOT_FOUND`.
        """
        found = self._transfers.get(token)
        if found is None:
            raise Problem(kind=Kind.NOT_FOUND, message="This file is not known, or not any more.")
        return found

    async def ingest(self, database: Resource, token: str) -> Mapping[str, Any]:
        """
        Run an uploaded file in one transaction; `{"num_queries", "meta"}`. It is run once, however
        often it is asked for: clients lose the answer and ask again.

        Raises:
            Problem: `SQL_FAILED`: then nothing was changed; `NOT_FOUND`.
        """
        transfer = self._own_transfer(database, token)
        if not transfer.uploaded:
            raise Problem(kind=Kind.BAD_REQUEST, message="The file has not been uploaded.")

        async def work() -> Mapping[str, Any]:
            if transfer.outcome is None:
                with transfer.path.open("rb") as file:
                    transfer.outcome = await self._ask(database, "POST", "/d1/import", file)
            return transfer.outcome or {}

        return await self.inventory.owned(lambda: self._ingesting.run(token, work))

    # Files out.

    async def export(self, database: Resource, options: Mapping[str, Any]) -> Transfer:
        """
        Write the database as SQL into a file.

        Args:
            options: `no_schema`, `no_data`, `tables`.

        Raises:
            Problem: `SQL_FAILED` when it cannot be exported (virtual tables).
        """
        transfer = self._new_transfer(database, "")
        question = StateQuestion(
            kind="manage",
            id=database.id,
            method="POST",
            target="/d1/export",
            body=json.dumps(options).encode(),
        )
        try:
            with transfer.path.open("w+b") as file:
                answer = await self.inventory.cells.ask(database.account_id, question, file)
                whole = _ended(file)
        except BaseException:
            self._end(transfer.token)
            raise
        if answer.status != 200 or not whole:
            self._end(transfer.token)
            raise _failed(answer) if answer.status != 200 else _broken_off()
        transfer.uploaded = True
        return transfer

    async def start(self) -> None:
        """
        Clear away what an earlier run left.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in self.directory.iterdir():
            file.unlink()

    async def stop(self) -> None:
        """
        Forget all transfers.
        """
        for token in tuple(self._transfers):
            self._end(token)

    def _new_transfer(self, database: Resource, etag: str) -> Transfer:
        if len(self._transfers) >= MAX_TRANSFERS:
            raise Problem(
                kind=Kind.TOO_MANY_REQUESTS,
                message="Too many files are being transferred: try again later.",
                retry_after=60,
            )
        token = secrets.token_hex(16)
        made = Transfer(
            token, database.account_id, database.id, self.directory / f"{token}.sql", etag
        )
        made.expiry = self.reactor.callLater(TRANSFER_SECONDS, self._end, token)
        self._transfers[token] = made
        return made

    def _own_transfer(self, database: Resource, token: str) -> Transfer:
        transfer = self.transfer(token)
        if transfer.database_id != database.id:
            raise Problem(kind=Kind.NOT_FOUND, message="This file is another database's.")
        return transfer

    def _end(self, token: str) -> None:
        transfer = self._transfers.pop(token, None)
        if transfer is None:
            return
        if transfer.expiry is not None and transfer.expiry.active():
            transfer.expiry.cancel()
        with suppress(OSError):
            transfer.path.unlink()

    async def _ask(self, database: Resource, method: str, target: str, body: Any = None) -> Any:
        return json.loads((await self._answer(database, method, target, body)).body)

    async def _answer(self, database: Resource, method: str, target: str, body: Any) -> StateAnswer:
        question = StateQuestion(
            kind="manage", id=database.id, method=method, target=target, body=body
        )
        answer = await self.inventory.cells.ask(database.account_id, question)
        if answer.status != 200:
            raise _failed(answer)
        return answer


def read_statements(body: bytes) -> bytes:
    """
    The statements of `{"sql", "params"?}`, of an array of these, or of `{"batch": [...]}`, each of
    one or more statements: the JSON of `[{"sql", "params"}]`. It takes its time with a long body.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    try:
        document = parse_json(body, max_bytes=MAX_SQL_BYTES, max_values=MAX_SQL_VALUES)
    except RefusedJson as refused:
        raise Problem(kind=Kind.BAD_REQUEST, message=f"The body must be JSON: {refused}.") from None
    return json.dumps(_statements(document)).encode()


def _statements(document: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(document, dict) and "batch" in document:
        document = document["batch"]
    given = document if isinstance(document, list) else [document]
    checked = []
    for each in given:
        sql = each.get("sql") if isinstance(each, dict) else None
        params = each.get("params") or [] if isinstance(each, dict) else []
        if (
            not isinstance(sql, str)
            or not isinstance(params, list)
            or len(params) > MAX_PARAMS
            or any(isinstance(value, dict | list) for value in params)
        ):
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message='The body must be {"sql": string, "params": [string, number or null]}.',
            )
        params = [int(value) if isinstance(value, bool) else value for value in params]
        checked.append({"sql": sql, "params": params})
    return checked


def _ended(file: BinaryIO) -> bool:
    """
    Whether what the state cell wrote has its end (`END` in objects.js), which is taken away.
    """
    last = file.seek(0, os.SEEK_END) - 1
    if last < 0:
        return False
    file.seek(last)
    if file.read(1) != b"\0":
        return False
    file.truncate(last)
    return True


def _broken_off() -> Problem:
    return Problem(
        kind=Kind.UNAVAILABLE,
        message="The export broke off: the database is too large to be exported in half a minute, "
        "or its process ended.",
        retry_after=1,
    )


def _failed(answer: StateAnswer) -> Problem:
    try:
        message = json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        return Problem(
            kind=Kind.UNAVAILABLE,
            message=f"The account's storage did not do this (it answered {answer.status}).",
            retry_after=1,
        )
    if "SQLITE_FULL" in str(message):
        return refused(answer)
    return Problem(kind=Kind.SQL_FAILED, message=str(message))
