"""The time of day changes under a real cell."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from tests.runtime.support import RealCase, code, workerd
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.options import FleetOptions
from workerd_faas.runtime.walls import Walls

SHIM = Path(__file__).parents[1] / "e2e" / "fault_shim.c"
WRAPPER = """
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  setenv("LD_PRELOAD", "%(shim)s", 1);
  setenv("FAULTS", "%(faults)s", 1);
  return execv("%(workerd)s", argv);
}
"""
TALKER = "export default { fetch() { console.log('hello'); return new Response('ok') } }"


class ClockTests(RealCase):
    """
    A cell whose clock the test sets.
    """

    def setUp(self) -> None:
        """
        A workerd that is started with the shim.
        """
        super().setUp()
        compiler = shutil.which("cc")
        if compiler is None:
            raise unittest.SkipTest("there is no C compiler")
        self.tools = self.directory.with_name(self.directory.name + "-tools")
        self.tools.mkdir()
        self.addCleanup(shutil.rmtree, self.tools)
        self.faults = self.tools / "faults"
        self.faults.touch()
        shim = self.tools / "shim.so"
        self.compiled(compiler, SHIM, shim, "-shared", "-fPIC")
        source = self.tools / "workerd.c"
        paths = {"shim": shim, "faults": self.faults, "workerd": workerd()}
        source.write_text(WRAPPER % paths, "utf-8")
        self.binary = self.tools / "workerd"
        self.compiled(compiler, source, self.binary)

    def compiled(self, compiler: str, source: Path, target: Path, *options: str) -> None:
        """
        A program or library of one file.
        """
        subprocess.run([compiler, *options, "-o", target, source, "-ldl"], check=True)

    async def fleet(self, bwrap: Path | None = None, **options: Any) -> Fleet:
        """
        As in `RealCase`, with our workerd and no walls: it reads the shim's files.
        """
        fleet = Fleet(
            reactor=self.reactor,
            binary=self.binary,
            directory=self.directory,
            loader=self.loader,
            events=self.events,
            targets=self.targets,
            walls=Walls(landlock=False, seccomp=False),
            options=FleetOptions(**options),
        )
        await fleet.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(fleet.stop()))
        return fleet

    async def test_an_hour_back(self) -> None:
        """
        When the clock is set back by an hour, what functions say is still reported, and a version
        that did not start is tried again.
        """
        self.loader.versions = {"v": code(TALKER), "w": code("throw new Error('not yet')")}
        upstream = await self.ready(await self.fleet())
        self.assertEqual((await self.client.get(upstream, "v")).text, "ok")
        self.assertEqual((await self.client.get(upstream, "w")).status, 500)
        await self.until(lambda: len(self.events.traces) == 2)
        self.loader.versions["w"] = code(TALKER)
        self.faults.write_text("clock=-3600", "ascii")
        self.assertEqual((await self.client.get(upstream, "w")).text, "ok")
        self.assertEqual((await self.client.get(upstream, "v")).text, "ok")
        await self.until(lambda: len(self.events.traces) == 4)
        self.assertEqual(self.events.losses, [])
