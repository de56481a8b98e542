"""How a deployment shares a function's requests among its versions."""

import math
import re
from collections.abc import Sequence
from typing import Final

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Split

MAX_SPLITS: Final = 10
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_splits(splits: Sequence[Split]) -> None:
    """
    Raises:
        Problem: `DEPLOYMENT_INVALID` unless these are different versions whose percentages are
            from 0 to 100 and sum to 100.
    """
    problem = None
    if not 1 <= len(splits) <= MAX_SPLITS:
        problem = f"names 1 to {MAX_SPLITS} versions"
    elif not all(_UUID.fullmatch(split.version_id) for split in splits):
        problem = "names each version by its whole id, a lower-case UUID"
    elif len({split.version_id for split in splits}) != len(splits):
        problem = "names each version once"
    elif not all(0 <= split.percentage <= 100 for split in splits):
        problem = "gives each version a percentage from 0 to 100"
    elif not math.isclose(sum(s.percentage for s in splits), 100, abs_tol=0.001):
        problem = "has percentages that sum to 100"
    if problem is not None:
        raise Problem(kind=Kind.DEPLOYMENT_INVALID, message=f"A deployment {problem}.")
