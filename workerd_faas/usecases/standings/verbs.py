"""How an account's functions and processes stand: suspects, quarantines, limits."""

from collections.abc import Callable, Sequence

import attrs
from twisted.logger import Logger

from workerd_faas.domain.blame import Record
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Principal
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.standings.ports import Custody, Process
from workerd_faas.usecases.target import Target


@attrs.frozen(kw_only=True)
class Limits:
    """
    What functions are held to; None is no bound. Times are in seconds, sizes in bytes.
    """

    function_concurrency: int
    account_concurrency: int
    function_rate: float | None
    account_rate: float | None
    account_site_size: int | None
    account_site_files: int | None
    response_timeout: float
    cell_cpu: float | None
    cell_cpu_window: float
    cell_memory: int
    loaded_versions: int
    request_body: int | None
    response_header: int


@attrs.frozen(kw_only=True)
class AccountStatus:
    """
    What an account is told of itself.

    Attributes:
        in_flight: Requests to its functions.
    """

    records: Sequence[Record]
    processes: Sequence[Process]
    in_flight: int
    limits: Limits


@attrs.frozen(kw_only=True)
class Standings:
    """
    Attributes:
        in_flight: How many requests an account has at this moment.
    """

    log = Logger()

    custody: Custody
    routes: RoutingTable
    limits: Limits
    in_flight: Callable[[str], int]

    def status(self, principal: Principal, account_id: str) -> AccountStatus:
        """
        Raises:
            Problem: `FORBIDDEN`.
        """
        account_for(principal, account_id)
        owner = self.routes.owner
        return AccountStatus(
            records=[each for each in self.custody.records() if owner(each.function) == account_id],
            processes=[p for p in self.custody.processes() if p.account_id == account_id],
            in_flight=self.in_flight(account_id),
            limits=self.limits,
        )

    def standing(self, target: Target) -> Record | None:
        """
        What there is against a function; None if it is free.

        Raises:
            Problem: `FORBIDDEN`, `SCRIPT_NOT_FOUND`.
        """
        self._check(target)
        for each in self.custody.records():
            if each.function == target.function:
                return each
        return None

    def release(self, target: Target) -> bool:
        """
        Let a function be as any other; returns whether it was not.

        Raises:
            Problem: `FORBIDDEN`, `SCRIPT_NOT_FOUND`.
        """
        self._check(target)
        released = self.custody.release(target.function)
        self.log.info(
            "{function} of {account} released by {author}",
            function=target.function,
            account=target.account_id,
            author=target.principal.subject,
            released=released,
        )
        return released

    def _check(self, target: Target) -> None:
        account_for(target.principal, target.account_id)
        if self.routes.owner(target.function) != target.account_id:
            raise Problem(
                kind=Kind.SCRIPT_NOT_FOUND,
                message="This account has no function of this name.",
            )
