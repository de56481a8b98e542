"""KV over HTTP: `/accounts/:account/storage/kv/namespaces/…`."""

import json
from typing import Any, Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import (
    MAX_JSON_BODY,
    answer,
    answer_made,
    answer_page,
    header,
    number,
    query,
    read_any_json,
)
from workerd_faas.api.multipart import parse_multipart
from workerd_faas.api.paths import key_of
from workerd_faas.api.placement import refuse_jurisdiction
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.storage.inventory import Inventory
from workerd_faas.usecases.storage.values import PAGE, Space, Values
from workerd_faas.wire.strict_json import RefusedJson, parse_json

NAMESPACES: Final = "/accounts/<account>/storage/kv/namespaces"
NAMESPACE: Final = NAMESPACES + "/<namespace>"


@attrs.frozen(kw_only=True)
class KVRoutes:
    """
    Namespaces, keys and values.
    """

    auth: Authenticator
    inventory: Inventory
    values: Values

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_namespaces(app)
        self._register_values(app)
        self._register_keys(app)

    async def _principal(self, request: IRequest) -> Principal:
        return await principal_of(self.auth, request)

    async def _space(self, request: IRequest, account: str, namespace: str) -> Space:
        return Space(
            principal=await self._principal(request), account_id=account, namespace_id=namespace
        )

    def _register_namespaces(self, app: Klein) -> None:
        @app.route(NAMESPACES, methods=["GET"])
        async def namespaces(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            found = list(await self.inventory.all(principal, account, ResourceKind.KV))
            if query(request, "order") == "id":
                found.sort(key=lambda each: each.id)
            if query(request, "direction") == "desc":
                found.reverse()
            return answer_page(request, found, _namespace)

        @app.route(NAMESPACES, methods=["POST"])
        async def create(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            wanted = _object(request)
            refuse_jurisdiction(wanted)
            title = wanted.get("title")
            made = await self.inventory.create(principal, account, ResourceKind.KV, title)
            return answer(request, _namespace(made))

        @app.route(NAMESPACE, methods=["GET"])
        async def namespace_(request: IRequest, account: str, namespace: str) -> bytes:
            principal = await self._principal(request)
            found = await self.inventory.find(principal, account, ResourceKind.KV, namespace)
            return answer(request, _namespace(found))

        @app.route(NAMESPACE, methods=["PUT"])
        async def rename(request: IRequest, account: str, namespace: str) -> bytes:
            principal = await self._principal(request)
            title = _object(request).get("title")
            changed = await self.inventory.change(
                principal, account, ResourceKind.KV, namespace, name=title
            )
            return answer(request, _namespace(changed))

        @app.route(NAMESPACE, methods=["DELETE"])
        async def remove(request: IRequest, account: str, namespace: str) -> bytes:
            principal = await self._principal(request)
            await self.inventory.remove(principal, account, ResourceKind.KV, namespace)
            return answer(request, None)

    def _register_values(self, app: Klein) -> None:
        # The key is not part of the route: see `api.paths`.
        @app.route(NAMESPACE + "/values", methods=["GET"])
        async def get(request: IRequest, account: str, namespace: str) -> bytes:
            space = await self._space(request, account, namespace)
            found = await self.values.get(space, key_of(request))
            request.setHeader(b"content-type", b"application/octet-stream")
            request.setHeader(b"content-length", b"%d" % len(found.body))
            request.setHeader(b"x-content-type-options", b"nosniff")
            request.setHeader(b"cache-control", b"no-store")
            return found.body

        @app.route(NAMESPACE + "/metadata", methods=["GET"])
        async def metadata(request: IRequest, account: str, namespace: str) -> bytes:
            space = await self._space(request, account, namespace)
            found = await self.values.get(space, key_of(request))
            sent = found.headers.get("cf-kv-metadata")
            return answer(request, None if sent is None else json.loads(sent))

        @app.route(NAMESPACE + "/values", methods=["PUT"])
        async def put(request: IRequest, account: str, namespace: str) -> bytes:
            space = await self._space(request, account, namespace)
            request.content.seek(0)
            value: Any = request.content
            metadata = None
            if (header(request, "content-type") or "").lower().startswith("multipart/form-data"):
                value, metadata = _form(request)
            await self.values.put(
                space,
                key_of(request),
                value,
                metadata=metadata,
                expiration=query(request, "expiration"),
                expiration_ttl=query(request, "expiration_ttl"),
            )
            return answer(request, None)

        @app.route(NAMESPACE + "/values", methods=["DELETE"])
        async def delete(request: IRequest, account: str, namespace: str) -> bytes:
            space = await self._space(request, account, namespace)
            await self.values.delete(space, key_of(request))
            return answer(request, None)

    def _register_keys(self, app: Klein) -> None:
        @app.route(NAMESPACE + "/keys", methods=["GET"])
        async def keys(request: IRequest, account: str, namespace: str) -> bytes:
            space = await self._space(request, account, namespace)
            limit = number(request, "limit", default=PAGE, most=PAGE)
            page = await self.values.page(
                space,
                prefix=query(request, "prefix") or "",
                cursor=query(request, "cursor") or None,
                limit=limit,
            )
            info = {"count": len(page.keys), "cursor": page.cursor}
            return answer(request, page.keys, info=info)

        @app.route(NAMESPACE + "/bulk", methods=["PUT"])
        async def put_many(request: IRequest, account: str, namespace: str) -> bytes:
            return await self._change_many(request, account, namespace, "PUT")

        @app.route(NAMESPACE + "/bulk", methods=["DELETE"])
        async def delete_many(request: IRequest, account: str, namespace: str) -> bytes:
            return await self._change_many(request, account, namespace, "DELETE")

        @app.route(NAMESPACE + "/bulk/delete", methods=["POST"])
        async def post_delete_many(request: IRequest, account: str, namespace: str) -> bytes:
            return await self._change_many(request, account, namespace, "DELETE")

        @app.route(NAMESPACE + "/bulk/get", methods=["POST"])
        async def get_many(request: IRequest, account: str, namespace: str) -> bytes:
            space = await self._space(request, account, namespace)
            document = _object(request)
            names = document.get("keys")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise _wrong('{"keys": [string, …]}')
            asked = {name: document.get(name) for name in ("type", "withMetadata")}
            if asked["type"] not in (None, "text", "json"):
                raise _wrong('{"keys": […], "type": "text" or "json"}')
            found = await self.values.get_many(space, names, asked)
            return answer_made(request, b'{"values":' + found + b"}")

    async def _change_many(
        self, request: IRequest, account: str, namespace: str, method: str
    ) -> bytes:
        space = await self._space(request, account, namespace)
        request.content.seek(0)
        done = await self.values.change_many(space, method, request.content)
        return answer(
            request,
            {
                "successful_key_count": done["done"],
                "unsuccessful_keys": [each["key"] for each in done["failed"]],
                "errors": done["failed"],
            },
        )


def _namespace(value: Resource) -> dict[str, Any]:
    return {"id": value.id, "title": value.name, "supports_url_encoding": True}


def _form(request: IRequest) -> tuple[bytes, Any]:
    """
    Value and metadata of a form, neither with a file name.
    """
    found = {
        part.name: part.content
        for part in parse_multipart(
            header(request, "content-type"), request.content.read(), max_parts=2
        )
    }
    if "value" not in found or found.keys() - {"value", "metadata"}:
        raise _wrong("a form with the parts 'value' and 'metadata'")
    metadata = None
    if "metadata" in found:
        try:
            metadata = parse_json(found["metadata"], max_bytes=MAX_JSON_BODY)
        except RefusedJson as refused:
            raise _wrong(f"a form whose part 'metadata' is JSON: {refused}") from None
    return found["value"], metadata


def _object(request: IRequest) -> dict[str, Any]:
    document = read_any_json(request)
    if not isinstance(document, dict):
        raise _wrong("a JSON object")
    return document


def _wrong(right: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The body must be {right}.")
