"""What ends a command: a message, what to do next, and a stable exit status."""

import enum
from collections.abc import Iterable

from workerd_faas.cli.terminal import labelled, note


class Exit(enum.IntEnum):
    """
    Exit statuses. Scripts rely on them: they never change their meaning.
    """

    OK = 0
    REFUSED = 1
    USAGE = 2
    LOGIN = 3
    PROJECT = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class Failure(Exception):
    """
    An expected failure.

    Attributes:
        message: What is wrong.
        hint: The next step, if there is one.
        details: Further lines, shown indented below the message.
        exit_status: How the process ends.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Iterable[str] = (),
        status: Exit = Exit.REFUSED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)
        self.exit_status = status

    def show(self) -> None:
        """
        Print it to standard error.
        """
        labelled("error:", "red", self.message)
        for line in self.details:
            note(f"  {line}")
        if self.hint is not None:
            labelled("next:", "cyan", self.hint)


def usage(message: str, hint: str | None = None) -> Failure:
    """
    A command line that cannot be meant.
    """
    return Failure(message, hint=hint, status=Exit.USAGE)


def project_failure(
    message: str, *, hint: str | None = None, details: Iterable[str] = ()
) -> Failure:
    """
    The project's configuration or sources are wrong.
    """
    return Failure(message, hint=hint, details=details, status=Exit.PROJECT)
