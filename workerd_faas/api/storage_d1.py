"""D1 over HTTP: `/accounts/:account/d1/database/…`, and files of SQL in and out."""

import hashlib
import shutil
from typing import Any, Final

import attrs
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest
from twisted.web.static import NoRangeStaticProducer

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import (
    answer,
    answer_made,
    answer_page,
    query,
    read_json,
    whole_body,
    write_json,
)
from workerd_faas.api.placement import refuse_jurisdiction
from workerd_faas.api.request import Knows, path_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal, PublicUrls, timestamp
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.ports import Authenticator, InThread
from workerd_faas.usecases.storage.databases import (
    Databases,
    Shape,
    Transfer,
    read_statements,
)
from workerd_faas.usecases.storage.inventory import Inventory

DATABASES: Final = "/accounts/<account>/d1/database"
DATABASE: Final = DATABASES + "/<database>"
TRANSFERS: Final = "/d1-transfers"

NO_ANALYTICS: Final = (
    "D1 insights are not supported on this server, which keeps no record of single queries: take "
    "the duration and rows in the 'meta' of their results, or EXPLAIN QUERY PLAN"
)
_NO_ACCOUNTS: Final = {"viewer": {"accounts": list[object]()}}


def transfer_holders(databases: Databases) -> Knows:
    """
    Those who have the URL of a transfer are known.
    """

    async def knows(request: IRequest) -> bool:
        folder, _, token = path_of(request).decode("latin-1").rpartition("/")
        return folder == TRANSFERS and databases.has_transfer(token)

    return knows


