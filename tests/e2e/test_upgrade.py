"""A daemon is replaced by its next one while everything goes on."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.e2e.daemon import BIN, Daemon, directory, running, until, workerds_of
from tests.e2e.load import Load
from tests.e2e.test_lives import says


def note_of(daemon: Daemon) -> dict[str, Any]:
    """
    How the last hand-over went.
    """
    with suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads(
            (daemon.directory / "data" / "upgrade.json").read_text("utf-8")
        )
        return found
    return {}


def hand_over(pid: int, daemon: Daemon) -> dict[str, Any]:
    """
    Ask for it, and wait until it has succeeded or failed.
    """
    (daemon.directory / "data" / "upgrade.json").unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    return dict(
        until(
            lambda: (note := note_of(daemon)).get("state") in ("done", "failed") and note,
            "the hand-over is over",
        )
    )


def is_alive(pid: int) -> bool:
    """
    Whether a process runs; a zombie does not.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def end(pid: int, how: int = signal.SIGTERM) -> None:
    """
    End a daemon that is not our child.
    """
    os.kill(pid, how)
    until(lambda: not is_alive(pid), "the daemon ended")


@contextmanager
def surviving(daemon: Daemon) -> Iterator[Daemon]:
    """
    Whatever daemons come after this one are gone at the end.
    """
    try:
        yield daemon
    finally:
        for pid in (note_of(daemon).get("process"), holder(daemon)):
            if pid is not None and is_alive(pid):
                end(pid, signal.SIGKILL)


def holder(daemon: Daemon) -> int | None:
    """
    The process that has the data directory.
    """
    text = (daemon.directory / "data" / "daemon.lock").read_text("ascii").strip()
    return int(text) if text else None


def runtime_directories(daemon: Daemon) -> list[Path]:
    """
    What daemons have of their own.
    """
    return list((daemon.directory / "data" / "run").iterdir())


def test_no_request_fails_during_upgrades() -> None:
    """
    Through three hand-overs no request, stream, WebSocket message or API call fails, each old
    daemon ends with status 0, what was deferred is done, and one process and directory are left.
    """
    with running(DRAIN_TIMEOUT="20s") as daemon, surviving(daemon):
        assert daemon.process is not None
        load = Load(daemon)
        load.deploy()
        pid = daemon.process.pid
        with load.running("kept", "fresh", "kv", "streams", "api"):
            for _ in range(3):
                assert daemon.function("busy", "/later").text == "soon"
                note = hand_over(pid, daemon)
                assert note["state"] == "done", daemon.log
                before, pid = pid, note["process"]
                load.wait_for_all({"kept", "fresh", "kv", "streams", "api"})
                until(lambda: not is_alive(before), "the old daemon has drained")  # noqa: B023
        assert load.failed == []
        assert daemon.process.wait() == 0
        assert daemon.log.count("handed over to process") == 3
        assert daemon.upload("later", says("deployed")).status == 200
        assert daemon.function("later").text == "deployed"
        assert len(runtime_directories(daemon)) == 1
        end(pid)
        assert runtime_directories(daemon) == []
        assert workerds_of(daemon) == []


def test_websockets_live_until_the_bound() -> None:
    """
    A WebSocket goes on through the old daemon until its time to drain is over, and is then closed
    with 1012, never broken off.
    """
    with running(DRAIN_TIMEOUT="2s") as daemon, surviving(daemon):
        assert daemon.process is not None
        load = Load(daemon)
        load.deploy()
        with load.running("messages"):
            note = hand_over(daemon.process.pid, daemon)
            before = load.count("messages")
            until(lambda: load.count("messages") > before + 20, "it goes on")
            assert load.closed == []
            until(lambda: load.closed, "the bound is reached")
            load.wait_for_all({"messages"})
        assert (load.failed, load.closed) == ([], [1012])
        assert daemon.process.wait() == 0
        end(note["process"])


def test_a_wrong_configuration_changes_nothing() -> None:
    """
    A new daemon whose settings are wrong or whose ports are taken is refused with its reason, and
    the old one serves on, as it does after the settings are right again.
    """
    with running() as daemon, surviving(daemon), socket.socket() as taken:
        assert daemon.process is not None
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = daemon.directory / ".env"
        daemon.upload("kept", says("kept"))
        pid = daemon.process.pid
        wrong = "DRAIN_TIMEOUT=soon"
        for text, reason in ((wrong, "DRAIN_TIMEOUT"), ("WORKERD=/nonexistent", "/nonexistent")):
            settings.write_text(text, "utf-8")
            assert hand_over(pid, daemon)["state"] == "failed"
            assert reason in daemon.log
            assert daemon.function("kept").text == "kept"
        settings.write_text("DRAIN_TIMEOUT=5s\n", "utf-8")
        note = hand_over(pid, daemon)
        assert note["state"] == "done"
        assert daemon.process.wait() == 0
        assert daemon.function("kept").text == "kept"
        end(note["process"])


