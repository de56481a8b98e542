"""Which version a request is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import LARGE_CODE
from workerd_faas.domain.model import Reach, Split
from workerd_faas.domain.routing import FunctionRoutes, Route, RoutingTable, sticky_position

ONE = "aaaaaaaa-1111-4111-8111-111111111111"
TWO = "aaaaaaaa-2222-4222-8222-222222222222"
THREE = "bbbbbbbb-3333-4333-8333-333333333333"


def table(*splits: tuple[str, float], aliases: dict[str, str] | None = None) -> RoutingTable:
    """
    One function `hello` with three versions.
    """
    made = RoutingTable()
    made.load(
        [
            FunctionRoutes(
                function="hello",
                account_id="acc",
                splits=tuple(Split(version_id=v, percentage=p) for v, p in splits),
                aliases=aliases or {},
                versions=[THREE, ONE, TWO],
            )
        ]
    )
    return made


def kind(routes: RoutingTable, function: str, selector: str | None) -> Kind:
    """
    The kind of problem that resolving ends in.
    """
    with pytest.raises(Problem) as caught:
        routes.resolve(function, selector, 0)
    return caught.value.kind


def test_the_deployment_serves_the_bare_host() -> None:
    """
    Without a selector, and as `latest`, the deployed version answers.
    """
    routes = table((TWO, 100))
    assert routes.resolve("hello", None, 99.999) == Route("acc", "hello", TWO)
    assert routes.resolve("hello", "latest", 0) == Route("acc", "hello", TWO)


def test_shares_follow_their_percentages() -> None:
    """
    A position below the first share gets the first version, above it the second.
    """
    routes = table((ONE, 10), (TWO, 90))
    assert routes.resolve("hello", None, 9.99).version_id == ONE
    assert routes.resolve("hello", None, 10.0).version_id == TWO
    assert routes.resolve("hello", None, 99.9999999).version_id == TWO


def test_a_share_of_nothing_serves_nothing() -> None:
    """
    A version at 0 % is never chosen.
    """
    routes = table((ONE, 0), (TWO, 100))
    assert routes.resolve("hello", None, 0.0).version_id == TWO
    assert not routes.is_sticky("hello")


def test_a_version_answers_by_its_prefix() -> None:
    """
    Eight characters or more that begin one version's id select it, deployed or not.
    """
    routes = table((ONE, 100))
    assert routes.resolve("hello", "bbbbbbbb", 0).version_id == THREE
    assert routes.resolve("hello", TWO, 0).version_id == TWO
    assert routes.resolve("hello", "aaaaaaaa-1", 0).version_id == ONE


def test_an_ambiguous_prefix_is_said_to_be_so() -> None:
    """
    A prefix of two versions selects neither.
    """
    assert kind(table((ONE, 100)), "hello", "aaaaaaaa") is Kind.VERSION_AMBIGUOUS


@pytest.mark.parametrize("selector", ["", "b", "bbbbbbb", "bbbbbbb_", "%", "cccccccc", "none"])
def test_short_and_strange_prefixes_select_nothing(selector: str) -> None:
    """
    Fewer than eight characters, wildcards and unknown names all miss alike.
    """
    assert kind(table((ONE, 100)), "hello", selector) is Kind.VERSION_NOT_FOUND


def test_an_alias_wins_over_a_prefix() -> None:
    """
    An alias that looks like a version's prefix names what it was set to.
    """
    routes = table((ONE, 100), aliases={"bbbbbbbb": ONE})
    assert routes.resolve("hello", "bbbbbbbb", 0).version_id == ONE


def test_an_alias_does_not_hide_another_version() -> None:
    """
    What is a version's address becomes an alias of that version only.
    """
    routes = table((ONE, 60), (THREE, 40))
    for alias in (THREE[:8], THREE[:12], THREE):
        with pytest.raises(Problem, match="is the address of the version"):
            routes.check_alias("hello", alias, ONE)
        routes.check_alias("hello", alias, THREE)
    routes.check_alias("hello", "deadbeef", ONE)
    routes.check_alias("other", THREE[:8], ONE)


def test_what_is_closed_is_as_if_it_were_not_there() -> None:
    """
    Requests from outside are told what they would be told of a name that nobody uses; from inside
    the function is reached all the same.
    """
    routes = table((ONE, 100), aliases={"next": THREE})

    def outside(function: str, selector: str | None) -> str:
        try:
            return routes.resolve_host(function, selector, 0).version_id
        except Problem as problem:
            return f"{problem.kind} {problem.message}"

    missing, no_version = outside("missing", None), outside("hello", "missing")
    assert [outside("hello", each) for each in (None, "next", THREE)] == [ONE, THREE, THREE]
    routes.reach_set("hello", Reach(enabled=False, previews=True))
    assert routes.sole("hello") is None
    assert [outside("hello", each) for each in (None, "latest")] == [missing, missing]
    assert outside("hello", "next") == THREE
    routes.reach_set("hello", Reach(enabled=True, previews=False))
    assert outside("hello", None) == outside("hello", "latest") == ONE
    assert [outside("hello", each) for each in ("next", THREE[:8])] == [no_version] * 2
    assert routes.resolve("hello", THREE[:8], 0).version_id == THREE


def test_changes_show_at_once() -> None:
    """
    Versions, deployments, aliases and deletions are seen by the next resolve.
    """
    routes = RoutingTable()
    assert kind(routes, "new", None) is Kind.FUNCTION_NOT_FOUND
    routes.version_added("acc", "new", ONE)
    assert kind(routes, "new", None) is Kind.NOT_DEPLOYED
    routes.deployed("new", (Split(version_id=ONE, percentage=100),))
    assert routes.resolve("new", None, 50).version_id == ONE
    routes.alias_set("new", "staging", ONE)
    assert routes.resolve("new", "staging", 50).version_id == ONE
    routes.alias_removed("new", "staging")
    assert kind(routes, "new", "staging") is Kind.VERSION_NOT_FOUND
    assert routes.owner("new") == "acc"
    routes.removed("new")
    assert routes.owner("new") is None
    assert kind(routes, "new", None) is Kind.FUNCTION_NOT_FOUND


def test_functions_with_large_code_are_known() -> None:
    """
    A function with a version of 16 MiB is among the large ones until it is removed or the store no
    longer says so.
    """
    routes = RoutingTable()
    large = routes.large
    routes.version_added("acc", "small", ONE, size=LARGE_CODE - 1)
    routes.version_added("acc", "big", TWO, size=LARGE_CODE)
    routes.version_added("acc", "big", THREE, size=1)
    assert large == {"big"}
    routes.removed("big")
    assert large == set()
    stored = FunctionRoutes(
        function="stored", account_id="acc", splits=(), aliases={}, versions=[ONE], large=True
    )
    routes.load([stored])
    assert large == {"stored"}
    routes.load([])
    assert large == set()


@given(st.binary(max_size=50))
def test_a_key_always_falls_on_the_same_place(key: bytes) -> None:
    """
    A version key has one position within [0, 100), and it depends on the function.
    """
    position = sticky_position("hello", key)
    assert 0 <= position < 100
    assert position == sticky_position("hello", key)
    assert position != sticky_position("other", key)


def test_keys_spread_over_the_shares() -> None:
    """
    Of a thousand keys about a tenth falls on a share of 10 %.
    """
    few = sum(sticky_position("hello", b"user-%d" % n) < 10 for n in range(1000))
    assert 60 < few < 140
