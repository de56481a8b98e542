"""A user's own logins."""

from collections.abc import Sequence

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.identity import Session
from workerd_faas.domain.model import Principal
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.ports import IdentityStore


@attrs.frozen(kw_only=True)
class Sessions:
    """
    Lists and ends them. An operator's token belongs to no user and so sees none.
    """

    log = Logger()

    store: IdentityStore
    clock: ports.WallClock

    async def of(self, principal: Principal) -> Sequence[Session]:
        """
        The newest first.
        """
        return await self.store.sessions(principal.subject, self.clock.now())

    async def end(self, principal: Principal, session_id: str) -> None:
        """
        End one: its refresh tokens and access tokens are of no use from now on.

        Raises:
            Problem: `NOT_FOUND`.
        """
        if not await self.store.end_session(session_id, principal.subject):
            raise Problem(kind=Kind.NOT_FOUND, message="There is no session with this id.")
        self.log.info("Session {session} was ended", session=session_id)
