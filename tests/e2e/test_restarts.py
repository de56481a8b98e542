"""Cells are replaced while requests go on: by their owners, and by the operator."""

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.daemon import PATIENCE, ROOT, Daemon, running, until, workerds_of
from tests.e2e.load import Load
from tests.e2e.test_lives import says
from workerd_faas.runtime.binary import find

KINDS = {"kept", "fresh", "kv", "streams", "messages", "api"}


def restart(daemon: Daemon, *of: str) -> Any:
    """
    Restart the account's cells, or that of a function.
    """
    path = f"/workers/scripts/{of[0]}/restart" if of else "/workers/cells/restart"
    return daemon.api("POST", path).result


def reload(daemon: Daemon) -> str:
    """
    SIGHUP; returns what the daemon said about it.
    """
    assert daemon.process is not None
    before = len(daemon.log)
    daemon.process.send_signal(signal.SIGHUP)
    over = ("cells replaced", "cells stay as they are")
    until(lambda: any(words in daemon.log[before:] for words in over), "it has reloaded")
    return daemon.log[before:]


def test_no_request_fails_when_cells_are_restarted() -> None:
    """
    Through restarts of all cells and of one function's, no request, stream, WebSocket message or
    call of the API fails, other processes serve afterwards, and the log says who did it.
    """
    with running() as daemon:
        load = Load(daemon)
        load.deploy()
        with load.running():
            for of in ((), ("busy",)):
                before = set(workerds_of(daemon))
                assert restart(daemon, *of)["failed"] == 0
                load.wait_for_all(KINDS)
                assert set(workerds_of(daemon)) - before
        assert (load.failed, load.closed) == ([], [])
        assert "restarted by token:" in daemon.log
        stranger, _ = daemon.new_token("strangers")
        for path in ("/workers/cells/restart", "/workers/scripts/busy/restart"):
            assert daemon.api("POST", path, token=stranger).status == 403
        assert daemon.api("POST", "/workers/scripts/none/restart").status == 404


def test_many_restarts_are_refused_while_old_cells_finish() -> None:
    """
    Cells that still have something to finish are not gathered without end: 429, and nothing of
    what is under way breaks off.
    """
    with running() as daemon:
        load = Load(daemon)
        load.deploy()
        url = f"ws://{load.host}/socket"
        with connect(url, sock=daemon.connection()) as one:
            assert restart(daemon)["failed"] == 0
            with connect(url, sock=daemon.connection()) as other:
                assert restart(daemon)["failed"] == 0
                refused = daemon.api("POST", "/workers/cells/restart")
                assert (refused.status, "retry-after" in refused.headers) == (429, True)
                for each in (one, other):
                    each.send("still there")
                    assert each.recv(PATIENCE) == "still there"
        until(lambda: restart_is_allowed(daemon), "they have finished")


def restart_is_allowed(daemon: Daemon) -> bool:
    """
    Whether cells can be restarted.
    """
    return daemon.api("POST", "/workers/cells/restart").status == 200


def test_deferred_work_outlives_its_cell() -> None:
    """
    `waitUntil` work is finished in a cell that is being replaced.
    """
    with running() as daemon:
        load = Load(daemon)
        load.deploy()
        assert daemon.function("busy", "/later").text == "soon"
        assert restart(daemon)["failed"] == 0
        keys = f"/storage/kv/namespaces/{namespace_of(daemon)}/values/later"
        until(lambda: daemon.api("GET", keys).text == "done", "the work was done")


def namespace_of(daemon: Daemon) -> str:
    """
    The id of the only KV namespace.
    """
    (found,) = daemon.api("GET", "/storage/kv/namespaces").result
    return str(found["id"])


def test_a_stubborn_websocket_gets_1012() -> None:
    """
    A WebSocket that is in use when its cell is replaced goes on for half a minute and is then
    closed with 1012 on both sides, not broken off.
    """
    code = """
    export default {
      fetch(request, env) {
        const [theirs, ours] = Object.values(new WebSocketPair());
        ours.accept();
        ours.addEventListener("message", ({ data }) => ours.send(data));
        ours.addEventListener("close", ({ code }) => console.log(`closed with ${code}`));
        return new Response(null, { status: 101, webSocket: theirs });
      },
    };
    """
    with running() as daemon:
        daemon.upload("chat", code)
        url = f"ws://chat.{daemon.base_domain}/"
        with connect(url, sock=daemon.connection()) as client:
            client.send("a")
            assert client.recv(PATIENCE) == "a"
            assert restart(daemon, "chat")["replaced"] == 1
            sent = 0
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    client.send("x" * 1000)
                    assert client.recv(PATIENCE) == "x" * 1000
                    sent += 1
        assert sent > 100
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        logs = "/workers/logs?search=closed"
        until(lambda: "closed with 1012" in daemon.api("GET", logs).text, "the function was told")


