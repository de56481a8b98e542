"""What API tokens may do."""

from itertools import product

import pytest

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.oauth import SCOPES as LOGIN_SCOPES
from workerd_faas.domain.permissions import (
    AREAS,
    EVERYTHING,
    SCOPES,
    Permissions,
    login_permissions,
    needed,
    read_permissions,
)

ACCOUNT = "/accounts/<account>"
SCRIPT = ACCOUNT + "/workers/scripts/<name>"


@pytest.mark.parametrize(
    ("method", "rule", "scope"),
    [
        ("GET", "/user", ""),
        ("GET", "/user/tokens/verify", ""),
        ("GET", "/user/tokens", "user_tokens:read"),
        ("POST", "/user/tokens", "user_tokens:write"),
        ("DELETE", "/user/sessions/<session>", "user_tokens:write"),
        ("GET", "/accounts", ""),
        ("GET", ACCOUNT, ""),
        ("HEAD", SCRIPT, "workers:read"),
        ("PUT", SCRIPT, "workers:write"),
        ("PUT", SCRIPT + "/secrets", "workers:write"),
        ("POST", SCRIPT + "/tails", "workers_tail:read"),
        ("GET", ACCOUNT + "/workers/logs", "workers_tail:read"),
        ("PUT", ACCOUNT + "/storage/kv/namespaces/<namespace>/values", "workers_kv:write"),
        ("POST", ACCOUNT + "/storage/kv/namespaces/<namespace>/bulk/get", "workers_kv:read"),
        ("POST", ACCOUNT + "/storage/kv/namespaces/<namespace>/bulk/delete", "workers_kv:write"),
        ("POST", ACCOUNT + "/d1/database/<database>/query", "d1:write"),
        ("POST", ACCOUNT + "/d1/database/<database>/export", "d1:read"),
        ("DELETE", ACCOUNT + "/queues/<queue>", "queues:write"),
    ],
)
def test_a_route_needs_what_it_does(method: str, rule: str, scope: str) -> None:
    """
    Reading needs the area's `read`, all else its `write`; who one is everybody may ask.
    """
    assert needed(method, rule) == scope


@pytest.mark.parametrize("rule", ["/zones", "/users", "/userx", "/d1", "/accountsx/y", ""])
def test_a_route_that_nobody_thought_of_is_not_open(rule: str) -> None:
    """
    A path beside the table raises, and does so when the route is registered.
    """
    with pytest.raises(ValueError, match="table of permissions"):
        needed("GET", rule)


OWN = ("user_tokens:read", "user_tokens:write")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("workers:write", {"workers:read", "workers:write", *OWN}),
        ("workers_scripts:write", {"workers:read", "workers:write", *OWN}),
        ("workers_tail:read d1:write", {"workers_tail:read", "d1:read", "d1:write", *OWN}),
        ("account:read user:read zone:read offline_access", set(OWN)),
        ("workers:write workers_kv:write workers_tail:read d1:write queues:write", set(SCOPES)),
        (" ".join(LOGIN_SCOPES), set(SCOPES)),
        ("offline_access", set(SCOPES)),
    ],
)
def test_a_login_can_do_what_its_scope_says(scope: str, allowed: set[str]) -> None:
    """
    Wrangler's words open the areas here, and its user's sessions and tokens are open to any login.
    """
    permissions = login_permissions(scope.split())
    assert {word for word in SCOPES if permissions.allow(word, None)} == allowed
    assert permissions.allow("", None)


def test_writing_implies_reading_and_nothing_else() -> None:
    """
    A token with one scope can do that, reading too if it may write, and nothing of other areas.
    """
    for given, asked in product(SCOPES, SCOPES):
        (area, verb), (wanted, to_do) = given.split(":"), asked.split(":")
        allowed = Permissions(frozenset({given})).allow(asked, None)
        assert allowed == (area == wanted and (verb == "write" or to_do == "read"))


def test_everything_is_everything() -> None:
    """
    Without a restriction every scope is there.
    """
    assert all(EVERYTHING.allow(scope, None) for scope in SCOPES)
    assert read_permissions(None, None) == EVERYTHING


def test_a_token_for_functions_is_for_nothing_else() -> None:
    """
    Other functions, lists of all functions, data and tokens are out of its reach.
    """
    only = read_permissions(None, ["shop"])
    assert only.allow("workers:write", "shop")
    assert only.allow("workers_tail:read", "shop")
    assert only.allow("", None)
    for scope in SCOPES:
        assert not only.allow(scope, "other")
        assert not only.allow(scope, None)
    for area in set(AREAS) - {"workers", "workers_tail"}:
        assert not only.allow(f"{area}:read", "shop")
    assert not read_permissions(["workers:read"], ["shop"]).allow("workers:write", "shop")


@pytest.mark.parametrize(
    ("scopes", "functions"),
    [
        ([], None),
        (["workers"], None),
        (["workers:admin"], None),
        ("workers:read", None),
        ({"workers:read": 1}, None),
        ([["workers:read"]], None),
        (7, None),
        (None, []),
        (None, ["No"]),
        (None, ["a" * 64]),
        (None, "shop"),
        (None, [f"f{n}" for n in range(101)]),
    ],
)
def test_what_cannot_be_granted_is_refused(scopes: object, functions: object) -> None:
    """
    Neither an unknown word nor another shape is taken for something narrower or wider.
    """
    with pytest.raises(Problem) as refused:
        read_permissions(scopes, functions)
    assert refused.value.kind in (Kind.BAD_REQUEST, Kind.INVALID_NAME)


def test_nothing_is_made_wider() -> None:
    """
    One set covers another only if it may do everything that the other may.
    """
    reading = read_permissions(["workers:read"], None)
    writing = read_permissions(["workers:write"], None)
    shop = read_permissions(["workers:write"], ["shop"])
    two = read_permissions(["workers:write"], ["shop", "cart"])
    assert EVERYTHING.cover(writing)
    assert writing.cover(reading)
    assert writing.cover(shop)
    assert two.cover(shop)
    for narrow, wide in [
        (reading, writing),
        (shop, two),
        (shop, writing),
        (writing, EVERYTHING),
    ]:
        assert not narrow.cover(wide)
