"""A Worker does the same here and in `wrangler dev`, but for what is declared."""

from collections.abc import Iterator

import pytest

from tests.compatibility.comparing import Compared, compared, record_of
from tests.compatibility.differences import FIELDS, SUBJECTS
from tests.compatibility.document import declared, recorded, unseen
from tests.compatibility.platforms import Platform, both

REMEDY = "run: .venv/bin/python -m tests.compatibility"


@pytest.fixture(scope="module")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Platform]]:
    """
    Here, and there.
    """
    with both(tmp_path_factory.mktemp("compatibility")) as found:
        yield found


@pytest.fixture(scope="module")
def found(platforms: tuple[Platform, Platform]) -> dict[str, list[Compared]]:
    """
    Everything tried on both.
    """
    return compared(*platforms)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_differs_but_what_is_declared(
    subject: str, found: dict[str, list[Compared]]
) -> None:
    """Values, errors, events and answers are the same, down to the bytes."""
    assert len(found[subject]) > 4
    differing = [
        row for row in found[subject] if not row.same and declared(subject, row.what) is None
    ]
    assert differing == [], "\n".join(map(str, differing))


def test_every_declared_difference_shows(found: dict[str, list[Compared]]) -> None:
    """No difference is declared that is not there any more."""
    assert unseen(record_of(found)) == []


def test_fields_that_are_not_compared_are_on_one_side(
    platforms: tuple[Platform, Platform],
) -> None:
    """Each is in one platform's requests or answers, and not, or another one, in the other's."""
    seen = []
    for platform in platforms:
        request = dict(platform.json("/seen")["headers"])
        answers = dict(platform.ask("GET", "/hello.txt").headers)
        seen.append({"request": request, "answer": answers})
    here, there = seen
    for field in FIELDS:
        assert here[field.where].get(field.name) != there[field.where].get(field.name), field.name


def test_the_record_is_what_is_seen(found: dict[str, list[Compared]]) -> None:
    """The document is written from what is seen now."""
    assert record_of(found) == recorded(), REMEDY