def test_a_new_workerd_is_taken_at_sighup() -> None:
    """
    SIGHUP replaces every cell by one of the workerd that is there now, says which, and no request
    fails; one that does not run, or does not start, is refused and changes nothing.
    """
    with running() as daemon:
        real = find(None, [ROOT]).path
        mine = daemon.directory / "workerd"
        shutil.copy(real, mine)
        (daemon.directory / ".env").write_text(f"WORKERD={mine}\n", "utf-8")
        load = Load(daemon)
        load.deploy()
        with load.running():
            said = reload(daemon)
            assert "settings changed: WORKERD" in said
            assert str(mine) in said
            until(lambda: all(running_program(p) == mine for p in workerds_of(daemon)), "all are")
            # npm, too, makes a new file and does not write into the old one.
            broken = daemon.directory / "new"
            version = "workerd 2026-11-17"
            for script, reason in (
                ("#!/bin/false\n", "is not workerd"),
                (f"#!/bin/sh\ntest $1 = --version && echo {version} && exit\nexit 3\n", "start"),
            ):
                broken.write_text(script, "utf-8")
                broken.chmod(0o755)
                broken.rename(mine)
                assert reason in reload(daemon)
                load.wait_for_all(KINDS)
            shutil.copy(real, broken)
            broken.rename(mine)
            reload(daemon)
            load.wait_for_all(KINDS)
        assert load.failed == []


def running_program(pid: int) -> Path | None:
    """
    What a process runs; None if it is gone.
    """
    try:
        return Path(os.readlink(f"/proc/{pid}/exe"))  # noqa: PTH115
    except OSError:
        return None


def test_settings_are_read_again_at_sighup() -> None:
    """
    Settings that may change take effect, those that may not are named, and wrong ones change
    nothing; each time the daemon serves on.
    """
    with running() as daemon:
        settings = daemon.directory / ".env"
        daemon.upload("kept", says("kept"))
        assert daemon.function("kept").text == "kept"
        settings.write_text("CELL_MEMORY=64MiB\nDRAIN_TIMEOUT=3s\n", "utf-8")
        said = reload(daemon)
        assert "settings changed: CELL_MEMORY" in said
        assert "`workerd-faas upgrade` or a restart: DRAIN_TIMEOUT" in said
        assert "0 go on as they were" in said
        assert data_limit(daemon) == (550 + 64) << 20
        settings.write_text("CELL_MEMORY=a lot\n", "utf-8")
        assert "settings stay as they are" in reload(daemon)
        assert data_limit(daemon) == (550 + 64) << 20
        assert daemon.function("kept").text == "kept"


def data_limit(daemon: Daemon) -> int:
    """
    `RLIMIT_DATA` of the newest cell.
    """
    pid = max(workerds_of(daemon))
    for line in Path(f"/proc/{pid}/limits").read_text("ascii").splitlines():
        if line.startswith("Max data size"):
            return int(line.split()[3])
    raise AssertionError("no limit")


def test_the_operators_commands() -> None:
    """
    `workerd-faas reload` and `upgrade` do what the signals do, and say so when no daemon runs.
    """
    with running() as daemon:
        assert daemon.process is not None
        daemon.upload("kept", says("kept"))
        assert str(daemon.process.pid) in daemon.operator("reload")
        until(lambda: "reloaded:" in daemon.log, "it has reloaded")
        told = daemon.operator("upgrade")
        assert "serves" in told
        assert daemon.process.wait(PATIENCE) == 0
        assert daemon.function("kept").text == "kept"
        pid = int((daemon.directory / "data" / "daemon.lock").read_text("ascii"))
        os.kill(pid, signal.SIGTERM)
        until(lambda: running_program(pid) is None, "it ended")
        with pytest.raises(AssertionError, match="no daemon runs"):
            daemon.operator("reload")


def test_asked_twice_it_does_not_wait() -> None:
    """
    The second SIGTERM ends a daemon that drains, with the status of that signal, and takes its
    cells along; the next start serves.
    """
    slow = "export default { async fetch() { await scheduler.wait(60000); } };"
    with running() as daemon:
        assert daemon.process is not None
        daemon.upload("slow", slow)
        waiting = threading.Thread(target=_ignored, args=(daemon,))
        waiting.start()
        until(lambda: len(workerds_of(daemon)) > 1, "the cell is there")
        daemon.process.terminate()
        until(lambda: not accepts(daemon), "it drains")
        daemon.process.terminate()
        assert daemon.process.wait(PATIENCE) == 128 + signal.SIGTERM
        waiting.join(PATIENCE)
        until(lambda: not workerds_of(daemon), "the cells are gone")
        daemon.start()


def accepts(daemon: Daemon) -> bool:
    """
    Whether new connections are accepted.
    """
    try:
        daemon.connection().close()
    except OSError:
        return False
    return True


def _ignored(daemon: Daemon) -> None:
    try:
        daemon.function("slow")
    except (OSError, Exception):  # noqa: BLE001 - that it ends is all
        return


def test_a_stop_with_a_websocket() -> None:
    """
    SIGTERM lets a WebSocket go on until the time to drain is over, closes it with 1012, and the
    daemon ends with status 0.
    """
    with running(DRAIN_TIMEOUT="1s") as daemon:
        assert daemon.process is not None
        load = Load(daemon)
        load.deploy()
        with connect(f"ws://{load.host}/socket", sock=daemon.connection()) as client:
            client.send("a")
            assert client.recv(PATIENCE) == "a"
            daemon.process.terminate()
            until(lambda: not accepts(daemon), "it drains")
            client.send("b")
            assert client.recv(PATIENCE) == "b"
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        assert daemon.process.wait(PATIENCE) == 0
