"""Opaque credentials, the login policy and sealed text, as pure functions."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.credentials import (
    CredentialKind,
    digest,
    is_credential,
    write_credential,
)
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.identity import LoginPolicy, check_handle, check_token_name
from workerd_faas.usecases.identity.keys import Keys, seal, unseal

KINDS = st.sampled_from(CredentialKind)
ENTROPY = st.binary(min_size=32, max_size=32)


@given(KINDS, ENTROPY, ENTROPY)
def test_credentials_are_well_formed_and_distinct(
    kind: CredentialKind, one: bytes, other: bytes
) -> None:
    """
    Each entropy has one text, of one kind, always of the same length.
    """
    text = write_credential(kind, one)
    assert len(text) == 53
    assert [each for each in CredentialKind if is_credential(text, each)] == [kind]
    assert (text == write_credential(kind, other)) == (one == other)


@given(KINDS, ENTROPY, st.integers(0, 52), st.sampled_from("0Az_-é"))
def test_a_mistyped_credential_is_noticed(
    kind: CredentialKind, entropy: bytes, position: int, character: str
) -> None:
    """
    One wrong character breaks the checksum.
    """
    text = write_credential(kind, entropy)
    wrong = text[:position] + character + text[position + 1 :]
    assert wrong == text or not is_credential(wrong, kind)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_credential_has_256_bits(size: int) -> None:
    """
    Less entropy is a programming error.
    """
    with pytest.raises(ValueError, match="32 bytes"):
        write_credential(CredentialKind.CODE, os.urandom(size))


@given(st.text())
def test_any_text_has_a_digest(text: str) -> None:
    """
    64 hex digits, which do not contain the text.
    """
    assert len(digest(text)) == 64


@given(st.binary(max_size=200))
def test_sealed_text_opens_only_with_its_key(plain: bytes) -> None:
    """
    The key that sealed it opens it, another one does not.
    """
    ours, other = Keys.from_secret(b"a" * 32), Keys.from_secret(b"b" * 32)
    text = seal(ours.login, plain)
    assert unseal(ours.login, text) == plain
    assert unseal(other.login, text) is None
    assert unseal(ours.succession, text) is None


@given(st.binary(max_size=50), st.integers(0, 200), st.sampled_from("Aa0-_=. é"))
def test_changed_sealed_text_does_not_open(plain: bytes, position: int, character: str) -> None:
    """
    One changed character, also of the padding bits, and it is nothing.
    """
    key = Keys.from_secret(b"a" * 32).login
    text = seal(key, plain)
    position %= len(text)
    changed = text[:position] + character + text[position + 1 :]
    assert changed == text or unseal(key, changed) in (None, plain)


@given(st.text())
def test_arbitrary_text_does_not_open(text: str) -> None:
    """
    It is nothing, and no exception.
    """
    assert unseal(b"k" * 32, text) is None


def test_each_purpose_has_its_own_key() -> None:
    """
    No two keys of one secret are equal, and none of them is shown by repr.
    """
    keys = Keys.from_secret(b"a" * 32)
    assert len({keys.access_token, keys.succession, keys.login}) == 3
    assert repr(keys) == "Keys()"


def test_without_rules_everybody_is_admitted() -> None:
    """
    LOGIN_ALLOW is optional.
    """
    assert LoginPolicy().admits("anybody", None)


@pytest.mark.parametrize("handle", ["", " a", "a ", "a\n", "x" * 101, "0" * 32, "ab" * 16])
def test_what_cannot_be_an_accounts_name(handle: str) -> None:
    """
    Nothing that is empty, padded, unprintable, too long, or looks like an id.
    """
    with pytest.raises(Problem):
        check_handle(handle)


@pytest.mark.parametrize("name", ["ci", "Ci of ann@example.com", "ž", "x" * 100])
def test_names_are_free_otherwise(name: str) -> None:
    """
    People name things as they like.
    """
    assert check_handle(name) == check_token_name(name) == name
