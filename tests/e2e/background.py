"""A program that runs beside a test and whose output the test reads while it comes."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.e2e.daemon import PATIENCE, until


@attrs.define
class Background:
    """
    A running program.
    """

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path

    @property
    def printed(self) -> str:
        """
        Its standard output so far.
        """
        return self.output.read_text("utf-8", "replace")

    @property
    def said(self) -> str:
        """
        Its standard error so far.
        """
        return self.errors.read_text("utf-8", "replace")

    def until_printed(self, text: str, times: int = 1) -> str:
        """
        Wait until its output or errors have this text; returns all of the output.
        """

        def there() -> bool:
            return (self.printed + self.said).count(text) >= times

        until(lambda: there() or self.process.poll() is not None, f"{text!r} is printed")
        assert there(), f"it ended without printing {text!r}: {self.printed}{self.said}"
        return self.printed

    def documents(self) -> list[Any]:
        """
        The JSON documents on its standard output, one after the other.
        """
        decoder, found = json.JSONDecoder(), []
        text = self.printed.lstrip()
        while text:
            try:
                document, end = decoder.raw_decode(text)
            except json.JSONDecodeError:  # half of one
                break
            found.append(document)
            text = text[end:].lstrip()
        return found

    def until_documents(self, count: int) -> list[Any]:
        """
        Wait until there are so many, and return them.
        """
        until(lambda: len(self.documents()) >= count, f"{count} documents are printed")
        return self.documents()

    def interrupt(self) -> int:
        """
        Ctrl-C; returns the exit status.
        """
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def background(
    arguments: Sequence[str | Path],
    *,
    directory: Path,
    environment: Mapping[str, str],
    name: str = "program",
) -> Iterator[Background]:
    """
    Start a program, and kill it at the end if it still runs.
    """
    output, errors = directory / f"{name}.out", directory / f"{name}.err"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            arguments,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    try:
        yield Background(process, output, errors)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)
