"""A bounded memory of answers to questions that are asked again and again."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """
    Two generations of at most `entries` each: what is asked for stays, the rest goes.

    Nothing is kept that was seen only once, so questions that never come again cost little; what
    was seen is known by its hash alone. Values must not be None.

    Attributes:
        recent: `get` without looking at the older generation: it misses some, and costs less.
    """

    __slots__ = ("_entries", "_old", "_seen", "_young", "recent")

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._seen: set[int] = set()
        self.recent = self._young.get

    def get(self, key: K) -> V | None:
        """
        The value of `key`, if it is known.
        """
        value = self._young.get(key)
        if value is None and key in self._old:
            value = self._old.pop(key)
            self._put(key, value)
        return value

    def offer(self, key: K, value: V) -> None:
        """
        Remember the value if the key was seen before.
        """
        seen, mark = self._seen, hash(key)
        if mark in seen:
            seen.discard(mark)
            self._put(key, value)
        else:
            if len(seen) >= self._entries * 8:
                seen.clear()
            seen.add(mark)

    def _put(self, key: K, value: V) -> None:
        if len(self._young) >= self._entries:
            self._old = self._young.copy()
            self._young.clear()
        self._young[key] = value
