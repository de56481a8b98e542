"""Starting a process, without one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs

from workerd_faas.runtime.process import Exit, Launch, spawn


@attrs.define
class ReaperOfItsOwn:
    """
    A reactor whose children have ended, and are reaped, before it says that they have begun: as
    Twisted does on a busy machine with one that ends at once.
    """

    def spawnProcess(self, *args: Any, **more: Any) -> Any:
        """
        Nobody to wait for.
        """
        return SimpleNamespace(pid=None)

    def seconds(self) -> float:
        """
        It does not matter.
        """
        return 0.0


class Owner:
    """
    Is told nothing here.
    """

    def process_listening(self, socket: str) -> None:
        """
        Never.
        """
        raise AssertionError(socket)

    def process_said(self, line: str) -> None:
        """
        Never.
        """
        raise AssertionError(line)

    def process_ended(self, how: Exit) -> None:
        """
        Later, when its pipes are closed.
        """
        raise AssertionError(how)


def test_one_that_ends_while_it_is_started(tmp_path: Path) -> None:
    """
    A process that has been reaped already is started like any other: its end is told by its pipes.
    """
    launch = Launch(binary=tmp_path / "no", directory=tmp_path, memory=1, connect=False)
    assert spawn(ReaperOfItsOwn(), launch, "", Owner()).pid is None
