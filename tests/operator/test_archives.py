"""Archives that may come from anywhere."""

import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.test_commands import run
from workerd_faas.operator.backup import layout
from workerd_faas.operator.backup.archive import ArchiveReader, ArchiveWriter
from workerd_faas.operator.backup.layout import Unacceptable
from workerd_faas.store.database import connect

ACCOUNT = "0123456789abcdef" * 2


def catalog(tmp_path: Path) -> bytes:
    """
    An empty catalog.
    """
    path = tmp_path / "made.db"
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    data = path.read_bytes()
    path.unlink()
    return data


def description(**more: Any) -> tuple[str, bytes]:
    """
    The first member.
    """
    return layout.DESCRIPTION, json.dumps({"format": layout.FORMAT, **more}).encode()


def archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """
    As the writer makes it.
    """
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for name, data in members:
        writer.add(name, io.BytesIO(data), len(data), 1_700_000_000)
    writer.finish(1_700_000_000)
    return file.getvalue()


def by_tarfile(infos: Iterable[tuple[tarfile.TarInfo, bytes]], **options: Any) -> bytes:
    """
    As others make it, with right sums.
    """
    file = io.BytesIO()
    sums = ""
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for info, data in infos:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            sums += f"{hashlib.sha256(data).hexdigest()}  {info.name}\n"
        info = tarfile.TarInfo(layout.SUMS)
        info.size = len(sums)
        tar.addfile(info, io.BytesIO(sums.encode()))
    return file.getvalue()


def restore(tmp_path: Path, data: bytes) -> tuple[int, str, list[str]]:
    """
    Exit status, what was said, and what is in `DATA_DIR` afterwards.
    """
    (tmp_path / "archive").write_bytes(data)
    (tmp_path / "data").mkdir(exist_ok=True)
    done = run(tmp_path, "restore", "archive", DATA_DIR="data")
    left = [
        str(path.relative_to(tmp_path / "data"))
        for path in sorted((tmp_path / "data").rglob("*"))
        if path.is_file() and path.name != "daemon.lock"
    ]
    outside = {path.name for path in tmp_path.iterdir()} - {"archive", "data"}
    assert not outside
    return done.returncode, done.stderr, left


def test_what_is_written_is_restored(tmp_path: Path) -> None:
    """
    Long names, empty and odd-sized files come back byte for byte with their times, for us alone
    but those of sites, which cells read that are users of their own.
    """
    members = [
        description(),
        (f"assets/{ACCOUNT}/ab/{'ab' * 16}-{'x' * 150}", b"site"),
        (f"state/{ACCOUNT}/blobs/{'c' * 64}/b/{'d' * 64}", b"y" * 1025),
        (f"state/{ACCOUNT}/blobs/{'c' * 64}/b/{'e' * 64}", b""),
        (layout.CATALOG, catalog(tmp_path)),
    ]
    status, said, left = restore(tmp_path, archive(members))
    assert status == 0, said
    assert left == sorted(name for name, _ in members[1:])
    for name, data in members[1:]:
        path = tmp_path / "data" / name
        assert path.read_bytes() == data
        of_site = layout.is_of_site(name)
        assert path.stat().st_mode & 0o777 == (0o644 if of_site else 0o600)
        for folder in path.relative_to(tmp_path / "data").parents[:-1]:
            mode = (tmp_path / "data" / folder).stat().st_mode & 0o777
            assert mode == (0o755 if of_site else 0o700), folder
        assert path.stat().st_mtime == 1_700_000_000


def test_an_archive_is_a_tar_file_with_sums(tmp_path: Path) -> None:
    """Any tar can read it, and its sums are those that sha256sum makes."""
    data = archive([description(), (f"assets/{ACCOUNT}/ab/{'ab' * 16}-{'x' * 150}", b"site")])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        assert names[-1] == layout.SUMS
        content = tar.extractfile(layout.SUMS)
        assert content is not None
        lines = content.read().decode().splitlines()
    assert [line.partition("  ")[2] for line in lines] == names[:-1]
    assert lines[1].startswith(hashlib.sha256(b"site").hexdigest())


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/evil",
        "bundles/../../evil",
        f"bundles/ab/cd{'0' * 62}",
        "bundles/ab",
        f"state/{ACCOUNT}/objects/../../../evil",
        f"state/{ACCOUNT}/objects/.hidden",
        f"state/{ACCOUNT}/objects/",
        f"state/{ACCOUNT}/objects//x",
        f"state/{ACCOUNT}/objects/a\nb",
        f"state/{ACCOUNT}/objects/a\0b",
        "state/short/objects/x.sqlite",
        "faas.db\n",
        "faas.db-wal",
        "run/api",
        "daemon.lock",
        "authorized_keys",
        "x" * 2000,
        "",
    ],
)
def test_a_name_that_no_backup_has_is_refused(name: str, tmp_path: Path) -> None:
    """Nothing is restored from an archive with one such name in it, wherever it stands."""
    info = tarfile.TarInfo(name)
    first, content = description()
    data = by_tarfile(
        [(tarfile.TarInfo(first), content), (info, b"evil")], format=tarfile.PAX_FORMAT
    )
    status, said, left = restore(tmp_path, data)
    assert (status, left) == (1, [])
    assert "nothing was restored" in said


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE, b"Z",
    ],
)  # fmt: skip
def test_only_files_are_taken(kind: bytes, tmp_path: Path) -> None:
    """Links, folders, devices, sparse files and headers of other formats are refused."""
    info = tarfile.TarInfo(f"state/{ACCOUNT}/objects/kv/a.sqlite")
    info.type, info.linkname = kind, "/etc/passwd"
    head, content = description()
    begin = archive([(head, content)])[: 512 + 512]
    status, said, left = restore(tmp_path, begin + info.tobuf() + bytes(1024))
    assert (status, left) == (1, [])
    assert "nothing was restored" in said


