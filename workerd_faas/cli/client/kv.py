"""KV namespaces and what is in them, as calls of the API."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.cli.client.api import Api
from workerd_faas.cli.client.http import Content
from workerd_faas.cli.client.multipart import Form, Part
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.failure import Failure

KEYS_AT_ONCE: Final = 1000


@attrs.frozen
class KVApi:
    """
    The KV namespaces of an account.
    """

    api: Api
    account_id: str

    def _at(self, *rest: str) -> tuple[str, ...]:
        return ("accounts", self.account_id, "storage", "kv", "namespaces", *rest)

    def all(self) -> list[Record]:
        """
        All, by title.
        """
        return self.api.pages(*self._at())

    def create(self, title: str) -> Record:
        """
        A new one.
        """
        made: Record = self.api.call("POST", *self._at(), document={"title": title})
        return made

    def rename(self, namespace: str, title: str) -> None:
        """
        Give it another title.
        """
        self.api.call("PUT", *self._at(namespace), document={"title": title})

    def delete(self, namespace: str) -> None:
        """
        With all that is in it.
        """
        self.api.call("DELETE", *self._at(namespace))

    def titled(self, title: str) -> str:
        """
        The id of the one with this title.

        Raises:
            Failure: there is none.
        """
        found = [str(each["id"]) for each in self.all() if each.get("title") == title]
        if not found:
            raise Failure(
                f"Your account has no KV namespace {title!r}.",
                hint="`wrkst kv namespace list` shows yours",
            )
        return found[0]

    def get(self, namespace: str, key: str) -> bytes:
        """
        A value.
        """
        return self.api.raw(*self._at(namespace, "values", key))

    def put(
        self, namespace: str, key: str, value: bytes, query: Mapping[str, str], metadata: Any
    ) -> None:
        """
        Store a value.
        """
        if metadata is None:
            body = Content("application/octet-stream", value)
            self.api.call("PUT", *self._at(namespace, "values", key), query=query, body=body)
            return
        form = Form(
            [
                Part(name="value", content=value),
                Part(name="metadata", content=json.dumps(metadata).encode()),
            ]
        )
        self.api.call("PUT", *self._at(namespace, "values", key), query=query, body=form)

    def remove(self, namespace: str, key: str) -> None:
        """
        Remove a key.
        """
        self.api.call("DELETE", *self._at(namespace, "values", key))

    def keys(self, namespace: str, prefix: str) -> Iterator[Record]:
        """
        All keys, in order.
        """
        cursor = ""
        while True:
            query = {"prefix": prefix, **({"cursor": cursor} if cursor else {})}
            found, cursor = self.api.page(*self._at(namespace, "keys"), query=query)
            yield from found
            if not cursor:
                return

    def put_many(self, namespace: str, pairs: Sequence[Record]) -> Sequence[Record]:
        """
        Store many; returns what failed.
        """
        failed: list[Record] = []
        for part in _parts(pairs):
            done = self.api.call("PUT", *self._at(namespace, "bulk"), document=part)
            failed.extend(done.get("errors") or [])
        return failed

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, Any]:
        """
        Values by key.
        """
        found: dict[str, Any] = {}
        for part in _parts(keys):
            document = {"keys": part}
            done = self.api.call("POST", *self._at(namespace, "bulk", "get"), document=document)
            found.update(done["values"])
        return found

    def remove_many(self, namespace: str, keys: Sequence[str]) -> None:
        """
        Remove many.
        """
        for part in _parts(keys):
            self.api.call("DELETE", *self._at(namespace, "bulk"), document=part)


def _parts(items: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), KEYS_AT_ONCE):
        yield list(items[start : start + KEYS_AT_ONCE])
