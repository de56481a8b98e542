"""
Which version a request is for. In memory, updated when a deploy commits, read by every request.
"""

import bisect
import hashlib
from collections.abc import Callable, Iterable, Mapping

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import LARGE_CODE
from workerd_faas.domain.model import OPEN, Reach, Split
from workerd_faas.domain.names import is_version_prefix


@attrs.frozen
class Route:
    """
    One version of one function, whose requests run in cells of `account_id`.
    """

    account_id: str
    function: str
    version_id: str


@attrs.frozen(kw_only=True)
class FunctionRoutes:
    """
    Everything stored about a function that routing needs: what the store gives at start.

    Attributes:
        large: Whether a version has `limits.LARGE_CODE`.
    """

    function: str
    account_id: str
    splits: tuple[Split, ...]
    aliases: Mapping[str, str]
    versions: Iterable[str]
    reach: Reach = OPEN
    large: bool = False


@attrs.define(eq=False)
class _Entry:
    account_id: str
    live: tuple[tuple[float, Route], ...] = ()
    versions: list[str] = attrs.Factory(list)
    aliases: dict[str, Route] = attrs.Factory(dict)
    reach: Reach = OPEN


def sticky_position(function: str, key: bytes) -> float:
    """
    Where in [0, 100) a `Cloudflare-Workers-Version-Key` falls: the same key always the same.
    """
    digest = hashlib.sha256(function.encode() + b"\0" + key).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48) * 100


