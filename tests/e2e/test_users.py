"""Daemons that may become other users, that may not any more, and in bubblewrap."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.e2e.daemon import BIN, Daemon, directory, running, until, workerds_of
from workerd_faas.runtime.walls import find_bubblewrap, try_bubblewrap

NOBODY: Final = 65534
CAPABILITIES: Final = "+chown,+dac_override,+kill,+setgid,+setuid"

COUNT = """
export default { async fetch(request, env) {
  const count = Number(await env.KV.get("count") ?? 0) + 1;
  await env.KV.put("count", String(count));
  return new Response(String(count));
} };
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@attrs.define
class Unprivileged(Daemon):
    """
    A daemon of the user nobody, with exactly the capabilities that other users take.
    """

    def launch(self) -> "subprocess.Popen[bytes]":
        """
        See `Daemon`.
        """
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                    f"--inh-caps=-all,{CAPABILITIES}", f"--ambient-caps=-all,{CAPABILITIES}",
                    f"--bounding-set=-all,{CAPABILITIES}",
                    BIN / "twistd", "-n", "--pidfile=", "workerd-faas",
                ],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self.process


def deploy(daemon: Daemon) -> None:
    """
    A function that counts in a KV namespace.
    """
    made = daemon.api("POST", "/storage/kv/namespaces", {"title": "counts"}).result
    binding = {"type": "kv_namespace", "name": "KV", "namespace_id": made["id"]}
    daemon.upload("count", COUNT, bindings=[binding])


def users(daemon: Daemon) -> set[int]:
    """
    Whose the cells' processes are.
    """
    return {Path(f"/proc/{pid}").stat().st_uid for pid in workerds_of(daemon)}


def test_a_daemon_that_is_not_root() -> None:
    """
    With five capabilities and no more, a daemon's cells are users of their own; functions and what
    they keep work, cells end when it stops, and none is left when it is killed.
    """
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    with directory() as path:
        daemon = Unprivileged(path)
        try:
            daemon.start()
            deploy(daemon)
            assert [daemon.function("count").text for _ in range(3)] == ["1", "2", "3"]
            assert len(users(daemon)) >= 3  # of check cells, a function cell, the state cells
            assert {0, NOBODY}.isdisjoint(users(daemon))
            assert daemon.stop() == 0
            assert workerds_of(daemon) == []
            daemon.start()
            assert daemon.function("count").text == "4"
            daemon.kill()
            until(lambda: not workerds_of(daemon), "no workerd is left behind")
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


def test_users_may_change() -> None:
    """
    What functions keep is there whoever the cells are from one start to the next.
    """
    with running() as daemon:
        deploy(daemon)
        assert daemon.function("count").text == "1"
        for number, given in enumerate(("none", "300000-300100", "auto"), 2):
            assert daemon.stop() == 0
            daemon.settings["CELL_UIDS"] = given
            daemon.start()
            assert daemon.function("count").text == str(number)
            found = users(daemon)
            if given == "none":
                assert found == {0}
            elif given != "auto":
                assert all(300_000 <= uid <= 300_100 for uid in found)
            else:
                assert all(uid >= 1_900_000_000 for uid in found)


def test_everything_in_bubblewrap() -> None:
    """
    With `SANDBOX=bwrap` functions and what they keep work, a check finds what does not load, and a
    kill of the daemon leaves nothing.
    """
    program = find_bubblewrap()
    if program is None or try_bubblewrap(program):
        pytest.skip("bubblewrap does not work here")
    with running(SANDBOX="bwrap") as daemon:
        deploy(daemon)
        assert [daemon.function("count").text for _ in range(2)] == ["1", "2"]
        assert daemon.upload("broken", "throw new Error('at start')").status == 400
        daemon.kill()
        until(lambda: not workerds_of(daemon), "no workerd is left behind")
        daemon.start()
        assert daemon.function("count").text == "3"
        assert daemon.stop() == 0
        assert workerds_of(daemon) == []
