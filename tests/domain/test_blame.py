"""Who is suspected, who is quarantined, and how both end."""

from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.blame import Blame, BlamePolicy, Change, Standing
from workerd_faas.domain.termination import Termination

CPU = Termination.CPU
HOME = "account"


def standings(changes: list[Change]) -> dict[str, Standing]:
    """
    What changes make of functions.
    """
    return {change.function: change.standing for change in changes}


def convict(blame: Blame, function: str, now: float = 0) -> float:
    """
    Let a function die alone until it is quarantined; returns the moment.
    """
    while blame.refusal(function, now) is None:
        now += 1
        blame.died(now, HOME, CPU, {function: True})
    return now


def test_nobody_is_free_to_do_it_again_and_again() -> None:
    """A function that is alone each time is apart after one death and quarantined after three."""
    blame = Blame()
    assert standings(blame.died(0, HOME, CPU, {"bad": True})) == {"bad": Standing.SUSPECT}
    assert blame.apart == {"bad"}
    assert blame.refusal("bad", 0) is None
    assert blame.died(1, HOME, CPU, {"bad": True}) == []
    assert standings(blame.died(2, HOME, CPU, {"bad": True})) == {"bad": Standing.QUARANTINED}
    refusal = blame.refusal("bad", 3)
    assert refusal is not None
    assert (refusal.termination, refusal.seconds) == (CPU, 9)
    (record,) = blame.records(3)
    assert (record.standing, record.deaths, record.strikes) == (Standing.QUARANTINED, 3, 6)


def test_an_innocent_is_cleared_by_the_culprit() -> None:
    """Who was always beside the culprit runs apart until that one dies alone, and is free then."""
    blame = Blame()
    both = {"good": True, "bad": True}
    assert standings(blame.died(0, HOME, CPU, both)) == dict.fromkeys(both, Standing.SUSPECT)
    for moment in (1, 2):
        changes = blame.died(moment, HOME, CPU, {"bad": True})
    assert standings(changes) == {"bad": Standing.QUARANTINED, "good": Standing.FREE}
    assert blame.apart == {"bad"}
    # Nothing is left of it: the next time it is as if it were the first.
    assert blame.died(3, HOME, CPU, {"good": True})[0].strikes == 2


def test_suspects_take_turns() -> None:
    """
    With more suspects than places, those in whose absence it happened again make room, until the
    culprit has a process of its own.
    """
    blame = Blame(BlamePolicy(places=2))
    functions = [f"f{n}" for n in range(9)]
    for now in range(100):
        shared = {name: True for name in functions if name not in blame.apart}
        if "f8" not in shared:
            break
        blame.died(now, HOME, CPU, shared)
        assert len(blame.apart) <= 2
    assert "f8" in blame.apart
    assert now <= 6


def test_likely_suspects_come_first() -> None:
    """Who is not likely to have done it stays where it is, until it may have done it twice."""
    blame = Blame()
    blame.died(0, HOME, CPU, {"was": False, "is": True})
    assert blame.apart == {"is"}
    blame.died(1, HOME, CPU, {"was": False, "is": False})
    assert blame.apart == {"is", "was"}


def test_the_only_likely_one_has_more_strikes() -> None:
    """A death weighs twice against the only likely suspect, but does not convict it."""
    blame = Blame(BlamePolicy(strikes=2))
    changes = blame.died(0, HOME, CPU, {"was": False, "is": True})
    assert [(change.standing, change.strikes) for change in changes] == [(Standing.SUSPECT, 2)]
    assert standings(blame.died(1, HOME, CPU, {"is": True})) == {"is": Standing.QUARANTINED}


def test_quarantines_grow() -> None:
    """Each death after a quarantine makes the next one twice as long, up to a bound."""
    blame = Blame(BlamePolicy(most=100))
    now = convict(blame, "bad")
    pauses = []
    for _ in range(8):
        refusal = blame.refusal("bad", now)
        assert refusal is not None
        pauses.append(refusal.seconds)
        now += refusal.seconds
        assert blame.refusal("bad", now) is None
        assert "bad" in blame.apart
        blame.died(now, HOME, CPU, {"bad": True})
    assert pauses == [10, 20, 40, 80, 100, 100, 100, 100]


