"""
Live tails: who watches which function at this moment.

A tail is made by a request, connected once with the token that the request was given, and over when
its time is, its connection ends or its function is deleted. What a slow reader does not take is
dropped, counted, and said.
"""

import random
import secrets
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.invocation import Invocation, loss
from workerd_faas.usecases.logs.filters import TailFilters
from workerd_faas.usecases.ports import WallClock

CONNECT_SECONDS: Final = 60.0
"""How long a tail waits for its connection."""

LIFE_SECONDS: Final = 3600.0
"""How long it lasts then. Whoever wants more asks again, and shows again that they may."""

MAX_PER_FUNCTION: Final = 10
MAX_PER_ACCOUNT: Final = 50
MAX_TOLD: Final = 200
"""Functions that a cell is told about: they travel in a header."""

MAX_WAITING: Final = 1000
MAX_WAITING_CHARACTERS: Final = 4 << 20
"""Invocations, and characters of them, that wait for a slow reader."""

ENDED: Final = 1000
"""RFC 6455 section 7.4.1. Wrangler ends after it, and comes back after any other code."""

GOING_AWAY: Final = 1001
RESTARTING: Final = 1012


class TailSink(Protocol):
    """
    The far end of a connected tail.
    """

    @property
    def is_full(self) -> bool:
        """
        Whether it should not be sent anything until it calls `TailConnection.resume`.
        """

    def send(self, message: str) -> None:
        """
        Send one event.
        """

    def close(self, code: int, reason: str) -> None:
        """
        End it; nothing is sent any more.
        """


@attrs.frozen(kw_only=True)
class Tail:
    """
    What whoever asked for a tail is told.
    """

    id: str
    account_id: str
    function: str
    token: str = attrs.field(repr=False)
    expires_at: datetime


@attrs.define(eq=False, kw_only=True)
class TailConnection:
    """
    One tail, from its making to its end.
    """

    tail: Tail
    filters: TailFilters
    owner: "Tails"
    sink: TailSink | None = None
    waiting: deque[Invocation] = attrs.Factory(deque)
    characters: int = 0
    missed: int = 0
    sending: bool = False
    timer: IDelayedCall | None = None

    def resume(self) -> None:
        """
        The sink takes more.
        """
        self.owner.send_waiting(self)

    def lost(self) -> None:
        """
        The sink is gone.
        """
        self.sink = None
        self.owner.end(self, ENDED, "")