@attrs.define(eq=False)
class RoutingTable:
    """
    The functions of this installation by name.

    Attributes:
        changes: Goes up with every change: as long as it stays, so do all answers, but for
            `resolve` where a deployment has shares.
        large: The functions that have a version with `limits.LARGE_CODE`.
    """

    _functions: dict[str, _Entry] = attrs.Factory(dict)
    changes: int = attrs.field(default=0, init=False)
    large: set[str] = attrs.field(factory=set, init=False)
    _followers: list[Callable[[str], None]] = attrs.Factory(list)

    def follow(self, follower: Callable[[str], None]) -> None:
        """
        Tell `follower` the name of each function that is deployed or removed from now on.
        """
        self._followers.append(follower)

    def load(self, functions: Iterable[FunctionRoutes]) -> None:
        """
        Replace everything by what the store says.
        """
        self.changes += 1
        self._functions = {}
        self.large.clear()
        for each in functions:
            if each.large:
                self.large.add(each.function)
            entry = self._functions[each.function] = _Entry(each.account_id, reach=each.reach)
            entry.versions = sorted(each.versions)
            for alias, version_id in each.aliases.items():
                entry.aliases[alias] = Route(each.account_id, each.function, version_id)
            self.deployed(each.function, each.splits)

    def version_added(
        self, account_id: str, function: str, version_id: str, *, size: int = 0
    ) -> None:
        """
        A version was stored; the function comes to be with its first one.

        Args:
            size: Bytes of its code.
        """
        self.changes += 1
        if size >= LARGE_CODE:
            self.large.add(function)
        entry = self._functions.setdefault(function, _Entry(account_id))
        position = bisect.bisect_left(entry.versions, version_id)
        if entry.versions[position : position + 1] != [version_id]:
            entry.versions.insert(position, version_id)

    def deployed(self, function: str, splits: tuple[Split, ...]) -> None:
        """
        From now on `splits` serve the function.
        """
        self.changes += 1
        entry = self._functions[function]
        total, live = 0.0, []
        for split in splits:
            if split.percentage > 0:
                total += split.percentage
                live.append((total, Route(entry.account_id, function, split.version_id)))
        entry.live = tuple(live)
        self._tell(function)

    def check_alias(self, function: str, alias: str, version_id: str) -> None:
        """
        Raises:
            Problem: `INVALID_NAME` if `alias` is the address of another version than this one,
                which would be hidden by it.
        """
        entry = self._functions.get(function)
        if entry is None or not is_version_prefix(alias):
            return
        first = bisect.bisect_left(entry.versions, alias)
        for other in entry.versions[first : first + 2]:
            if other.startswith(alias) and other != version_id:
                raise Problem(
                    kind=Kind.INVALID_NAME,
                    message=f"The alias {alias!r} is the address of the version {other}: choose "
                    "another one.",
                )

    def reach_set(self, function: str, reach: Reach) -> None:
        """
        From now on only these requests from outside reach the function.
        """
        self.changes += 1
        self._functions[function].reach = reach

    def alias_set(self, function: str, alias: str, version_id: str) -> None:
        """
        From now on `alias` names this version.
        """
        self.changes += 1
        entry = self._functions[function]
        entry.aliases[alias] = Route(entry.account_id, function, version_id)

    def alias_removed(self, function: str, alias: str) -> None:
        """
        The alias is gone.
        """
        self.changes += 1
        self._functions[function].aliases.pop(alias, None)

    def removed(self, function: str) -> None:
        """
        The function is gone with all its versions.
        """
        self.changes += 1
        self._functions.pop(function, None)
        self.large.discard(function)
        self._tell(function)

    def _tell(self, function: str) -> None:
        for follower in self._followers:
            follower(function)

    def owner(self, function: str) -> str | None:
        """
        The account that has the function's name, if any has.
        """
        entry = self._functions.get(function)
        return None if entry is None else entry.account_id

    def sole(self, function: str) -> Route | None:
        """
        The version that answers all requests to `<function>.<BASE_DOMAIN>`, if it is only one.
        """
        entry = self._functions.get(function)
        if entry is None or len(entry.live) != 1 or not entry.reach.enabled:
            return None
        return entry.live[0][1]

    def has_alias(self, function: str, alias: str) -> bool:
        """
        Whether the function has this alias.
        """
        entry = self._functions.get(function)
        return entry is not None and alias in entry.aliases

    def is_sticky(self, function: str) -> bool:
        """
        Whether a request's version key could make a difference.
        """
        entry = self._functions.get(function)
        return entry is not None and len(entry.live) > 1

    def shares(self, function: str, selector: str | None) -> tuple[tuple[float, Route], ...]:
        """
        All that `resolve` may give for a selector, each with the position at which its share ends;
        the shares of versions follow one another from 0 on.

        Raises:
            Problem: as `resolve`.
        """
        route = self.resolve(function, selector, 0)
        if selector in (None, "latest"):
            return self._functions[function].live
        return ((100.0, route),)

    def resolve_host(self, function: str, selector: str | None, position: float) -> Route:
        """
        The version that answers a request from outside: as `resolve`, for what is open to them.

        Raises:
            Problem: as `resolve`; what is not open is as if it were not there.
        """
        entry = self._functions.get(function)
        if entry is not None:
            if selector in (None, "latest"):
                if not entry.reach.enabled:
                    raise _no_function()
            elif not entry.reach.previews:
                raise _no_version()
        return self.resolve(function, selector, position)

    def resolve(self, function: str, selector: str | None, position: float) -> Route:
        """
        The version that answers `<selector>.<function>.<BASE_DOMAIN>`.

        Args:
            function: The function's label, lower case.
            selector: The label before it: an alias, or the beginning of a version id.
            position: Where in [0, 100) this request falls among a deployment's shares:
                random, or `sticky_position`.

        Raises:
            Problem: `FUNCTION_NOT_FOUND`, `NOT_DEPLOYED`, `VERSION_NOT_FOUND`,
                `VERSION_AMBIGUOUS`.
        """
        entry = self._functions.get(function)
        if entry is None:
            raise _no_function()
        if selector is None or selector == "latest":
            return self._deployed(entry, position)
        alias = entry.aliases.get(selector)
        if alias is not None:
            return alias
        return self._by_prefix(entry, function, selector)

    @staticmethod
    def _deployed(entry: _Entry, position: float) -> Route:
        for end, route in entry.live:
            if position < end:
                return route
        if entry.live:
            return entry.live[-1][1]
        raise Problem(
            kind=Kind.NOT_DEPLOYED,
            message="This function has versions but no deployment yet: deploy one of them.",
        )

    @staticmethod
    def _by_prefix(entry: _Entry, function: str, prefix: str) -> Route:
        if not is_version_prefix(prefix):
            raise _no_version()
        first = bisect.bisect_left(entry.versions, prefix)
        found = [v for v in entry.versions[first : first + 2] if v.startswith(prefix)]
        if not found:
            raise _no_version()
        if len(found) > 1:
            raise Problem(
                kind=Kind.VERSION_AMBIGUOUS,
                message="Several versions begin so: use more characters of the version id.",
            )
        return Route(entry.account_id, function, found[0])


def _no_function() -> Problem:
    return Problem(kind=Kind.FUNCTION_NOT_FOUND, message="There is no function of this name here.")


def _no_version() -> Problem:
    return Problem(
        kind=Kind.VERSION_NOT_FOUND,
        message="This function has no alias and no version of this name.",
    )
