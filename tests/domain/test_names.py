"""Names that become host labels."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.names import (
    check_alias,
    check_function_name,
    is_label,
    is_version_prefix,
)


@pytest.mark.parametrize("name", ["a", "0", "my-worker", "a--b", "x" * 63, "1st"])
def test_dns_labels_are_names(name: str) -> None:
    """
    A lower-case DNS label is a function name and an alias.
    """
    assert check_function_name(name) == name
    assert check_alias(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "-a", "a-", "A", "a_b", "a.b", "..", "a/b", ".hidden", "x" * 64, "x" * 300, "a b",
        "a\n", "a\0", "%41", "ä", "а", "--version", "xn--ls8h", "a?", "a#", "１",
    ],
)  # fmt: skip
def test_everything_else_is_refused(name: str) -> None:
    """
    Anything but a lower-case DNS label is refused as a name and as an alias.
    """
    for check in (check_function_name, check_alias):
        with pytest.raises(Problem) as caught:
            check(name)
        assert caught.value.kind is Kind.INVALID_NAME


@pytest.mark.parametrize("name", ["api", "www", "oauth2", "localhost"])
def test_reserved_names_are_refused(name: str) -> None:
    """
    A function cannot be called like the platform's own hosts.
    """
    with pytest.raises(Problem, match="reserved"):
        check_function_name(name)


def test_latest_is_no_alias_to_set() -> None:
    """
    `latest` cannot be set, since it follows the deployment.
    """
    with pytest.raises(Problem, match="follows the deployment"):
        check_alias("latest")


@given(st.text(max_size=70))
def test_a_label_is_always_a_safe_host_label(text: str) -> None:
    """
    Whatever passes as a label has no character that a host name gives a meaning to.
    """
    if is_label(text):
        assert re.fullmatch(r"[a-z0-9-]{1,63}", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0123abcd", True),
        ("0123abcd-0123", True),
        ("0123abc", False),
        ("0123abcg", False),
        ("0123ABCD", False),
        ("________", False),
        ("%", False),
        ("", False),
        ("a" * 37, False),
    ],
)
def test_version_prefixes_are_long_enough_and_hex(text: str, expected: bool) -> None:
    """
    A version prefix has at least 8 characters, all of them hex digits or dashes.
    """
    assert is_version_prefix(text) is expected
