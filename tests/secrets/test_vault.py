"""Encryption of secrets at rest, its key file, and the change of keys."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.store import keyfile
from workerd_faas.store.database import connect, transact
from workerd_faas.store.rotation import BATCH, rotate
from workerd_faas.store.vault import FernetVault

OLD, NEW = keyfile.new_key(), keyfile.new_key()


def vault(*keys: str) -> FernetVault:
    """
    A vault with these keys.
    """
    return FernetVault(lambda: keys)


@given(st.text(max_size=200))
def test_a_secret_comes_back_and_is_not_legible(text: str) -> None:
    """
    Whatever is sealed is opened again, and its text is not in what is stored.
    """
    sealed = vault(NEW).seal("id", text)
    assert vault(NEW).open("id", sealed) == text
    assert len(text) < 8 or text not in sealed


def test_one_secret_cannot_stand_in_for_another() -> None:
    """
    A sealed secret that was moved to another id is refused.
    """
    sealed = vault(NEW).seal("one", "text")
    with pytest.raises(Problem) as caught:
        vault(NEW).open("other", sealed)
    assert caught.value.kind is Kind.SECRET_UNREADABLE


@pytest.mark.parametrize("sealed", ["", "gAAAAA", "ü", vault(OLD).seal("id", "text")])
def test_what_cannot_be_decrypted_is_a_problem_of_the_operator(sealed: str) -> None:
    """
    A wrong key and damaged text are one kind of problem, which names the setting and no secret.
    """
    with pytest.raises(Problem) as caught:
        vault(NEW).open("id", sealed)
    assert caught.value.kind is Kind.SECRET_UNREADABLE
    assert "SECRETS_KEY" in caught.value.message
    assert "text" not in caught.value.message


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    """
    With a new key before it, an old one still opens, and what is sealed opens with the new alone.
    """
    old = vault(OLD).seal("id", "text")
    both = vault(NEW, OLD)
    assert both.open("id", old) == "text"
    assert vault(NEW).open("id", both.seal("id", "text")) == "text"
    renewed = both.renew("id", old)
    assert renewed is not None
    assert vault(NEW).open("id", renewed) == "text"
    assert both.renew("id", renewed) is None


def test_the_vault_does_not_show_its_keys() -> None:
    """
    No key is in the representation of a vault.
    """
    assert NEW not in repr(vault(NEW))


def test_the_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """
    Many who ask at once get one and the same key, from a file of mode 0600, and leave no other.
    """
    file = tmp_path / keyfile.FILE_NAME
    found: list[tuple[str, ...]] = []
    threads = [
        threading.Thread(target=lambda: found.append(tuple(keyfile.read_keys(file))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"\n", b"no key", b"\xff", NEW.encode()[:-2]])
def test_a_file_that_has_no_keys_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    """
    A key file with something else in it is refused and left as it is, for it may be mended.
    """
    file = tmp_path / keyfile.FILE_NAME
    file.write_bytes(content)
    with pytest.raises(keyfile.KeyFileUnusable) as caught:
        keyfile.read_keys(file)
    assert "no key" not in str(caught.value) or content != b"no key"
    assert file.read_bytes() == content


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """
    A catalog with one function.
    """
    with closing(connect(tmp_path / "faas.db")) as connection:
        connection.execute("INSERT INTO functions VALUES ('f', 'a', 't', '', '', 1, 1)")
        yield connection


def store(database: sqlite3.Connection, id_: str, sealed: str) -> None:
    """
    Store a secret as the catalog does.
    """
    database.execute("INSERT INTO secrets VALUES (?, 'f', ?)", (id_, sealed))


def stored(database: sqlite3.Connection) -> dict[str, str]:
    """
    All stored secrets.
    """
    return dict(database.execute("SELECT id, sealed FROM secrets").fetchall())


def test_a_rotation_reaches_every_secret(database: sqlite3.Connection) -> None:
    """
    After it all secrets of several batches open with the first key alone, and again it has nothing
    to do.
    """
    count = 2 * BATCH + 1
    for number in range(count):
        store(database, f"{number:03}", vault(OLD).seal(f"{number:03}", f"text {number}"))
    store(database, "new", vault(NEW).seal("new", "text new"))
    done = rotate(database, vault(NEW, OLD))
    assert (done.renewed, done.current, done.unreadable) == (count, 1, 0)
    texts = {id_: vault(NEW).open(id_, sealed) for id_, sealed in stored(database).items()}
    assert texts["200"] == "text 200"
    assert len(texts) == count + 1
    assert rotate(database, vault(NEW, OLD)).renewed == 0


def test_a_rotation_leaves_alone_what_it_cannot_read(database: sqlite3.Connection) -> None:
    """
    A secret under a lost key is counted and stays byte for byte.
    """
    lost = vault(keyfile.new_key()).seal("lost", "text")
    store(database, "lost", lost)
    store(database, "old", vault(OLD).seal("old", "text"))
    done = rotate(database, vault(NEW, OLD))
    assert (done.renewed, done.unreadable) == (1, 1)
    assert stored(database)["lost"] == lost


def test_a_rotation_leaves_room_for_writers(database: sqlite3.Connection, tmp_path: Path) -> None:
    """
    A writer of another connection that waits gets its turn between two batches.
    """
    for number in range(3 * BATCH):
        store(database, f"{number:03}", vault(OLD).seal(f"{number:03}", "text"))
    with closing(connect(tmp_path / "faas.db")) as other:
        writer = threading.Thread(
            target=lambda: transact(
                other, lambda cursor: cursor.execute("UPDATE functions SET tag = 'written'")
            )
        )
        writer.start()
        rotate(database, vault(NEW, OLD))
        writer.join()
    assert database.execute("SELECT tag FROM functions").fetchone() == ("written",)