@attrs.define(eq=False, kw_only=True)
class Tails:
    """
    All tails of this daemon.

    Attributes:
        reactor: Provides IReactorTime.
        shown: Gives an invocation's document as people should see it.
        changed: Told the account whose tailed functions are others than before.
    """

    reactor: Any
    clock: WallClock
    shown: Callable[[Invocation], Awaitable[str]]
    changed: Callable[[str], None] = lambda account_id: None
    chance: Callable[[], float] = random.random
    _tails: dict[str, TailConnection] = attrs.Factory(dict)
    _tokens: dict[str, TailConnection] = attrs.Factory(dict)
    _functions: dict[tuple[str, str], list[TailConnection]] = attrs.Factory(dict)

    log = Logger()

    def create(self, account_id: str, function: str, filters: TailFilters) -> Tail:
        """
        Make a tail of a function, which is known to be the account's.

        Raises:
            Problem: `TOO_MANY_REQUESTS` when there are too many already.
        """
        mine = self.tails(account_id)
        if len(mine) >= MAX_PER_ACCOUNT:
            raise _too_many(f"This account has {MAX_PER_ACCOUNT} tails")
        if len(self._functions.get((account_id, function), ())) >= MAX_PER_FUNCTION:
            raise _too_many(f"This Worker has {MAX_PER_FUNCTION} tails")
        tail = Tail(
            id=uuid.uuid4().hex,
            account_id=account_id,
            function=function,
            token=secrets.token_urlsafe(32),
            expires_at=self.clock.now() + timedelta(seconds=LIFE_SECONDS),
        )
        connection = TailConnection(tail=tail, filters=filters, owner=self)
        connection.timer = self.reactor.callLater(
            CONNECT_SECONDS, self.end, connection, GOING_AWAY, "nobody connected"
        )
        self._tails[tail.id] = self._tokens[tail.token] = connection
        self._functions.setdefault((account_id, function), []).append(connection)
        self.changed(account_id)
        return tail

    def tails(self, account_id: str, function: str | None = None) -> Sequence[tuple[Tail, bool]]:
        """
        The account's tails, or those of one function, and whether somebody is connected.
        """
        return [
            (each.tail, each.sink is not None)
            for each in self._tails.values()
            if each.tail.account_id == account_id and function in (None, each.tail.function)
        ]

    def delete(self, account_id: str, function: str, tail_id: str) -> None:
        """
        End a tail. It may have ended already.
        """
        found = self._tails.get(tail_id)
        if found and (found.tail.account_id, found.tail.function) == (account_id, function):
            self.end(found, ENDED, "deleted")

    def connect(self, tail_id: str, token: str, sink: TailSink) -> TailConnection | None:
        """
        The far end of the tail is `sink` from now on. A token is good once: None if it is not good.
        """
        found = self._tokens.get(token)
        if found is None or found.tail.id != tail_id:
            return None
        del self._tokens[token]
        found.sink = sink
        assert found.timer is not None
        found.timer.reset(LIFE_SECONDS)
        return found

    def tailed(self, account_id: str | None) -> Sequence[str]:
        """
        The functions of an account (None: of all) that are watched, up to `MAX_TOLD`. Of the
        others, what says something is shown all the same.
        """
        found = {name for owner, name in self._functions if account_id in (None, owner)}
        return sorted(found)[:MAX_TOLD]

    def publish(self, invocation: Invocation, *, always: bool = False) -> None:
        """
        Show an invocation to those who watch its function.

        Args:
            always: Whatever their filters say.
        """
        route = invocation.route
        watching = self._functions.get((route.account_id, route.function))
        if not watching:
            return
        event: Mapping[str, Any] = invocation.event
        for each in watching:
            if each.sink is not None and (
                always or each.filters.let_through(invocation, event, self.chance())
            ):
                self._enqueue(each, invocation)

    def function_removed(self, account_id: str, function: str) -> None:
        """
        The function is gone, and so are its tails.
        """
        for each in list(self._functions.get((account_id, function), ())):
            self.end(each, ENDED, "the Worker was deleted")

    async def start(self) -> None:
        """
        See `lifecycle.Stage.start`.
        """

    async def stop(self) -> None:
        """
        End all of them; whoever watches comes back when the daemon does.
        """
        for each in list(self._tails.values()):
            self.end(each, RESTARTING, "the server restarts")

    def end(self, connection: TailConnection, code: int, reason: str) -> None:
        """
        A tail is over. Idempotent.
        """
        tail = connection.tail
        if self._tails.pop(tail.id, None) is None:
            return
        self._tokens.pop(tail.token, None)
        key = (tail.account_id, tail.function)
        self._functions[key].remove(connection)
        if not self._functions[key]:
            del self._functions[key]
        if connection.timer is not None and connection.timer.active():
            connection.timer.cancel()
        sink, connection.sink = connection.sink, None
        connection.waiting.clear()
        if sink is not None:
            sink.close(code, reason)
        self.changed(tail.account_id)

    def _enqueue(self, connection: TailConnection, invocation: Invocation) -> None:
        size = len(invocation.document)
        full = len(connection.waiting) >= MAX_WAITING
        if full or connection.characters + size > MAX_WAITING_CHARACTERS:
            connection.missed += 1
            return
        connection.waiting.append(invocation)
        connection.characters += size
        self.send_waiting(connection)

    def send_waiting(self, connection: TailConnection) -> None:
        """
        Send what waits, unless that is being done already.
        """
        if not connection.sending:
            connection.sending = True
            sending = Deferred.fromCoroutine(self._send_waiting(connection))
            sending.addErrback(lambda failure: self.log.failure("a tail", failure=failure))

    async def _send_waiting(self, connection: TailConnection) -> None:
        try:
            while connection.waiting and connection.sink and not connection.sink.is_full:
                invocation = connection.waiting.popleft()
                connection.characters -= len(invocation.document)
                text = invocation.document
                if invocation.has_stacks:
                    text = await self.shown(invocation)
                if connection.sink is not None:
                    connection.sink.send(text)
                    self._tell_missed(connection, connection.sink, invocation)
        finally:
            connection.sending = False

    def _tell_missed(self, connection: TailConnection, sink: TailSink, last: Invocation) -> None:
        if connection.missed and not connection.waiting:
            missed, connection.missed = connection.missed, 0
            now = int(self.clock.now().timestamp() * 1000)
            sink.send(loss(last.route, invocations=missed, dropped_lines=0, now=now).document)


def _too_many(what: str) -> Problem:
    return Problem(
        kind=Kind.TOO_MANY_REQUESTS,
        message=f"{what} already: end one of them, or wait a minute for those that nobody uses.",
        retry_after=60,
    )
