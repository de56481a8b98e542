"""What the kernel says of real cells: whose they are, what they hold, what they may."""

import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.runtime.support import ACCOUNT, OTHER, RealCase, code, walls, workerd
from workerd_faas.domain.routing import Route
from workerd_faas.runtime import seccomp
from workerd_faas.runtime.check import CheckCells
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.process import CONFIG_FD, MIB, RESERVED_DATA
from workerd_faas.runtime.walls import find_bubblewrap, try_bubblewrap

HELLO = "export default { fetch() { return new Response('hello') } }"


def status(pid: int) -> dict[str, str]:
    """
    `/proc/PID/status` by name.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limits(pid: int) -> dict[str, tuple[str, str]]:
    """
    `/proc/PID/limits`: soft and hard by name.
    """
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def open_files(pid: int) -> list[str]:
    """
    What the descriptors of a process are.
    """
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return found


class WallTests(RealCase):
    """
    Looked at from outside, through /proc.
    """

    timeout = 120

    async def a_cell(self, fleet: Fleet, account: str = ACCOUNT) -> int:
        """
        The pid of a cell that has answered.
        """
        self.loader.versions["v"] = code(HELLO)
        upstream = await self.ready(fleet, Route(account, "fn", "v"))
        reply = await self.client.get(upstream, "v")
        self.assertEqual(reply.text, "hello")
        (pid,) = (c.pid for c in fleet.status().cells if upstream.label == c.label)
        assert pid is not None
        return pid

    def check_walls(self, pid: int, *, uid: Any = None) -> None:
        """
        What holds for every kind of cell.
        """
        seen = status(pid)
        self.assertEqual(seen["NoNewPrivs"], "1")
        self.assertEqual(seen["Seccomp"], "2" if seccomp.available() else "0")
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
            if kind != "CapBnd" or os.geteuid() == 0:
                self.assertEqual(int(seen[kind], 16), 0, kind)
        self.assertEqual(Path(f"/proc/{pid}/environ").read_bytes(), b"")
        held = limits(pid)
        self.assertEqual(held["Max core file size"], ("0", "0"))
        self.assertEqual(held["Max open files"][0], held["Max open files"][1])
        self.assertLessEqual(int(held["Max open files"][1]), 16384)
        self.assertLessEqual(int(held["Max processes"][1]), 8192)
        self.assertGreaterEqual(int(held["Max data size"][1]), RESERVED_DATA + 128 * MIB)
        ours = int(Path("/proc/self/oom_score_adj").read_text())
        self.assertGreater(int(Path(f"/proc/{pid}/oom_score_adj").read_text()), ours)
        if walls().uids is not None:
            users = {int(word) for word in seen["Uid"].split() + seen["Gid"].split()}
            self.assertEqual(len(users), 1, seen)
            self.assertNotIn(os.geteuid(), users)
            self.assertEqual(seen["Groups"], "")

    async def test_a_function_cell(self) -> None:
        """
        No capability in any set, nothing in the environment, limits, a user of its own, and its own
        directory, in which there is nothing of anybody else.
        """
        fleet = await self.fleet(memory=128 * MIB)
        pid = await self.a_cell(fleet)
        self.check_walls(pid)
        own = Path(f"/proc/{pid}/cwd").readlink()
        self.assertEqual(own.parent, self.directory)
        self.assertEqual(sorted(p.name for p in own.iterdir()), ["d", "h"])
        self.assertEqual(stat.S_IMODE(own.stat().st_mode), 0o700)

    async def test_nothing_is_inherited(self) -> None:
        """
        Of the files, sockets and pipes that the daemon has open, a cell has none but the two pipes
        on which it is listened to.
        """
        secret = (self.directory / "secret").open("w")
        self.addCleanup(secret.close)
        os.set_inheritable(secret.fileno(), True)
        listening = self.reactor.listenTCP(0, _Nobody())
        self.addCleanup(listening.stopListening)
        os.set_inheritable(listening.fileno(), True)
        pid = await self.a_cell(await self.fleet())
        theirs, ours = open_files(pid), open_files(os.getpid())
        shared = {name for name in theirs if name in ours and not name.startswith("anon_inode:")}
        pipes = {name for name in shared if name.startswith("pipe:")}
        self.assertEqual(shared - pipes - {"/dev/null"}, set())
        self.assertLessEqual(len(pipes), 2)
        config = f"/proc/{pid}/fd/{CONFIG_FD}"
        self.assertEqual(os.readlink(config), "/memfd:workerd.capnp (deleted)")  # noqa: PTH115
        files = {name for name in theirs if name.startswith("/") and name != "/dev/null"}
        files.discard(os.readlink(config))  # noqa: PTH115
        self.assertLessEqual(files, {"/", str(Path(f"/proc/{pid}/cwd").readlink())})

    async def test_cells_are_different_users(self) -> None:
        """
        No two cells that live at a time are the same user, and a user comes back only when its cell
        is gone.
        """
        if walls().uids is None:
            self.skipTest("this process may not become other users")
        fleet = await self.fleet()
        first, second = await self.a_cell(fleet), await self.a_cell(fleet, OTHER)
        self.assertNotEqual(status(first)["Uid"], status(second)["Uid"])

    async def test_a_check_cell(self) -> None:
        """
        The process that checks uploads is held in the same way.
        """
        checks = CheckCells(
            reactor=self.reactor, binary=workerd(), directory=self.directory, walls=walls()
        )
        await checks.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(checks.stop()))
        await self.until(lambda: checks.spare_pid)
        assert checks.spare_pid is not None
        self.check_walls(checks.spare_pid)
        await checks.check("fn", code(HELLO))

    async def test_in_bubblewrap(self) -> None:
        """
        In bubblewrap a cell is held as without, in namespaces of its own, and is replaced, stopped
        and counted as without.
        """
        program = find_bubblewrap()
        if program is None or try_bubblewrap(program):
            self.skipTest("bubblewrap does not work here")
        fleet = await self.fleet(bwrap=program)
        pid = await self.a_cell(fleet)
        self.check_walls(pid)
        for space in ("pid", "ipc", "uts", "mnt"):
            inside = Path(f"/proc/{pid}/ns/{space}").readlink()
            self.assertNotEqual(inside, Path(f"/proc/self/ns/{space}").readlink())
        self.assertNotIn("home", os.listdir(f"/proc/{pid}/root"))  # noqa: PTH208
        self.assertIn(b"serve", Path(f"/proc/{pid}/cmdline").read_bytes())
        await fleet.replace(ACCOUNT)
        self.assertNotEqual(await self.a_cell(fleet), pid)
        await self.until(lambda: len(fleet.status().cells) == 1)
        self.assertEqual(fleet.status().crashed, 0)


class _Nobody:
    """
    A factory that takes no connection.
    """

    noisy = False

    def doStart(self) -> None:
        """
        See IProtocolFactory.
        """

    def doStop(self) -> None:
        """
        See IProtocolFactory.
        """

    def buildProtocol(self, _address: Any) -> None:
        """
        See IProtocolFactory.
        """
