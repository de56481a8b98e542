"""Messages over HTTP: `/accounts/:account/queues/:queue/messages/…`."""

from typing import Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.access import principal_of
from workerd_faas.api.envelope import answer, read_json
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases.ports import Authenticator
from workerd_faas.usecases.storage.messages import Messages

MESSAGES: Final = "/accounts/<account>/queues/<queue>/messages"


@attrs.frozen(kw_only=True)
class MessageRoutes:
    """
    What programs that are no functions put into queues.
    """

    auth: Authenticator
    messages: Messages

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(MESSAGES, methods=["POST"])
        async def send(request: IRequest, account: str, queue: str) -> bytes:
            principal = await principal_of(self.auth, request)
            await self.messages.send(principal, account, queue, [read_json(request)])
            return answer(request, {})

        @app.route(MESSAGES + "/batch", methods=["POST"])
        async def send_many(request: IRequest, account: str, queue: str) -> bytes:
            principal = await principal_of(self.auth, request)
            document = read_json(request)
            given = document.get("messages")
            if not isinstance(given, list):
                raise Problem(kind=Kind.BAD_REQUEST, message="'messages' must be a list.")
            delay = document.get("delay_seconds")
            await self.messages.send(principal, account, queue, given, delay)
            return answer(request, {})

        @app.route(MESSAGES + "/pull", methods=["POST"])
        async def pull(request: IRequest, account: str, queue: str) -> bytes:
            raise await self._no_pulling(request)

        @app.route(MESSAGES + "/ack", methods=["POST"])
        async def acknowledge(request: IRequest, account: str, queue: str) -> bytes:
            raise await self._no_pulling(request)

    async def _no_pulling(self, request: IRequest) -> Problem:
        await principal_of(self.auth, request)
        return Problem(
            kind=Kind.UNSUPPORTED,
            message="Messages cannot be pulled over HTTP from this server: let a function consume "
            "the queue.",
        )
