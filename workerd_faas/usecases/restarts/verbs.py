"""An account restarts its cells."""

import attrs
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import OwnedWork
from workerd_faas.usecases.restarts.ports import Restarted, Restarts
from workerd_faas.usecases.target import Target


@attrs.frozen(kw_only=True)
class CellVerbs:
    """
    Every use is in the log.
    """

    log = Logger()

    restarts: Restarts
    routes: RoutingTable
    work: OwnedWork

    async def restart_all(self, principal: Principal, account_id: str) -> Restarted:
        """
        Replace all cells of an account.

        Raises:
            Problem: `FORBIDDEN`, `TOO_MANY_REQUESTS`.
        """
        account_for(principal, account_id)
        done = await self.work.finish(lambda: self.restarts.of_account(account_id))
        self.log.info(
            "cells of {account} restarted by {author}: {replaced}, {failed} failed",
            account=account_id,
            author=principal.subject,
            replaced=done.replaced,
            failed=done.failed,
        )
        return done

    async def restart(self, target: Target) -> Restarted:
        """
        Replace the cells in which a function runs.

        Raises:
            Problem: `FORBIDDEN`, `SCRIPT_NOT_FOUND`, `TOO_MANY_REQUESTS`.
        """
        account_for(target.principal, target.account_id)
        if self.routes.owner(target.function) != target.account_id:
            raise Problem(
                kind=Kind.SCRIPT_NOT_FOUND, message="This account has no function of this name."
            )
        done = await self.work.finish(
            lambda: self.restarts.of_function(target.account_id, target.function)
        )
        self.log.info(
            "cell of {function} of {account} restarted by {author}: {replaced}, {failed} failed",
            function=target.function,
            account=target.account_id,
            author=target.principal.subject,
            replaced=done.replaced,
            failed=done.failed,
        )
        return done
