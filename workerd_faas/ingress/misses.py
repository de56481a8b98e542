"""Guessing version prefixes is made too slow to be worth it."""

import attrs

from workerd_faas.domain.errors import Kind, Problem

_SECONDS = 60.0
_CLIENTS = 10_000


@attrs.define(kw_only=True)
class Misses:
    """
    Wrong version prefixes by client, in windows of a minute.

    Past the bound every prefix is refused, right or wrong, or the refusal would tell them apart.
    Memory is bounded: past 10 000 clients in a minute, the new ones share one count.

    Attributes:
        most: Misses that one client may have in a window.
    """

    most: int
    _ends: float = 0.0
    _counts: dict[str, int] = attrs.Factory(dict)

    def check(self, client: str, now: float) -> None:
        """
        May this client ask for a prefix?

        Raises:
            Problem: `TOO_MANY_REQUESTS`.
        """
        if now < self._ends and self._counts.get(self._slot(client), 0) >= self.most:
            raise Problem(
                kind=Kind.TOO_MANY_REQUESTS,
                message="Too many unknown versions were asked for: try again later.",
                retry_after=max(1, round(self._ends - now)),
            )

    def missed(self, client: str, now: float) -> None:
        """
        It asked for one that is not there.
        """
        if now >= self._ends:
            self._counts.clear()
            self._ends = now + _SECONDS
        slot = self._slot(client)
        self._counts[slot] = self._counts.get(slot, 0) + 1

    def _slot(self, client: str) -> str:
        return client if client in self._counts or len(self._counts) < _CLIENTS else "others"