def test_time_ends_it() -> None:
    """A suspect is free when its strikes are old; a quarantined function when it has been calm."""
    blame = Blame()
    blame.died(0, HOME, CPU, {"a": True, "b": True})
    assert blame.tick(599) == []
    assert standings(blame.tick(600)) == {"a": Standing.FREE, "b": Standing.FREE}
    assert (blame.apart, blame.records(600)) == (set(), [])
    now = convict(blame, "bad", 1000)
    (record,) = blame.records(now)
    assert blame.tick(now + record.ends - 1) == []
    assert standings(blame.tick(now + record.ends)) == {"bad": Standing.FREE}


def test_a_relapse_is_not_met_with_patience() -> None:
    """Who was quarantined within a day is quarantined again, longer, when it dies alone once."""
    blame = Blame()
    now = convict(blame, "bad") + 1000
    blame.tick(now)
    assert blame.apart == set()
    (change,) = blame.died(now, HOME, CPU, {"bad": True})
    assert (change.standing, change.seconds) == (Standing.QUARANTINED, 20)
    blame.tick(now + 1000)
    blame.tick(now + 100_000)
    assert standings(blame.died(now + 100_001, HOME, CPU, {"bad": True})) == {
        "bad": Standing.SUSPECT
    }


def test_pardon() -> None:
    """A new deploy or the operator ends it at once, and nothing is remembered."""
    blame = Blame()
    now = convict(blame, "bad")
    assert standings(blame.pardon("bad", "deployed")) == {"bad": Standing.FREE}
    assert blame.refusal("bad", now) is None
    assert blame.pardon("bad", "deployed") == []
    assert standings(blame.died(now, HOME, CPU, {"bad": True})) == {"bad": Standing.SUSPECT}


def test_growth_is_forgiven_a_few_times() -> None:
    """Outgrowing its memory makes a function a suspect at the third time, and never more."""
    blame = Blame()
    assert blame.grew(0, HOME, {"fat": True, "thin": True}) == []
    assert blame.grew(60, HOME, {"fat": True}) == []
    assert standings(blame.grew(120, HOME, {"fat": True, "new": True})) == {"fat": Standing.SUSPECT}
    assert blame.refusal("fat", 121) is None
    assert standings(blame.tick(720)) == {"fat": Standing.FREE}
    assert blame.grew(800, HOME, {"thin": True}) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["died", "grew", "tick", "pardon"]),
            st.sets(st.sampled_from("abcdefgh"), max_size=6),
            st.floats(0, 400),
        ),
        max_size=60,
    )
)
def test_it_always_ends(story: list[tuple[str, set[str], float]]) -> None:
    """
    Whatever happens, `apart` is who is not free, suspects do not exceed their places, nobody but
    the quarantined is refused, and without more deaths everybody is free in the end.
    """
    blame, now = Blame(BlamePolicy(places=3)), 0.0
    for what, functions, pause in story:
        now += pause
        suspects = dict.fromkeys(sorted(functions), True)
        if what == "died" and suspects:
            if len(suspects) > 1:
                # Those that are apart do not run in the shared process.
                suspects = {name: True for name in suspects if name not in blame.apart}
            if suspects:
                blame.died(now, HOME, CPU, suspects)
        elif what == "grew":
            blame.grew(now, HOME, {name: True for name in suspects if name not in blame.apart})
        elif what == "pardon":
            for name in functions:
                blame.pardon(name, "deployed")
        blame.tick(now)
        records = blame.records(now)
        assert {record.function for record in records} == blame.apart
        waiting = [each for each in records if each.standing is Standing.SUSPECT]
        assert len(waiting) <= 3
        for name in "abcdefgh":
            if blame.refusal(name, now) is not None:
                assert name in blame.apart
    blame.tick(now + 10_000)
    assert (blame.apart, blame.records(now + 10_000)) == (set(), [])
    blame.tick(now + 100_000)
    assert blame._dockets == {}