@attrs.frozen(kw_only=True)
class D1Routes:
    """
    Databases and what is in them.

    Attributes:
        in_thread: Runs work off the reactor thread: files may be large.
    """

    auth: Authenticator
    inventory: Inventory
    databases: Databases
    urls: PublicUrls
    in_thread: InThread

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_databases(app)
        self._register_queries(app)
        self._register_files(app)
        self._register_transfers(app)

    async def _principal(self, request: IRequest) -> Principal:
        return await principal_of(self.auth, request)

    async def _database(self, request: IRequest, account: str, database: str) -> Resource:
        return await self.databases.find(await self._principal(request), account, database)

    def _register_databases(self, app: Klein) -> None:
        @app.route(DATABASES, methods=["GET"])
        async def databases(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            found = await self.inventory.all(principal, account, ResourceKind.D1)
            name = query(request, "name")
            if name:
                found = [each for each in found if name in each.name]
            return answer_page(request, found, _database)

        @app.route(DATABASES, methods=["POST"])
        async def create(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            wanted = read_json(request)
            refuse_jurisdiction(wanted)
            name = wanted.get("name")
            made = await self.inventory.create(principal, account, ResourceKind.D1, name)
            return answer(request, _database(made))

        @app.route(DATABASE, methods=["GET"])
        async def database_(request: IRequest, account: str, database: str) -> bytes:
            found = await self._database(request, account, database)
            wanted = query(request, "fields")
            if wanted is not None and set(wanted.split(",")) <= {"uuid", "name"}:
                return answer(request, _database(found))
            return answer(request, {**_database(found), **await self.databases.info(found)})

        @app.route(DATABASE, methods=["DELETE"])
        async def remove(request: IRequest, account: str, database: str) -> bytes:
            principal = await self._principal(request)
            await self.inventory.remove(principal, account, ResourceKind.D1, database)
            return answer(request, None)

        @app.route(DATABASE + "/time_travel/bookmark", methods=["GET"])
        async def bookmark(request: IRequest, account: str, database: str) -> bytes:
            await self._database(request, account, database)
            raise _no_time_travel()

        @app.route(DATABASE + "/time_travel/restore", methods=["POST"])
        async def restore(request: IRequest, account: str, database: str) -> bytes:
            await self._database(request, account, database)
            raise _no_time_travel()

        @app.route("/graphql", methods=["POST"])
        async def analytics(request: IRequest) -> bytes:
            # Nothing of what it asks for is kept here. `d1 info` takes nothing for an answer, so
            # that the rest of it is shown; others are told, in GraphQL's own form of errors.
            await self._principal(request)
            told = read_json(request).get("operationName") != "getD1MetricsOverviewQuery"
            errors = [{"message": NO_ANALYTICS}] if told else None
            return write_json(request, 200, {"data": _NO_ACCOUNTS, "errors": errors})

    def _register_queries(self, app: Klein) -> None:
        @app.route(DATABASE + "/query", methods=["POST"])
        async def run(request: IRequest, account: str, database: str) -> bytes:
            return await self._run(request, account, database, "objects")

        @app.route(DATABASE + "/raw", methods=["POST"])
        async def raw(request: IRequest, account: str, database: str) -> bytes:
            return await self._run(request, account, database, "raw")

    async def _run(self, request: IRequest, account: str, database: str, shape: Shape) -> bytes:
        found = await self._database(request, account, database)
        statements = await self.in_thread(lambda: read_statements(whole_body(request)))
        return answer_made(request, await self.databases.query(found, statements, shape))

    def _register_files(self, app: Klein) -> None:
        @app.route(DATABASE + "/import", methods=["POST"])
        async def import_(request: IRequest, account: str, database: str) -> bytes:
            found = await self._database(request, account, database)
            document = read_json(request)
            action = document.get("action")
            if action == "init":
                etag = document.get("etag")
                if not isinstance(etag, str) or len(etag) > 64:
                    raise _wrong("'etag' is the MD5 of the file in hex")
                transfer = self.databases.begin_import(found, etag.strip('"').lower())
                return answer(
                    request,
                    {
                        "success": True,
                        "filename": transfer.token,
                        "upload_url": self._url(transfer),
                    },
                )
            if action in ("ingest", "poll"):
                token = document.get("filename", document.get("current_bookmark"))
                if not isinstance(token, str):
                    raise _wrong("'filename' is what the first answer said")
                return answer(request, await self._ingest(found, token))
            raise _wrong("'action' is init, ingest or poll")

        @app.route(DATABASE + "/export", methods=["POST"])
        async def export(request: IRequest, account: str, database: str) -> bytes:
            found = await self._database(request, account, database)
            transfer = await self.databases.export(found, _dump_options(read_json(request)))
            return answer(
                request,
                {
                    **_poll(transfer.token),
                    "type": "export",
                    "status": "complete",
                    "result": {
                        "filename": f"{found.name}.sql",
                        "signed_url": self._url(transfer),
                    },
                },
            )

    async def _ingest(self, database: Resource, token: str) -> dict[str, Any]:
        try:
            outcome = await self.databases.ingest(database, token)
        except Problem as problem:
            if problem.kind is not Kind.SQL_FAILED:
                raise
            return {**_poll(token), "success": False, "status": "error", "error": problem.message}
        return {
            **_poll(token),
            "status": "complete",
            "result": {**outcome, "final_bookmark": token},
        }

    def _register_transfers(self, app: Klein) -> None:
        # Whoever knows the token is let in: Wrangler sends no credentials here.
        @app.route(TRANSFERS + "/<token>", methods=["PUT"])
        async def upload(request: IRequest, token: str) -> bytes:
            transfer = self.databases.transfer(token)
            if not transfer.etag or transfer.uploaded:
                raise _wrong("this file is not waited for")
            request.content.seek(0)
            etag = await self.in_thread(lambda: _copy(request.content, transfer))
            if etag != transfer.etag:
                raise _wrong("the file's MD5 is another one than was said")
            transfer.uploaded = True
            request.setHeader(b"etag", f'"{etag}"'.encode())
            return b""

        @app.route(TRANSFERS + "/<token>", methods=["GET"])
        async def download(request: Any, token: str) -> None:
            transfer = self.databases.transfer(token)
            if transfer.etag or not transfer.uploaded:
                raise _wrong("there is nothing to fetch")
            request.setHeader(b"content-type", b"application/sql")
            request.setHeader(b"content-length", b"%d" % transfer.path.stat().st_size)
            request.setHeader(b"cache-control", b"no-store")
            request.setHeader(b"x-content-type-options", b"nosniff")
            finished: Deferred[None] = request.notifyFinish()
            # Klein would finish the request itself: it waits until the producer has.
            NoRangeStaticProducer(request, transfer.path.open("rb")).start()
            finished.addErrback(lambda _: None)
            await finished

    def _url(self, transfer: Transfer) -> str:
        return f"{self.urls.api}{TRANSFERS}/{transfer.token}"


def _copy(content: Any, transfer: Transfer) -> str:
    with transfer.path.open("wb") as file:
        shutil.copyfileobj(content, file)
    with transfer.path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _poll(token: str) -> dict[str, Any]:
    return {"success": True, "type": "import", "at_bookmark": token, "messages": [], "errors": []}


def _dump_options(document: dict[str, Any]) -> dict[str, Any]:
    options = document.get("dump_options") or {}
    tables = options.get("tables") or [] if isinstance(options, dict) else None
    if not isinstance(tables, list) or not all(isinstance(name, str) for name in tables):
        raise _wrong("'dump_options' has 'no_schema', 'no_data' and 'tables'")
    return {
        "no_schema": bool(options.get("no_schema")),
        "no_data": bool(options.get("no_data")),
        "tables": tables,
    }


def _database(value: Resource) -> dict[str, Any]:
    return {
        "uuid": value.id,
        "name": value.name,
        "version": "production",
        "created_at": timestamp(value.created_at),
        "created_in_region": "SELF",
        "running_in_region": "SELF",
        "read_replication": {"mode": "disabled"},
        "jurisdiction": None,
    }


def _no_time_travel() -> Problem:
    return Problem(
        kind=Kind.UNSUPPORTED,
        message="Time Travel is not supported on this server, which keeps no history of databases: "
        "run `wrangler d1 export <name> --remote --output <file>` before a change that may have to "
        "be undone, and `wrangler d1 execute <name> --remote --file <file>` into a new database to "
        "go back; the operator's backups have all of it.",
    )


def _wrong(right: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"That cannot be done: {right}.")
