"""
A tar file (POSIX pax) that ends with the SHA-256 of everything in it, written and read once from
the beginning to the end, so that it may come from a pipe and go into one.

The reader is our own, on `TarInfo.frombuf`: the one in `tarfile` reads extended headers of any size
into memory, and knows links, devices and sparse files, which no backup has.
"""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, Protocol

import attrs

from workerd_faas.operator.backup.layout import SUMS, Unacceptable

BLOCK: Final = tarfile.BLOCKSIZE
CHUNK: Final = 1 << 20
MAX_EXTENDED: Final = 16 << 10
"""Bytes of an extended header: a long name, a size, a time."""


class Source(Protocol):
    """
    What a member's content is read from.
    """

    def read(self, size: int, /) -> bytes:
        """
        At most so many bytes; none at the end.
        """


@attrs.define
class ArchiveWriter:
    """
    Attributes:
        wrote: Told of every so many bytes.
        files: How many members there are so far.
        bytes: How many bytes they have.
    """

    _file: BinaryIO
    wrote: Callable[[int], None] = lambda count: None
    files: int = 0
    bytes: int = 0
    _sums: list[str] = attrs.Factory(list)

    def add(self, name: str, source: Source, size: int, modified: int) -> str:
        """
        Put `size` bytes of `source` into it; returns their SHA-256.

        Raises:
            EOFError: there are fewer.
        """
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, modified, 0o600
        self._file.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        digest = hashlib.sha256()
        left = size
        while left:
            chunk = source.read(min(CHUNK, left))
            if not chunk:
                raise EOFError(f"{name} became shorter while it was copied")
            digest.update(chunk)
            self._file.write(chunk)
            self.wrote(len(chunk))
            left -= len(chunk)
        self._file.write(bytes(-size % BLOCK))
        self.files += 1
        self.bytes += size
        self._sums.append(f"{digest.hexdigest()}  {name}\n")
        return digest.hexdigest()

    def finish(self, modified: int) -> None:
        """
        Write the sums and the end.
        """
        text = "".join(self._sums).encode()
        info = tarfile.TarInfo(SUMS)
        info.size, info.mtime, info.mode = len(text), modified, 0o600
        self._file.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        self._file.write(text + bytes(-len(text) % BLOCK) + bytes(2 * BLOCK))


@attrs.define
class Member:
    """
    A regular file in an archive, to be read before the next one.
    """

    name: str
    size: int
    modified: int
    _reader: "ArchiveReader" = attrs.field(repr=False)
    _left: int = attrs.field(init=False)
    _digest: "hashlib._Hash" = attrs.field(init=False, factory=hashlib.sha256, repr=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.size

    def read(self, size: int, /) -> bytes:
        """
        See `Source`.

        Raises:
            Unacceptable: the archive ends here.
        """
        data = self._reader.exactly(min(size, self._left))
        self._left -= len(data)
        self._digest.update(data)
        return data

    @property
    def digest(self) -> str:
        """
        The SHA-256 of what has been read.
        """
        return self._digest.hexdigest()

    @property
    def whole(self) -> bool:
        """
        Whether all of it has been read.
        """
        return not self._left


@attrs.define
class ArchiveReader:
    """
    Iterates over the members, and is only through when all are what `SHA256SUMS` says.
    """

    _file: Source
    _expected: "hashlib._Hash" = attrs.field(factory=hashlib.sha256, repr=False)
    _expected_size: int = 0

    def __iter__(self) -> Iterator[Member]:
        while True:
            member = self._next()
            if member.name == SUMS:
                self._check(member)
                return
            yield member
            if not member.whole:
                raise ValueError("the member has not been read")
            self.exactly(-member.size % BLOCK)
            line = f"{member.digest}  {member.name}\n".encode()
            self._expected.update(line)
            self._expected_size += len(line)

    def exactly(self, size: int) -> bytes:
        """
        The next bytes of the archive.

        Raises:
            Unacceptable: it ends before them, or is damaged where it is compressed.
        """
        parts = []
        while size:
            try:
                part = self._file.read(size)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise Unacceptable(f"it is damaged ({error})") from error
            if not part:
                raise Unacceptable("it is not whole: its end is missing")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _check(self, member: Member) -> None:
        if member.size != self._expected_size:
            raise Unacceptable("it is damaged: its list of contents is of other files")
        while not member.whole:
            member.read(CHUNK)
        if member.digest != self._expected.hexdigest():
            raise Unacceptable("it is damaged: not every file has its SHA-256")

    def _next(self) -> Member:
        extended: dict[str, str] = {}
        info = self._header()
        if info.type == tarfile.XHDTYPE:
            if not 0 <= info.size <= MAX_EXTENDED:
                raise Unacceptable("there is an extended header in it that no backup has")
            padded = self.exactly(info.size + -info.size % BLOCK)
            extended = _records(padded[: info.size])
            info = self._header()
        if info.type != tarfile.REGTYPE:
            raise Unacceptable(f"there is something else than a file in it: {info.name[:100]!r}")
        try:
            size = int(extended.get("size", info.size))
            modified = float(extended.get("mtime", info.mtime))
            if size < 0 or not 0 <= modified < 1 << 40:
                raise ValueError
        except ValueError:
            raise Unacceptable("there is a header in it that no backup has") from None
        return Member(extended.get("path", info.name), size, int(modified), self)

    def _header(self) -> tarfile.TarInfo:
        block = self.exactly(BLOCK)
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError):
            raise Unacceptable("it is no backup, or it is damaged or not whole") from None


def _records(data: bytes) -> dict[str, str]:
    """
    The records `<length> <keyword>=<value>\\n` of an extended header.

    Raises:
        Unacceptable: it is not made of such records.
    """
    found = {}
    while data:
        head, _, _ = data.partition(b" ")
        try:
            length = int(head)
            record = data[len(head) + 1 : length].decode("utf-8")
        except ValueError:
            length, record = 0, ""
        keyword, equals, value = record.partition("=")
        if not len(head) < length <= len(data) or not equals or not value.endswith("\n"):
            raise Unacceptable("there is an extended header in it that no backup has")
        found[keyword] = value[:-1]
        data = data[length:]
    return found
