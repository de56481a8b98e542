"""A bounded memory of answers to questions that are asked again and again."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """
    Two generations of at most `entries` each: what is asked for stays, the rest goes.

    Values must not be None.
    """

    __slots__ = ("_entries", "_old", "_young")

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """
        The value put for `key`, if it is still known.
        """
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """
        Remember it.
        """
        if len(self._young) >= self._entries:
            self._old, self._young = self._young, {}
        self._young[key] = value
