"""
What a login or an API token may do: areas of the API, for reading or for writing, and functions.

The words are Cloudflare's scopes. Which one a route needs follows from its path and method alone,
so that no route can be forgotten: one that is not in the table cannot be registered.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.names import check_function_name

AREAS: Final = ("workers", "workers_kv", "workers_tail", "d1", "queues", "user_tokens")
ANYBODY: Final = ""
"""What a route needs that every valid credential may use."""

MAX_FUNCTIONS: Final = 100

_ACCOUNT: Final = "/accounts/<account>"

_PUBLIC: Final = (
    "/",
    "/health",
    "/auth",
    "/device",
    "/oauth2",
    "/.well-known",
    "/tails",
    "/dev-provider",
)
"""Routes that ask for no bearer token, or for a secret of their own."""

_TABLE: Final = (
    ("/user/tokens/verify", ANYBODY),
    ("/user/tokens", "user_tokens"),
    ("/user/sessions", "user_tokens"),
    ("/user", ANYBODY),
    ("/memberships", ANYBODY),
    ("/graphql", "d1"),
    ("/d1-transfers", ANYBODY),
    (_ACCOUNT + "/storage/kv", "workers_kv"),
    (_ACCOUNT + "/d1", "d1"),
    (_ACCOUNT + "/queues", "queues"),
    (_ACCOUNT + "/event_subscriptions", "queues"),
    (_ACCOUNT + "/workers/logs", "workers_tail"),
    (_ACCOUNT + "/workers/scripts/<name>/logs", "workers_tail"),
    (_ACCOUNT + "/workers/scripts/<name>/tails", "workers_tail"),
    (_ACCOUNT + "/workers/subdomain", ANYBODY),
    (_ACCOUNT + "/workers/domains", ANYBODY),
    (_ACCOUNT + "/workers", "workers"),
    (_ACCOUNT + "/hyperdrive", "workers"),
    (_ACCOUNT + "/analytics_engine", "workers"),
    ("/accounts", ANYBODY),
)
"""Paths and what they and all below them need; the first that fits holds."""

_READING: Final = frozenset({"GET", "HEAD"})
_READING_POSTS: Final = ("/bulk/get", "/export", "/graphql")


def needed(method: str, rule: str) -> str:
    """
    The scope that a route needs, `ANYBODY` if any credential (or none) will do.

    Args:
        method: Of the request, in capitals.
        rule: The route's path, with its parameters in angle brackets.

    Raises:
        ValueError: the table does not know the path.
    """
    if any(_below(rule, path) for path in _PUBLIC):
        return ANYBODY
    for path, area in _TABLE:
        if _below(rule, path):
            if not area:
                return ANYBODY
            reads = method in _READING or rule.endswith(_READING_POSTS) or area == "workers_tail"
            return f"{area}:{'read' if reads else 'write'}"
    raise ValueError(f"{rule} is not in the table of permissions")


def _below(rule: str, path: str) -> bool:
    return rule == path or (path != "/" and rule.startswith(path + "/"))


@attrs.frozen
class Permissions:
    """
    Attributes:
        scopes: `<area>:read` and `<area>:write`, which implies reading.
        functions: Names of the only functions that may be touched, and then nothing else of the
            account either; None for all.
    """

    scopes: frozenset[str]
    functions: frozenset[str] | None = None

    def allow(self, scope: str, function: str | None) -> bool:
        """
        Whether a route may be used that needs `scope` and is about `function` (None: about none).
        """
        if scope == ANYBODY:
            return True
        if self.functions is not None and function not in self.functions:
            return False
        return scope in self.scopes or scope.replace(":read", ":write") in self.scopes

    def cover(self, other: "Permissions") -> bool:
        """
        Whether `other` may do nothing that these may not.
        """
        within = self.functions is None or (
            other.functions is not None and other.functions <= self.functions
        )
        return within and all(
            scope in self.scopes or scope.replace(":read", ":write") in self.scopes
            for scope in other.scopes
        )

    def check(self, scope: str, function: str | None) -> None:
        """
        Raises:
            Problem: `FORBIDDEN` or `SCOPE_MISSING`, saying what is missing.
        """
        if self.allow(scope, function):
            return
        if self.functions is not None and function not in self.functions:
            names = ", ".join(sorted(self.functions))
            raise Problem(
                kind=Kind.FORBIDDEN, message=f"This API token is for these functions only: {names}."
            )
        raise Problem(
            kind=Kind.SCOPE_MISSING, message=f"This login or API token lacks the scope {scope}."
        )


EVERYTHING: Final = Permissions(frozenset(f"{area}:write" for area in AREAS))

SCOPES: Final = tuple(f"{area}:{verb}" for area in AREAS for verb in ("read", "write"))
"""What a token can have. One without `user_tokens:write` cannot make others."""


_SAME: Final = {"workers_scripts:write": "workers:write"}
"""Cloudflare has two words for what is one area here."""

_ALL_OF_LOGINS: Final = frozenset(
    {"workers:write", "workers_kv:write", "workers_tail:read", "d1:write", "queues:write"}
)
_OF_A_PERSON: Final = frozenset({"user_tokens:write"})
"""
Cloudflare has no scope of a login for sessions and API tokens: they are their user's own matter,
and no token is made that may do more than the login.
"""


def login_permissions(scope: Iterable[str]) -> Permissions:
    """
    What a login may do that was granted this scope (words of `domain.oauth.SCOPES`).

    `offline_access` alone, which `wrkst` asked for before scopes restricted, is everything.
    """
    words = frozenset(_SAME.get(word, word) for word in scope)
    if words >= _ALL_OF_LOGINS or words == {"offline_access"}:
        return EVERYTHING
    return Permissions(words & set(SCOPES) | _OF_A_PERSON)


def read_permissions(
    scopes: object, functions: object, usual: Permissions = EVERYTHING
) -> Permissions:
    """
    What somebody wants a token to be able to do.

    Args:
        scopes: A list of `SCOPES`; None for those of `usual`.
        functions: A list of names of functions, which need not exist yet; None for all.

    Raises:
        Problem: `BAD_REQUEST`.
    """
    wanted = usual.scopes
    if scopes is not None:
        words = _words(scopes, "scopes")
        unknown = sorted(words - set(SCOPES))
        if unknown or not words:
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message=f"scopes lists one or more of: {', '.join(SCOPES)}.",
            )
        wanted = words
    if functions is None:
        return Permissions(wanted)
    names = _words(functions, "functions")
    if not 1 <= len(names) <= MAX_FUNCTIONS:
        raise Problem(kind=Kind.BAD_REQUEST, message=f"functions lists 1 to {MAX_FUNCTIONS} names.")
    for name in names:
        check_function_name(name)
    # Of its functions' data such a token knows nothing, and it cannot make a wider one.
    return Permissions(
        frozenset(scope for scope in wanted if scope.startswith(("workers:", "workers_tail:"))),
        names,
    )


def _words(value: object, what: str) -> frozenset[str]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | dict):
        raise Problem(kind=Kind.BAD_REQUEST, message=f"{what} is a list of texts.")
    words = list(value)
    if not all(isinstance(word, str) for word in words):
        raise Problem(kind=Kind.BAD_REQUEST, message=f"{what} is a list of texts.")
    return frozenset(words)
