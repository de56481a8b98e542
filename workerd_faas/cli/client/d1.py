"""D1 databases as calls of the API."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.cli.client.api import Api, ApiError
from workerd_faas.cli.client.http import Content
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.failure import Failure

_NOT_FOUND: Final = 404


@attrs.frozen
class D1Api:
    """
    The databases of an account.
    """

    api: Api
    account_id: str

    def _at(self, *rest: str) -> tuple[str, ...]:
        return ("accounts", self.account_id, "d1", "database", *rest)

    def all(self) -> list[Record]:
        """
        All, by name.
        """
        return self.api.pages(*self._at())

    def create(self, name: str) -> Record:
        """
        A new one.
        """
        made: Record = self.api.call("POST", *self._at(), document={"name": name})
        return made

    def info(self, database: str) -> Record:
        """
        By id or name.
        """
        found: Record = self.api.get(*self._at(database))
        return found

    def id_of(self, name: str) -> str | None:
        """
        The id of the one of this name.
        """
        try:
            found = self.api.get(*self._at(name), query={"fields": "uuid,name"})
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return str(found["uuid"])

    def delete(self, database: str) -> None:
        """
        With all that is in it.
        """
        self.api.call("DELETE", *self._at(database))

    def query(self, database: str, sql: str, params: Sequence[Any] = ()) -> list[Record]:
        """
        Run statements in one transaction.
        """
        document = {"sql": sql, **({"params": list(params)} if params else {})}
        found: list[Record] = self.api.call("POST", *self._at(database, "query"), document=document)
        return found

    def ingest(self, database: str, sql: bytes) -> Record:
        """
        Run a file in one transaction; returns `{"num_queries", "meta"}`.

        Raises:
            Failure: a statement failed, and nothing was changed.
        """
        at = self._at(database, "import")
        etag = hashlib.md5(sql, usedforsecurity=False).hexdigest()
        place = self.api.call("POST", *at, document={"action": "init", "etag": etag})
        answer = self.api.http.send(
            "PUT", place["upload_url"], body=Content("application/sql", sql), answer_seconds=120.0
        )
        if answer.status != 200:
            raise Failure(f"The file did not get through (status {answer.status}).")
        document = {"action": "ingest", "filename": place["filename"], "etag": etag}
        done = self.api.call("POST", *at, document=document)
        if done.get("status") != "complete":
            raise Failure(str(done.get("error") or "The file was not run."))
        found: Record = done["result"]
        return found

    def export(self, database: str, options: Mapping[str, Any]) -> bytes:
        """
        The database as SQL.
        """
        document = {"output_format": "polling", "dump_options": options}
        done = self.api.call("POST", *self._at(database, "export"), document=document)
        answer = self.api.http.send("GET", done["result"]["signed_url"], answer_seconds=120.0)
        if answer.status != 200:
            raise Failure(f"The export did not get through (status {answer.status}).")
        return answer.body
