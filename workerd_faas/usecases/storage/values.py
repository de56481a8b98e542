"""KV namespaces from outside: values, keys, bulk changes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlencode

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.storage.inventory import Inventory, refused
from workerd_faas.usecases.storage.ports import StateAnswer, StateQuestion

MAX_KEY_BYTES: Final = 512
MAX_VALUE_BYTES: Final = 25 << 20
MAX_BULK_READS: Final = 100
MAX_BULK_BYTES: Final = 64 << 20
"""Of all values of one bulk read, since they are in memory at once."""
PAGE: Final = 1000


@attrs.frozen(kw_only=True)
class KeyPage:
    """
    A page of keys, each `{"name", "expiration"?, "metadata"?}`. `cursor` is empty on the last one.
    """

    keys: Sequence[Mapping[str, Any]]
    cursor: str


@attrs.frozen(kw_only=True)
class Space:
    """
    Whose namespace a request is about.
    """

    principal: Principal
    account_id: str
    namespace_id: str


@attrs.frozen(kw_only=True)
class Values:
    """
    The verbs. The account's own state cell does the work.
    """

    inventory: Inventory

    async def get(self, space: Space, key: str) -> StateAnswer:
        """
        A value; of the answer's headers `cf-kv-metadata` is its metadata as JSON.

        Raises:
            Problem: `NAMESPACE_NOT_FOUND`, `KEY_NOT_FOUND`, `KEY_INVALID`, `FORBIDDEN`.
        """
        answer = await self._ask(space, "GET", _path(key))
        if answer.status == 404:
            raise Problem(kind=Kind.KEY_NOT_FOUND, message="get: 'key not found'")
        return _good(answer)

    async def put(
        self,
        space: Space,
        key: str,
        value: bytes | BinaryIO,
        *,
        metadata: Any = None,
        expiration: str | None = None,
        expiration_ttl: str | None = None,
    ) -> None:
        """
        Store a value.

        Args:
            expiration: Seconds since 1970.
            expiration_ttl: Seconds from now.

        Raises:
            Problem: `NAMESPACE_NOT_FOUND`, `KEY_INVALID`, `BODY_TOO_LARGE`, `BAD_REQUEST`.
        """
        given = {"expiration": expiration, "expiration_ttl": expiration_ttl}
        query = urlencode({name: text for name, text in given.items() if text is not None})
        headers = {} if metadata is None else {"kv-metadata": json.dumps(metadata)}
        _good(await self._ask(space, "PUT", f"{_path(key)}?{query}", value, headers))

    async def delete(self, space: Space, key: str) -> None:
        """
        Remove a key; one that is not there is no error.

        Raises:
            Problem: `NAMESPACE_NOT_FOUND`, `KEY_INVALID`.
        """
        _good(await self._ask(space, "DELETE", _path(key)))

    async def page(
        self, space: Space, *, prefix: str, cursor: str | None, limit: int | None
    ) -> KeyPage:
        """
        Keys in order of their bytes.

        Raises:
            Problem: `NAMESPACE_NOT_FOUND`, `BAD_REQUEST`.
        """
        asked = {"prefix": prefix, "cursor": cursor, "key_count_limit": limit}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        document = json.loads(_good(await self._ask(space, "GET", f"/?{query}")).body)
        keys = [
            {**key, "metadata": json.loads(key["metadata"])} if "metadata" in key else key
            for key in document["keys"]
        ]
        return KeyPage(keys=keys, cursor=document.get("cursor", ""))

    async def get_many(self, space: Space, keys: Sequence[str], body: Mapping[str, Any]) -> bytes:
        """
        The JSON of an object of values by key, null where there is none. It may be long, and is not
        read here: that would keep everybody waiting.

        Args:
            body: `type` and `withMetadata`, as the request has them.

        Raises:
            Problem: `NAMESPACE_NOT_FOUND`, `KEY_INVALID`, `BAD_REQUEST`, `BODY_TOO_LARGE`.
        """
        for key in keys:
            check_key(key)
        wanted, found, size = list(dict.fromkeys(keys)), [], 0
        for start in range(0, len(wanted), MAX_BULK_READS):
            part = {
                **{k: v for k, v in body.items() if v is not None},
                "keys": wanted[start : start + MAX_BULK_READS],
            }
            question = json.dumps(part).encode()
            answer = _good(await self._ask(space, "POST", "/bulk/get", question))
            found.append(answer.body.strip()[1:-1])
            size += len(answer.body)
            if size > MAX_BULK_BYTES:
                raise Problem(
                    kind=Kind.BODY_TOO_LARGE,
                    message=f"These values are longer than {MAX_BULK_BYTES} bytes together: ask "
                    "for fewer at once.",
                )
        return b"{" + b",".join(filter(None, found)) + b"}"

    async def change_many(self, space: Space, method: str, body: BinaryIO) -> Mapping[str, Any]:
        """
        Store (`PUT`) an array of `{"key", "value", "base64"?, "expiration"?, "expiration_ttl"?,
        "metadata"?}`, or remove (`DELETE`) an array of keys; returns
        `{"done": count, "failed": [{"key", "error"}]}`.

        The state cell reads the array: it may be long.

        Raises:
            Problem: `NAMESPACE_NOT_FOUND`; `BAD_REQUEST` when the array is something else.
        """
        namespace = await self._namespace(space)

        async def ask(method: str) -> StateAnswer:
            question = StateQuestion(
                kind="manage", id=namespace.id, method=method, target="/kv/bulk", body=body
            )
            return _good(await self.inventory.cells.ask(space.account_id, question))

        if method == "PUT":
            # Read twice, since it is too long to be kept: a mistake in it leaves all as it was.
            await ask("POST")
            body.seek(0)
        answer = await ask(method)
        found: Mapping[str, Any] = json.loads(answer.body)
        return found

    async def _ask(
        self,
        space: Space,
        method: str,
        target: str,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> StateAnswer:
        namespace = await self._namespace(space)
        question = StateQuestion(
            kind="kv",
            id=namespace.id,
            method=method,
            target=target,
            body=body,
            headers=headers or {},
        )
        return await self.inventory.cells.ask(space.account_id, question)

    async def _namespace(self, space: Space) -> Resource:
        account_for(space.principal, space.account_id)
        return await self.inventory.resources.get(
            space.account_id, ResourceKind.KV, space.namespace_id
        )


def check_key(key: str) -> str:
    """
    Return `key` if a key may be called so.

    Raises:
        Problem: `KEY_INVALID`.
    """
    wrong = None
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        length, wrong = 0, "is not Unicode"
    if length > MAX_KEY_BYTES:
        wrong = f"has {length} bytes in UTF-8; {MAX_KEY_BYTES} are allowed"
    elif key in ("", ".", ".."):
        wrong = "is empty" if not key else f"is {key!r}"
    if wrong is not None:
        raise Problem(kind=Kind.KEY_INVALID, message=f"The key name {wrong}.")
    return key


def _path(key: str) -> str:
    return "/" + quote(check_key(key), safe="")


_STATUSES: Final = {413: Kind.BODY_TOO_LARGE, 414: Kind.KEY_INVALID, 400: Kind.BAD_REQUEST}


def _good(answer: StateAnswer) -> StateAnswer:
    if answer.status == 200:
        return answer
    kind = _STATUSES.get(answer.status)
    if kind is None:
        raise refused(answer)
    raise Problem(kind=kind, message=json.loads(answer.body)["error"])