def test_a_header_of_any_size_is_not_read_into_memory(tmp_path: Path) -> None:
    """An extended header that says it has gigabytes is refused at once."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 5 << 30
    status, said, _ = restore(tmp_path, info.tobuf() + bytes(1 << 20))
    assert status == 1
    assert "extended header" in said


def test_a_file_larger_than_the_disk_is_refused_before_it_is_written(tmp_path: Path) -> None:
    """A declared size that does not fit is refused, and the disk is not filled."""
    info = tarfile.TarInfo(f"state/{ACCOUNT}/objects/kv/a.sqlite")
    info.size = 1 << 60
    begin = archive([description()])[: 512 + 512]
    header = info.tobuf(tarfile.GNU_FORMAT)
    status, said, left = restore(tmp_path, begin + header + bytes(1 << 20))
    assert (status, left) == (1, [])
    assert "does not fit on the disk" in said


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """The second file of one name is refused, and so is one below another file."""
    name = f"state/{ACCOUNT}/objects/kv"
    for second in (name, f"{name}/below"):
        status, _, left = restore(tmp_path, archive([description(), (name, b"1"), (second, b"2")]))
        assert (status, left) == (1, [])


def test_a_bundle_must_be_what_its_name_says(tmp_path: Path) -> None:
    """Code under another digest than its own is refused, even with right sums."""
    name = f"bundles/ab/ab{'0' * 62}"
    status, said, left = restore(tmp_path, archive([description(), (name, b"code")]))
    assert (status, left) == (1, [])
    assert "is damaged" in said


def test_a_newer_backup_is_refused(tmp_path: Path) -> None:
    """A newer format, and a catalog with a newer schema, are refused by name."""
    newer = description(format=layout.FORMAT + 1, release="99.1")
    status, said, _ = restore(tmp_path, archive([newer]))
    assert status == 1
    assert "newer release (99.1)" in said
    with closing(connect(tmp_path / "data" / "made")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA user_version = 9999")
    future = (tmp_path / "data" / "made").read_bytes()
    (tmp_path / "data" / "made").unlink()
    status, said, left = restore(tmp_path, archive([description(), (layout.CATALOG, future)]))
    assert (status, left) == (1, [])
    assert "schema 9999" in said


@pytest.mark.parametrize("wrong", [b"", b"hello", b"\0" * 2048, b"\x1f\x8b\x08broken"])
def test_what_is_no_archive_is_refused(wrong: bytes, tmp_path: Path) -> None:
    """Neither nothing nor something else is taken for a backup."""
    status, said, left = restore(tmp_path, wrong)
    assert (status, left) == (1, [])
    assert "nothing was restored" in said


def test_a_catalog_that_is_none_is_refused(tmp_path: Path) -> None:
    """A catalog must be there, an SQLite file, and whole."""
    good = catalog(tmp_path)
    for members in (
        [description()],
        [description(), (layout.CATALOG, b"not SQLite")],
        [description(), (layout.CATALOG, good[:8192])],
    ):
        status, _, left = restore(tmp_path, archive(members))
        assert (status, left) == (1, [])


def test_a_catalog_without_tables_is_refused(tmp_path: Path) -> None:
    """A database that never was a catalog is none."""
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE t (a)")
    other = (tmp_path / "other").read_bytes()
    (tmp_path / "other").unlink()
    status, said, left = restore(tmp_path, archive([description(), (layout.CATALOG, other)]))
    assert (status, left) == (1, [])
    assert "catalog is damaged" in said


BITS = archive([description(), (f"state/{ACCOUNT}/objects/kv/a", os.urandom(700))])


@given(st.integers(min_value=0, max_value=len(BITS) - 1025), st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(place: int, bit: int) -> None:
    """Wherever a bit of the contents or the names is another one, the archive is refused."""
    flipped = bytearray(BITS)
    flipped[place] ^= 1 << bit
    try:
        members = [(m.name, m.read(m.size)) for m in ArchiveReader(io.BytesIO(bytes(flipped)))]
    except Unacceptable:
        return
    # What neither a name nor content hangs on: owner, mode, padding.
    whole = [(m.name, m.read(m.size)) for m in ArchiveReader(io.BytesIO(BITS))]
    assert members == whole


@given(st.integers(min_value=0, max_value=len(BITS) - 1537))
def test_no_archive_that_was_cut_off_is_taken(length: int) -> None:
    """Without its sums it is not whole, packed or not."""
    for cut in (BITS[:length], gzip.compress(BITS, mtime=0)[: length // 4]):
        file: Any = io.BytesIO(cut)
        if cut.startswith(b"\x1f\x8b"):
            file = gzip.GzipFile(fileobj=file)
        with pytest.raises(Unacceptable):
            for member in ArchiveReader(file):
                while not member.whole:
                    member.read(100)