def test_a_new_daemon_that_fails_late_gives_everything_back() -> None:
    """
    When the new daemon fails after the old one has let go of everything, the old one takes it
    back: no function request fails, and deploys, storage and a later hand-over work.
    """
    with running() as daemon, surviving(daemon):
        assert daemon.process is not None
        pid = daemon.process.pid
        load = Load(daemon)
        load.deploy()
        with load.running("kept", "fresh", "streams"):
            known = set_schema_number(daemon, 9999)
            note = hand_over(pid, daemon)
            set_schema_number(daemon, known)
            assert note["state"] == "failed", daemon.log
            assert "faas.db" in daemon.log
            load.wait_for_all({"kept", "fresh", "streams"})
        assert load.failed == []
        assert daemon.function("busy", "/kv").text == "value"
        assert daemon.upload("after", says("deployed")).status == 200
        assert daemon.function("after").text == "deployed"
        note = hand_over(pid, daemon)
        assert note["state"] == "done", daemon.log
        assert daemon.function("after").text == "deployed"
        end(note["process"])


def set_schema_number(daemon: Daemon, number: int) -> int:
    """
    Let the database be of another release; returns which it was of before.
    """
    with closing(sqlite3.connect(daemon.directory / "data" / "faas.db")) as connection:
        before = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute(f"PRAGMA user_version = {number}")
        return before


def test_killed_in_the_middle_of_a_hand_over() -> None:
    """
    Wherever the old or the new daemon is killed during a hand-over, what was acknowledged is there
    afterwards, in the survivor or after a start, and no process is left over.
    """
    chance = random.Random(20261124)
    with running() as daemon, surviving(daemon):
        for number in range(6):
            assert daemon.upload("kept", says(str(number))).status == 200
            assert daemon.process is not None
            (daemon.directory / "data" / "upgrade.json").unlink(missing_ok=True)
            os.kill(daemon.process.pid, signal.SIGUSR2)
            pid = until(lambda: note_of(daemon).get("process"), "the new one runs")
            time.sleep(chance.uniform(0.0, 1.2))
            if number % 2:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            else:
                daemon.kill()
            survivor = pid if number % 2 == 0 else daemon.process.pid
            if is_alive(survivor):
                until(
                    lambda: _serves(daemon, str(number)) or not is_alive(survivor),  # noqa: B023
                    "the survivor serves",
                )
            for each in (pid, daemon.process.pid):
                if is_alive(each):
                    end(each, signal.SIGKILL)
            daemon.process.wait()
            until(lambda: not workerds_of(daemon), "no cell is left over")
            daemon.start()
            assert daemon.function("kept").text == str(number)
            assert len(runtime_directories(daemon)) == 1


def _serves(daemon: Daemon, text: str) -> bool:
    try:
        return daemon.function("kept").text == text
    except OSError:
        return False


def test_systemd_keeps_the_socket_over_a_restart() -> None:
    """
    With a socket that the service manager holds, a restart lets clients wait and fails none; a
    hand-over works there too, and tells the manager which process to watch.
    """
    with directory() as path, socket.socket() as held, surviving_manager(path) as heard:
        held.bind(("127.0.0.1", 0))
        held.listen(1024)
        daemon = Daemon(path, port=held.getsockname()[1])
        daemon.settings |= {
            "LISTEN": "systemd:domain=INET:index=0",
            "NOTIFY_SOCKET": str(path / "notify"),
        }
        with surviving_start(daemon, held):
            load = Load(daemon)
            load.deploy()
            with load.running("kept", "fresh", "kv", "streams", "api"):
                assert daemon.process is not None
                daemon.process.terminate()
                assert daemon.process.wait() == 0
                start_as_systemd(daemon, held)
                load.wait_for_all({"kept", "fresh", "kv", "streams", "api"})
                old = daemon.process.pid
                note = hand_over(old, daemon)
                assert note["state"] == "done", daemon.log
                load.wait_for_all({"kept", "fresh", "kv", "streams", "api"})
            assert load.failed == []
            assert daemon.process.wait() == 0
            end(note["process"])
            said = heard()
            assert said.index(f"MAINPID={note['process']}") < said.index(
                f"READY=1\nMAINPID={note['process']}"
            )
            assert "STOPPING=1" not in said[said.index(f"MAINPID={note['process']}") : -1]


@contextmanager
def surviving_manager(path: Path) -> Iterator[Any]:
    """
    A service manager that listens; what is yielded gives what it has heard.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path / "notify"))
        notify.setblocking(False)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

        def heard() -> list[str]:
            found = []
            with suppress(BlockingIOError):
                while True:
                    found.append(notify.recv(4096).decode())
            return found

        yield heard


@contextmanager
def surviving_start(daemon: Daemon, held: socket.socket) -> Iterator[None]:
    """
    The daemon as systemd starts it, and nothing of it left at the end.
    """
    start_as_systemd(daemon, held)
    until(daemon.is_healthy, "the daemon is healthy")
    daemon.token, daemon.account = daemon.new_token("tests")
    try:
        with surviving(daemon):
            yield
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


def start_as_systemd(daemon: Daemon, held: socket.socket) -> None:
    """
    With the held socket as descriptor 3, named by `LISTEN_PID` and `LISTEN_FDS`.
    """
    script = (
        f"exec {BIN}/python -c 'import os, sys; os.dup2({held.fileno()}, 3); "
        'os.environ["LISTEN_PID"] = str(os.getpid()); os.environ["LISTEN_FDS"] = "1"; '
        'os.environ["LISTEN_FDNAMES"] = "workerd-faas.socket"; '
        "os.set_inheritable(3, True); "
        f'os.execv("{BIN}/twistd", ["twistd", "-n", "--pidfile=", "workerd-faas"])\''
    )
    with (daemon.directory / "log").open("ab") as log:
        daemon.process = subprocess.Popen(
            ["/bin/sh", "-c", script],
            cwd=daemon.directory,
            env=daemon.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(held.fileno(),),
        )
