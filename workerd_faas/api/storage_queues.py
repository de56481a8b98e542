"""Queues over HTTP: `/accounts/:account/queues/…`."""

from collections.abc import Sequence
from typing import Any, Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer, answer_page, read_json
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal, timestamp
from workerd_faas.domain.resources import Resource, ResourceKind
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.storage.inventory import Inventory
from workerd_faas.usecases.storage.queues import Queues, QueueState
from workerd_faas.usecases.storage.use import StorageUse

QUEUES: Final = "/accounts/<account>/queues"
QUEUE: Final = QUEUES + "/<queue>"
CONSUMERS: Final = QUEUE + "/consumers"

RETENTION: Final = 4 * 24 * 60 * 60
"""Seconds that messages are kept; workerd's queues know no other."""

MAX_DELAY: Final = 24 * 60 * 60


@attrs.frozen(kw_only=True)
class QueueRoutes:
    """
    Queues and their consumers.
    """

    auth: Authenticator
    inventory: Inventory
    queues: Queues
    use: StorageUse

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """
        self._register_queues(app)
        self._register_consumers(app)
        self._register_use(app)

    async def _principal(self, request: IRequest) -> Principal:
        return await principal_of(self.auth, request)

    async def _shown(self, queue: Resource) -> dict[str, Any]:
        (shown,) = await self._all_shown([queue])
        return shown

    async def _all_shown(self, queues: Sequence[Resource]) -> list[dict[str, Any]]:
        if not queues:
            return []
        producers = await self.use.producers(queues[0].account_id)
        return [
            _queue(await self.queues.state(each), producers.get(each.id, ())) for each in queues
        ]

    def _register_queues(self, app: Klein) -> None:
        @app.route(QUEUES, methods=["GET"])
        async def queues(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            found = await self.inventory.all(principal, account, ResourceKind.QUEUE)
            names = {name.decode("utf-8", "replace") for name in request.args.get(b"name", [])}
            wanted = [each for each in found if not names or each.name in names]
            return answer_page(request, await self._all_shown(wanted))

        @app.route(QUEUES, methods=["POST"])
        async def create(request: IRequest, account: str) -> bytes:
            principal = await self._principal(request)
            document = read_json(request)
            made = await self.inventory.create(
                principal,
                account,
                ResourceKind.QUEUE,
                document.get("queue_name"),
                _settings(document.get("settings")),
            )
            return answer(request, await self._shown(made))

        @app.route(QUEUE, methods=["GET"])
        async def queue_(request: IRequest, account: str, queue: str) -> bytes:
            principal = await self._principal(request)
            found = await self.inventory.find(principal, account, ResourceKind.QUEUE, queue)
            return answer(request, await self._shown(found))

        @app.route(QUEUE, methods=["PATCH", "PUT"])
        async def change(request: IRequest, account: str, queue: str) -> bytes:
            principal = await self._principal(request)
            document = read_json(request)
            changed = await self.inventory.change(
                principal,
                account,
                ResourceKind.QUEUE,
                queue,
                name=document.get("queue_name"),
                settings=_settings(document.get("settings")),
            )
            await self.queues.changed(changed)
            return answer(request, await self._shown(changed))

        @app.route(QUEUE, methods=["DELETE"])
        async def remove(request: IRequest, account: str, queue: str) -> bytes:
            principal = await self._principal(request)
            await self.inventory.remove(principal, account, ResourceKind.QUEUE, queue)
            await self.queues.forget(account, queue, gone=True)
            return answer(request, None)

        @app.route(QUEUE + "/purge", methods=["POST"])
        async def purge(request: IRequest, account: str, queue: str) -> bytes:
            await self.queues.purge(await self._principal(request), account, queue)
            return answer(request, {"completed": True})

    def _register_consumers(self, app: Klein) -> None:
        @app.route(CONSUMERS, methods=["GET"])
        async def consumers(request: IRequest, account: str, queue: str) -> bytes:
            principal = await self._principal(request)
            found = await self.inventory.find(principal, account, ResourceKind.QUEUE, queue)
            return answer(request, _consumers(await self.queues.state(found)))

        @app.route(CONSUMERS, methods=["POST"])
        async def add(request: IRequest, account: str, queue: str) -> bytes:
            return await self._set(request, account, queue, None)

        @app.route(CONSUMERS + "/<consumer>", methods=["PUT"])
        async def put(request: IRequest, account: str, queue: str, consumer: str) -> bytes:
            return await self._set(request, account, queue, consumer)

        @app.route(CONSUMERS + "/<consumer>", methods=["DELETE"])
        async def remove(request: IRequest, account: str, queue: str, consumer: str) -> bytes:
            principal = await self._principal(request)
            await self.queues.remove_consumer(principal, account, queue, consumer)
            return answer(request, None)

    def _register_use(self, app: Klein) -> None:
        @app.route("/accounts/<account>/workers/scripts/<name>/storage", methods=["GET"])
        async def storage(request: IRequest, account: str, name: str) -> bytes:
            principal = await self._principal(request)
            used = await self.use.of_function(principal, account, name)
            return answer(
                request,
                [
                    {
                        "type": each.resource.kind.value,
                        "id": each.resource.id,
                        "name": each.resource.name,
                        "also_used_by": each.others,
                    }
                    for each in used
                ],
            )

        @app.route("/accounts/<account>/event_subscriptions/subscriptions", methods=["GET", "POST"])
        async def subscriptions(request: IRequest, account: str) -> bytes:
            await self._principal(request)
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message="Event subscriptions of queues are not supported here.",
            )

    async def _set(
        self, request: IRequest, account: str, queue: str, consumer: str | None
    ) -> bytes:
        principal = await self._principal(request)
        state = await self.queues.set_consumer(
            principal, account, queue, consumer, read_json(request)
        )
        return answer(request, _consumers(state)[0])


def _settings(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong("'settings' must be an object")
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name == "delivery_delay" and whole and 0 <= value <= MAX_DELAY:
            settings[name] = value
        elif name == "message_retention_period" and whole:
            if value != RETENTION:
                raise Problem(
                    kind=Kind.UNSUPPORTED,
                    message=f"'message_retention_period' is {RETENTION} here; another one is not "
                    "supported yet.",
                )
        elif name == "delivery_paused" and isinstance(value, bool):
            settings[name] = value
        else:
            raise _wrong(f"the setting {name[:80]!r} is not known, or not with this value")
    return settings


def _queue(state: QueueState, producers: Sequence[str]) -> dict[str, Any]:
    queue = state.queue
    consumers = _consumers(state)
    return {
        "queue_id": queue.id,
        "queue_name": queue.name,
        "created_on": timestamp(queue.created_at),
        "modified_on": timestamp(queue.modified_at),
        "producers": [{"type": "worker", "script": function} for function in producers],
        "producers_total_count": len(producers),
        "consumers": consumers,
        "consumers_total_count": len(consumers),
        "settings": {
            "delivery_delay": queue.settings.get("delivery_delay", 0),
            "delivery_paused": queue.settings.get("delivery_paused", False),
            "message_retention_period": RETENTION,
        },
    }


def _consumers(state: QueueState) -> list[dict[str, Any]]:
    consumer = state.consumer
    if consumer is None:
        return []
    shown = {
        "consumer_id": consumer.id,
        "type": "worker",
        "script": consumer.function,
        "queue_name": state.queue.name,
        "created_on": timestamp(consumer.created_at),
        "settings": dict(consumer.settings),
    }
    return [
        shown if state.dead_letter is None else {**shown, "dead_letter_queue": state.dead_letter}
    ]


def _wrong(what: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"The queue cannot be so: {what}.")
