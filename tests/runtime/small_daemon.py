"""
A daemon of nothing but a fleet and the upload check, to be killed by a test.

Prints the pids of its cells on one line, then runs on.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.runtime.support import (
    ACCOUNT,
    MemoryLoader,
    MemoryTargets,
    RecordingEvents,
    code,
    workerd,
)
from workerd_faas import reactor
from workerd_faas.domain.routing import Route
from workerd_faas.runtime.check import CheckCells
from workerd_faas.runtime.fleet import Fleet


async def _run(chosen: Any, directory: Path) -> None:
    loader = MemoryLoader({"v": code("export default { fetch() { for (;;); } }")})
    (directory / "f").mkdir(exist_ok=True)
    (directory / "k").mkdir(exist_ok=True)
    fleet = Fleet(
        reactor=chosen,
        binary=workerd(),
        directory=directory / "f",
        loader=loader,
        events=RecordingEvents(),
        targets=MemoryTargets(),
    )
    checks = CheckCells(reactor=chosen, binary=workerd(), directory=directory / "k")
    await fleet.start()
    await checks.start()
    told: Deferred[Any] = Deferred()
    fleet.when_ready(Route(ACCOUNT, "fn", "v"), told.callback)
    await told
    while checks.spare_pid is None:
        pause: Deferred[None] = Deferred()
        chosen.callLater(0.02, pause.callback, None)
        await pause
    print(fleet.status().cells[0].pid, checks.spare_pid, flush=True)


def main() -> None:
    """
    `python -m tests.runtime.small_daemon DIRECTORY`
    """
    chosen = reactor.install()
    directory = Path(sys.argv[1])

    def failed(failure: Failure) -> None:
        failure.printTraceback()
        chosen.stop()

    def begin() -> None:
        Deferred.fromCoroutine(_run(chosen, directory)).addErrback(failed)

    chosen.callWhenRunning(begin)
    chosen.run()


if __name__ == "__main__":
    main()
