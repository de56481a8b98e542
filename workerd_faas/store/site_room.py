"""How much room an account's static files take, counted as they come so that nobody has to look."""

import threading
from collections.abc import Callable

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import MIB, AssetQuota


@attrs.frozen
class Usage:
    """
    What there is: bytes of everything, and the number of static files.
    """

    size: int = 0
    files: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.size + other.size, self.files + other.files)


@attrs.define(eq=False)
class SiteRoom:
    """
    Attributes:
        look: Counts what an account has, on the disk: once, and again after `forget`.
    """

    quota: AssetQuota
    look: Callable[[str], Usage]
    _used: dict[str, Usage] = attrs.Factory(dict)
    _lock: threading.Lock = attrs.Factory(threading.Lock)

    def check(self, account_id: str, more: Usage) -> None:
        """
        Raises:
            Problem: `ASSETS_TOO_LARGE`, if so much more does not fit.
        """
        with self._lock:
            check_room(self._found(account_id) + more, self.quota)

    def take(self, account_id: str, more: Usage) -> None:
        """
        Count so much more, before it is there: of two uploads at once only what fits is taken.

        Raises:
            Problem: `ASSETS_TOO_LARGE`, if it does not fit; nothing is counted then.
        """
        with self._lock:
            there = self._found(account_id) + more
            check_room(there, self.quota)
            self._used[account_id] = there

    def forget(self, account_id: str) -> None:
        """
        What was counted is no longer so: files went, or did not come.
        """
        with self._lock:
            self._used.pop(account_id, None)

    def _found(self, account_id: str) -> Usage:
        found = self._used.get(account_id)
        if found is None:
            found = self._used[account_id] = self.look(account_id)
        return found


def check_room(there: Usage, quota: AssetQuota) -> None:
    """
    Raises:
        Problem: `ASSETS_TOO_LARGE`, if an account may not have so much.
    """
    if quota.size is not None and there.size > quota.size:
        size, most = -(-there.size // MIB), quota.size // MIB
        raise _too_large(f"take {size} MiB; {most} MiB are allowed (ACCOUNT_SITE_SIZE)")
    if quota.files is not None and there.files > quota.files:
        raise _too_large(f"be {there.files} files; {quota.files} are allowed (ACCOUNT_SITE_FILES)")


def _too_large(what: str) -> Problem:
    return Problem(
        kind=Kind.ASSETS_TOO_LARGE,
        message=f"With these, the static files of all versions of your account would {what}. "
        "Deploy fewer, ask whoever operates this server for more, or delete functions that are no "
        "longer needed: what they alone had is removed some hours later.",
    )
