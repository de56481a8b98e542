"""Where functions run, by account, and what the shared cell is given."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from tests.runtime.support import ACCOUNT, OTHER, MemoryTargets
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.policies import AccountPolicy, ForAll, Isolation, Reach
from workerd_faas.domain.routing import Route
from workerd_faas.runtime.rules import Rules, SharedPoints, SharedTargets, SharedVersions

MINE, THEIRS = Route(ACCOUNT, "fn", "v"), Route(OTHER, "fn", "v")


@attrs.define
class _Owned:
    """
    Load documents that say whose they are.
    """

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        See `VersionLoader`: here versions are called after their owners.
        """
        header = json.dumps({"account": version_id, "function": "fn"}).encode()
        return struct.pack(">4sI", b"WFLD", len(header)) + header


def loaded(versions: SharedVersions, owner: str) -> bytes:
    """
    What the shared cell gets of an owner.
    """
    loading = versions.load_document(None, owner)
    try:
        loading.send(None)
    except StopIteration as stop:
        document: bytes = stop.value
        return document
    raise AssertionError("it waits")


def test_accounts_have_places_of_their_own() -> None:
    """
    The slot of a function follows its account's policy, that of others stays, and back again.
    """
    rules = Rules(ForAll())
    assert [rules.key(MINE), rules.key(THEIRS)] == [ACCOUNT, OTHER]
    changed = rules.follow({ACCOUNT: AccountPolicy(isolation=Isolation.FUNCTION)})
    assert changed == {ACCOUNT: (False, False)}
    assert [rules.key(MINE), rules.key(THEIRS)] == [f"{ACCOUNT}/fn", OTHER]
    assert rules.follow({ACCOUNT: AccountPolicy(isolation=Isolation.FUNCTION)}) == {}
    assert rules.follow({}) == {ACCOUNT: (False, False)}
    assert rules.key(MINE) == ACCOUNT


def test_who_leaves_the_shared_cell_is_told() -> None:
    """
    An account that leaves the shared cell, or reaches other things, is said to, and one whose
    policy says what holds anyway is not.
    """
    rules = Rules(ForAll(isolation=Isolation.SHARED))
    assert rules.shares(ACCOUNT)
    assert rules.follow({ACCOUNT: AccountPolicy(isolation=Isolation.SHARED)}) == {}
    closed = AccountPolicy(egress=Reach.parse("none"))
    assert rules.follow({ACCOUNT: closed}) == {ACCOUNT: (True, True)}
    assert not rules.shares(ACCOUNT)
    assert rules.shares(OTHER)
    assert [rules.key(MINE), rules.key(THEIRS)] == [ACCOUNT, "shared"]
    assert rules.reach(ACCOUNT).nothing
    assert rules.reach(None) == rules.reach(OTHER) == Reach()


class _Points:
    def point(self, account_id: str, function: str, dataset: str, sent: Mapping[str, Any]) -> None:
        assert account_id == ACCOUNT


def test_the_shared_cell_gets_what_is_shared() -> None:
    """
    A cell of all gets neither versions nor targets of an account that is not in it.
    """
    rules = Rules(ForAll(isolation=Isolation.SHARED))
    rules.follow({OTHER: AccountPolicy(isolation=Isolation.ACCOUNT)})
    versions = SharedVersions(_Owned(), rules.shares)
    assert ACCOUNT.encode() in loaded(versions, ACCOUNT)
    with pytest.raises(Problem) as refused:
        loaded(versions, OTHER)
    assert refused.value.kind is Kind.VERSION_NOT_FOUND
    targets = SharedTargets(MemoryTargets(live={"fn": [(1.0, "v")]}), rules.shares)
    assert targets.shares(ACCOUNT, "fn", None) == [(1.0, "v")]
    with pytest.raises(Problem) as refused:
        targets.shares(OTHER, "fn", None)
    assert refused.value.kind is Kind.TARGET_NOT_FOUND
    points = SharedPoints(_Points(), rules.shares)
    points.point(ACCOUNT, "fn", "set", {})
    with pytest.raises(ValueError, match="account"):
        points.point(OTHER, "fn", "set", {})
