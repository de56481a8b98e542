"""
How many requests a function and an account may have, at once and in a second. Pure: time is passed
in. Every request pays for `enter` and `leave`, so these do as little as can be.
"""

import math
import sys
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem

_BURST: Final = 2.0
"""Seconds' worth of requests that may come at once after a pause."""

_ROUNDING: Final = 1e-6


@attrs.frozen(kw_only=True)
class TrafficLimits:
    """
    A rate of None is no bound.

    Attributes:
        function_at_once: Requests of a function in flight; a WebSocket or a stream is one until it
            ends.
        account_at_once: The same of all functions of an account.
        function_rate: Requests a second of a function, in the long run.
        account_rate: The same of all functions of an account.
    """

    function_at_once: int = 1000
    account_at_once: int = 2000
    function_rate: float | None = None
    account_rate: float | None = None


UNBOUNDED: Final = TrafficLimits(function_at_once=sys.maxsize, account_at_once=sys.maxsize)


@attrs.define(eq=False)
class Meter:
    """
    The requests of an account, or of a function.

    Attributes:
        name: Of what.
        left: How many more requests may enter at once.
        most: How many may be in flight.
        due: When the next request would come if they came at the rate: that far ahead of now the
            requests have come already.
        account: The account's meter, of a function.
    """

    name: str
    account: "Meter"
    most: int
    left: int
    due: float = 0.0

    @property
    def in_flight(self) -> int:
        """
        Requests that have entered and not left.
        """
        return self.most - self.left


def leave(meter: Meter) -> None:
    """
    A request that has entered is over.
    """
    meter.left += 1
    meter.account.left += 1


def _own_meter(account_id: str, most: int) -> Meter:
    # An account's has no other above it.
    meter = Meter(account_id, None, most, most)  # type: ignore[arg-type]
    meter.account = meter
    return meter


class Admission:
    """
    All meters.

    Attributes:
        limits: What they are held to.
        rated: Some limit is a rate, so that `enter` needs to know the time.
        known: The meter of a function that had requests lately, or None.
    """

    def __init__(self, limits: TrafficLimits) -> None:
        self.limits = limits
        self.rated = limits.function_rate is not None or limits.account_rate is not None
        self._functions: dict[str, Meter] = {}
        self._accounts: dict[str, Meter] = {}
        self.known = self._functions.get

    def enter(self, account_id: str, function: str, now: float) -> Meter:
        """
        A request comes. What is returned is to be left (`leave`) exactly once.

        Args:
            now: Seconds on a clock that does not go back; any number unless `rated`.

        Raises:
            Problem: `TOO_MANY_REQUESTS`, with the time to come back.
        """
        meter = self._functions.get(function)
        if meter is None or meter.account.name != account_id:
            meter = self._new(account_id, function)
        account = meter.account
        if meter.left <= 0 or account.left <= 0:
            raise _too_many(meter)
        if self.rated:
            self._charge(meter, now)
        meter.left -= 1
        account.left -= 1
        return meter

    def in_flight(self, account_id: str) -> int:
        """
        Requests of an account.
        """
        meter = self._accounts.get(account_id)
        return 0 if meter is None else meter.in_flight

    def tidy(self, now: float) -> None:
        """
        Forget meters that say nothing: nothing is in flight, and the next request comes as the
        first one did.
        """
        for name in [n for n, m in self._functions.items() if not m.in_flight and m.due <= now]:
            del self._functions[name]
        used = {meter.account.name for meter in self._functions.values()}
        for name in [n for n, m in self._accounts.items() if n not in used and m.due <= now]:
            del self._accounts[name]

    def _new(self, account_id: str, function: str) -> Meter:
        account = self._accounts.get(account_id)
        if account is None:
            most = self.limits.account_at_once
            account = self._accounts[account_id] = _own_meter(account_id, most)
        most = self.limits.function_at_once
        meter = self._functions[function] = Meter(function, account, most, most)
        return meter

    def _charge(self, meter: Meter, now: float) -> None:
        """
        Raises:
            Problem: see `enter`. Then neither has been charged.
        """
        account, limits = meter.account, self.limits
        wait = max(
            _ahead(meter, limits.function_rate, now), _ahead(account, limits.account_rate, now)
        )
        if wait > _ROUNDING:
            raise Problem(
                kind=Kind.TOO_MANY_REQUESTS,
                message="Requests come faster than this function, or its account, may have them.",
                retry_after=max(1, math.ceil(wait - _ROUNDING)),
            )
        if limits.function_rate is not None:
            meter.due = max(meter.due, now) + 1 / limits.function_rate
        if limits.account_rate is not None:
            account.due = max(account.due, now) + 1 / limits.account_rate


def _too_many(meter: Meter) -> Problem:
    whose = "This function has" if meter.left <= 0 else "The functions of this account have"
    return Problem(
        kind=Kind.TOO_MANY_REQUESTS,
        message=f"{whose} as many requests at once as allowed: try again in a moment.",
        retry_after=1,
    )


def _ahead(meter: Meter, rate: float | None, now: float) -> float:
    """
    Seconds until one more request may come.
    """
    if rate is None:
        return 0.0
    # One request is always allowed, however low the rate.
    return meter.due - now - max(0.0, _BURST - 1 / rate)
