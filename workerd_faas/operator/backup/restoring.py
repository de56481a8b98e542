"""
Putting a backup into an empty `DATA_DIR`.

It is unpacked into a folder there, and only when all of it is on the disk and right is it moved to
its place, the catalog last. While the folder is there no daemon starts.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.directories import DataDirectory
from workerd_faas.domain.errors import Problem
from workerd_faas.operator.backup import layout
from workerd_faas.operator.backup.archive import CHUNK, ArchiveReader, Member
from workerd_faas.operator.backup.layout import Unacceptable
from workerd_faas.operator.backup.progress import Progress
from workerd_faas.store import assets, keyfile
from workerd_faas.store.durable import OWN_DIRECTORY, make_directory, sync_directory
from workerd_faas.store.lock import DirectoryLock
from workerd_faas.store.rotation import SEALED
from workerd_faas.store.schema import SCHEMA
from workerd_faas.store.vault import FernetVault

_SQLITE: Final = b"SQLite format 3\0"
_RESERVE: Final = 64 << 20
"""Bytes that are left free on the disk."""

_BEFOREHAND: Final = {"daemon.lock", "lost+found", "run", "run.path", *layout.KEYS}
"""What may be in an empty `DATA_DIR`."""


class NotEmpty(Exception):
    """
    There is something in the directory.
    """


class KeyMissing(Exception):
    """
    The key of the secrets is not there.
    """


@attrs.define(kw_only=True)
class Contents:
    """
    What an archive has.

    Attributes:
        description: Its `backup.json`.
        secrets: How many secrets of functions there are.
        unreadable: How many of them no key that is there can decrypt.
        keys: Names of the key files in it.
    """

    description: dict[str, Any] = attrs.Factory(dict)
    files: int = 0
    bytes: int = 0
    accounts: set[str] = attrs.Factory(set)
    secrets: int = 0
    unreadable: int = 0
    keys: list[str] = attrs.Factory(list)

    def count(self, member: Member) -> None:
        """
        Add a member.
        """
        self.files += 1
        self.bytes += member.size
        if member.name.startswith("state/"):
            self.accounts.add(member.name.split("/")[1])
        if member.name in layout.KEYS:
            self.keys.append(member.name)


def examine(reader: ArchiveReader, progress: Progress) -> Contents:
    """
    Read all of an archive and keep nothing.

    Raises:
        Unacceptable: it is damaged, or no backup.
    """
    contents = Contents()
    for member in _members(reader, contents):
        progress.step(member.name)
        while not member.whole:
            progress.wrote(len(member.read(CHUNK)))
        _check_digest(member)
    return contents


@attrs.define(kw_only=True, eq=False)
class Restore:
    """
    Attributes:
        given_keys: The keys for secrets that the daemon will have been given; None: those in
            `DATA_DIR`.
        without_key: Go on when secrets cannot be decrypted.
    """

    data: DataDirectory
    reader: ArchiveReader
    progress: Progress
    given_keys: Sequence[str] | None
    without_key: bool
    contents: Contents = attrs.Factory(Contents)

    def run(self) -> Contents:
        """
        Do it all.

        Raises:
            NotEmpty: there is something in `DATA_DIR`; nothing was changed.
            AlreadyRunning: a daemon uses it.
            Unacceptable, KeyMissing: nothing was restored.
            OSError: something could not be written; nothing was restored.
        """
        lock = DirectoryLock(self.data.path)
        lock.acquire()
        try:
            self._begin()
            try:
                self._unpack()
                self._check()
                self._sync(self._folder)
            except BaseException:
                shutil.rmtree(self._folder)
                sync_directory(self.data.path)
                raise
            self._move()
        finally:
            lock.release()
        return self.contents

    @property
    def _folder(self) -> Path:
        return self.data.restoring

    def _begin(self) -> None:
        if self._folder.is_dir():
            # A restore that was killed: whatever there is, it put there.
            for entry in self.data.path.iterdir():
                if entry.name not in _BEFOREHAND:
                    _remove(entry)
        found = sorted({entry.name for entry in self.data.path.iterdir()} - _BEFOREHAND)
        if found:
            raise NotEmpty(
                f"{self.data.path} is not empty ({', '.join(found[:3])} …): a backup is restored "
                "into an empty directory only. Move these away, or give another DATA_DIR."
            )
        make_directory(self._folder)

    def _unpack(self) -> None:
        for member in _members(self.reader, self.contents):
            self.progress.step(member.name)
            space = shutil.disk_usage(self._folder)
            if member.size > space.free - _RESERVE:
                raise Unacceptable(f"{member.name} ({member.size} bytes) does not fit on the disk")
            self._write(member)
            _check_digest(member)
        if not (self._folder / layout.CATALOG).exists():
            raise Unacceptable("there is no catalog in it")

    def _write(self, member: Member) -> None:
        path = self._folder / member.name
        of_site = layout.is_of_site(member.name)
        make_directory(path.parent, assets.FOLDER if of_site else OWN_DIRECTORY)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise Unacceptable(f"{member.name} is in it twice") from None
        except NotADirectoryError:
            raise Unacceptable(f"{member.name} is below a file") from None
        with os.fdopen(descriptor, "wb") as file:
            first = True
            while not member.whole:
                chunk = member.read(CHUNK)
                if first and layout.is_database(member.name) and not chunk.startswith(_SQLITE):
                    raise Unacceptable(f"{member.name} is no database")
                first = False
                file.write(chunk)
                self.progress.wrote(len(chunk))
        if of_site:
            # Cells that are users of their own read them.
            path.chmod(assets.FILE)
        # The sweeping of files of sites goes by their age.
        os.utime(path, (member.modified, member.modified))

    # The catalog and the keys.

    def _check(self) -> None:
        path = self._folder / layout.CATALOG
        newest = SCHEMA[-1].version
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("PRAGMA trusted_schema = OFF")
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                (schema,) = connection.execute("PRAGMA user_version").fetchone()
                if found != "ok" or not schema:
                    raise Unacceptable(f"its catalog is damaged ({found})")
                if schema > newest:
                    raise Unacceptable(
                        f"it is of a newer release (schema {schema}, this one knows up to "
                        f"{newest}): install that one"
                    )
                self._check_secrets(connection)
        except sqlite3.Error as error:
            raise Unacceptable(f"its catalog is damaged ({error})") from error

    def _check_secrets(self, connection: sqlite3.Connection) -> None:
        keys = self._keys()
        vault = FernetVault(lambda: keys)
        for table, column in SEALED:
            for id_, sealed in connection.execute(f"SELECT id, {column} FROM {table}"):
                self.contents.secrets += 1
                try:
                    if not keys:
                        self.contents.unreadable += 1
                    else:
                        vault.open(id_, sealed)
                except Problem:
                    self.contents.unreadable += 1
        if self.contents.unreadable and not self.without_key:
            raise KeyMissing(
                f"{self.contents.unreadable} of {self.contents.secrets} secrets of functions "
                "cannot be decrypted: their key is not here. Put the file secrets-key of the old "
                f"DATA_DIR into {self.data.path}, or give SECRETS_KEY or SECRETS_KEY_FILE as the "
                "daemon has it; or give these secrets up with --without-key."
            )

    def _keys(self) -> Sequence[str]:
        for name in layout.KEYS:
            there, new = self.data.path / name, self._folder / name
            if there.exists() and new.exists() and there.read_bytes() != new.read_bytes():
                raise KeyMissing(f"{there} is another one than in the backup: move one away")
        if self.given_keys is not None:
            return self.given_keys
        for folder in (self._folder, self.data.path):
            if (folder / layout.SECRETS_KEY).exists():
                return keyfile.read_keys(folder / layout.SECRETS_KEY)
        return ()

    # To its place.

    def _sync(self, folder: Path) -> None:
        self.progress.step("writing to the disk")
        os.sync()  # All at once is quicker; each by itself tells of errors.
        for place, _, names in os.walk(folder):
            for name in names:
                descriptor = os.open(Path(place) / name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            sync_directory(Path(place))
        sync_directory(self.data.path)

    def _move(self) -> None:
        for entry in sorted(self._folder.iterdir(), key=lambda path: path.name == layout.CATALOG):
            entry.rename(self.data.path / entry.name)
        sync_directory(self.data.path)
        self._folder.rmdir()
        sync_directory(self.data.path)


def _members(reader: ArchiveReader, contents: Contents) -> Any:
    """
    The files to restore; the description is checked and left out.

    Raises:
        Unacceptable: the archive is not one of ours.
    """
    members = iter(reader)
    first = next(members, None)
    if first is None or first.name != layout.DESCRIPTION or first.size > layout.MAX_DESCRIPTION:
        raise Unacceptable("it is no backup of workerd-faas")
    contents.description = _description(first.read(first.size))
    for member in members:
        layout.check_name(member.name)
        contents.count(member)
        yield member


def _description(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
        number = int(found["format"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unacceptable("it is no backup of workerd-faas") from None
    if number > layout.FORMAT:
        release = str(found.get("release"))[:40]
        raise Unacceptable(f"it is of a newer release ({release}): install that one")
    description: dict[str, Any] = found
    return description


def _check_digest(member: Member) -> None:
    expected = layout.digest_in(member.name)
    if expected is not None and member.digest != expected:
        raise Unacceptable(f"{member.name} is damaged")


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        with suppress(FileNotFoundError):
            entry.unlink()
