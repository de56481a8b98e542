"""What a deployment may ask for."""

import uuid

import pytest

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Split
from workerd_faas.domain.splits import check_splits


def split(percentage: float) -> Split:
    return Split(version_id=str(uuid.uuid4()), percentage=percentage)


@pytest.mark.parametrize(
    "percentages",
    [(100,), (50, 50), (0, 100), (33.3, 33.3, 33.4), (-0.0, 100)],
)
def test_shares_that_make_a_whole(percentages: tuple[float, ...]) -> None:
    """
    Percentages that sum to 100 are taken, fractions and zero too.
    """
    check_splits([split(percentage) for percentage in percentages])


@pytest.mark.parametrize(
    "percentages",
    [
        (), (99,), (-1, 101), (101, -1), (float("inf"),), (float("nan"),), (10**400,),
        (10**400, -(10**400), 100), (9,) * 11,
    ],
)  # fmt: skip
def test_shares_that_do_not(percentages: tuple[float, ...]) -> None:
    """
    Anything else is a problem of the request, whatever numbers there are in it.
    """
    with pytest.raises(Problem) as caught:
        check_splits([split(percentage) for percentage in percentages])
    assert caught.value.kind is Kind.DEPLOYMENT_INVALID
