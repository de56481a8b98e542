"""The tests that docs/faults.md names are there."""

import re

import pytest

from tests.house.tree import ROOT

NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", (ROOT / "docs/faults.md").read_text("utf-8"))))


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_is_there(name: str) -> None:
    """The file exists and has the function."""
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text("utf-8")
    assert not function or f"def {function}(" in text
