"""Stand-ins for the parts of the daemon that a test is not about."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Account, CheckReport, Code, Principal
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.usecases import ports

ALICE: Final = Principal(
    accounts=(Account(id="a" * 32, name="Alice"),),
    subject="alice",
    credential="session-alice",
    email="alice@example.com",
)
BOB: Final = Principal(
    accounts=(Account(id="b" * 32, name="Bob"),), subject="bob", credential="session-bob"
)


@attrs.define
class KnownBearers:
    """
    An authenticator that knows these tokens.
    """

    principals: dict[str, Principal] = attrs.Factory(lambda: {"alice": ALICE, "bob": BOB})

    async def authenticate(self, authorization: str | None) -> Principal:
        """
        See `usecases.ports.Authenticator.authenticate`.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Bearer" or token not in self.principals:
            raise Problem(kind=Kind.UNAUTHENTICATED, message="Authentication error")
        return self.principals[token]


@attrs.define
class AcceptingChecker:
    """
    A checker that accepts everything and remembers what it was shown.
    """

    seen: list[tuple[str, Code]] = attrs.Factory(list)

    async def check(self, function: str, code: Code, account_id: str = "") -> CheckReport:
        """
        See `usecases.ports.Checker.check`.
        """
        self.seen.append((function, code))
        return CheckReport(handlers=("fetch",), startup_ms=1)


@attrs.define
class RefusingChecker:
    """
    A checker that refuses everything.
    """

    message: str = "Uncaught SyntaxError: Unexpected identifier\n  at index.js:1:1"

    async def check(self, function: str, code: Code, account_id: str = "") -> CheckReport:
        """
        See `usecases.ports.Checker.check`.
        """
        raise Problem(kind=Kind.INVALID_SCRIPT, message=self.message)


@attrs.define
class RecordingCells:
    """
    Cells that are never ready, and remember what they were told of versions and functions.
    """

    removed: list[tuple[str, str]] = attrs.Factory(list)
    changed: list[tuple[str, bool]] = attrs.Factory(list)

    def upstream(self, route: Route) -> Upstream | None:
        """
        See `usecases.ports.Cells.upstream`.
        """
        return None

    def when_ready(
        self, route: Route, then: Callable[[Upstream | Problem], None]
    ) -> Callable[[], None]:
        """
        See `usecases.ports.Cells.when_ready`.
        """
        then(Problem(kind=Kind.UNAVAILABLE, message="There are no cells here.", retry_after=1))
        return lambda: None

    def version_removed(self, account_id: str, version_id: str) -> None:
        """
        See `usecases.ports.Cells.version_removed`.
        """
        self.removed.append((account_id, version_id))

    async def function_changed(self, account_id: str, function: str, *, reload: bool) -> None:
        """
        See `usecases.ports.CellNotices.function_changed`.
        """
        self.changed.append((function, reload))


@attrs.define
class SteppingClock:
    """
    A time of day that goes on by a millisecond each time it is asked.
    """

    moment: datetime = datetime(2026, 11, 23, 12, 0, 0, 0, UTC)

    def now(self) -> datetime:
        """
        See `usecases.ports.WallClock.now`.
        """
        self.moment += timedelta(milliseconds=1)
        return self.moment


_checks: tuple[
    type[ports.Authenticator],
    type[ports.Checker],
    type[ports.Checker],
    type[ports.Cells],
    type[ports.CellNotices],
    type[ports.WallClock],
] = (
    KnownBearers,
    AcceptingChecker,
    RefusingChecker,
    RecordingCells,
    RecordingCells,
    SteppingClock,
)
