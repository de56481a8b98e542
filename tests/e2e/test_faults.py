"""Faults of the machine around the daemon: docs/runtime.md has the whole list and its tests."""

import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.daemon import PATIENCE, Daemon, directory, running, until, workerds_of
from tests.e2e.load import Load
from tests.e2e.test_lives import says

SHIM = Path(__file__).with_name("fault_shim.c")


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """
    A file system of 24 MiB there.
    """
    path.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """
    Write until no byte more fits.
    """
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def test_a_full_disk() -> None:
    """
    On a full disk a deploy is a 507 that changes nothing, what is deployed goes on, also after its
    cell has died; with room again, deploys work, and nothing of the failed ones is left.
    """
    with directory() as path, small_disk(path / "data"):
        daemon = Daemon(path, settings={"RUNTIME_DIRECTORY": str(path / "run")})
        (path / "run").mkdir(mode=0o700)
        try:
            daemon.start()
            daemon.upload("kept", says("1"))
            assert daemon.function("kept").text == "1"
            fill(path / "data" / "filler")
            for name in ("kept", "other"):
                answer = daemon.upload(name, says("2") + "//" + "x" * 200_000)
                assert answer.status == 507, answer
                assert not answer.document["success"]
            assert daemon.function("kept").text == "1"
            assert daemon.function("other").status == 404
            (path / "data" / "filler").unlink()
            assert daemon.upload("kept", says("3")).status == 200
            assert daemon.function("kept").text == "3"
            files = [one for one in (path / "data" / "bundles").rglob("*") if one.is_file()]
            assert len(files) == 2, files
            assert daemon.stop() == 0
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


WRITER = """
export default {
  async fetch(request, { KV, D1, QUEUE }) {
    const outcomes = [];
    for (const work of [
      () => KV.put("small", "v"),
      () => KV.put("large", "v".repeat(200_000)),
      () => D1.exec("CREATE TABLE IF NOT EXISTS t (a)"),
      () => D1.prepare("INSERT INTO t VALUES (?)").bind("x".repeat(50_000)).run(),
      () => QUEUE.send("x".repeat(50_000)),
      async () => KV.get("kept").then((value) => { if (value !== "kept") throw value; }),
    ]) {
      outcomes.push(await work().then(() => "done", (error) => error.message));
    }
    return Response.json(outcomes);
  },
};
"""


def test_storage_on_a_full_disk() -> None:
    """
    On a full disk what would be written is refused, by a function's bindings and as 507 by the API,
    and what is there can be read; with room again everything works, in the same process.
    """
    with directory() as path, small_disk(path / "data"):
        daemon = Daemon(path, settings={"RUNTIME_DIRECTORY": str(path / "run")})
        (path / "run").mkdir(mode=0o700)
        try:
            daemon.start()
            namespace = daemon.api("POST", "/storage/kv/namespaces", {"title": "kv"}).result["id"]
            database = daemon.api("POST", "/d1/database", {"name": "d"}).result["uuid"]
            daemon.api("POST", "/queues", {"queue_name": "q"})
            bindings = [
                {"type": "kv_namespace", "name": "KV", "namespace_id": namespace},
                {"type": "d1", "name": "D1", "id": database},
                {"type": "queue", "name": "QUEUE", "queue_name": "q"},
            ]
            assert daemon.upload("writer", WRITER, bindings=bindings).status == 200
            value = f"/storage/kv/namespaces/{namespace}/values/kept"
            assert daemon.api("PUT", value, body=b"kept").status == 200
            assert daemon.function("writer").document == ["done"] * 6
            cells = set(workerds_of(daemon))
            fill(path / "data" / "filler")
            *refused, read = daemon.function("writer").document
            assert read == "done"
            assert refused[2] == "done"  # The table is there: nothing is written.
            assert all("SQLITE_FULL" in each for each in refused[:2] + refused[3:]), refused
            assert daemon.api("PUT", value, body=b"x" * 50_000).status == 507
            sql = {"sql": "INSERT INTO t SELECT hex(zeroblob(30000))"}
            assert daemon.api("POST", f"/d1/database/{database}/query", sql).status == 507
            (path / "data" / "filler").unlink()
            assert daemon.function("writer").document == ["done"] * 6
            assert daemon.api("PUT", value, body=b"kept").status == 200
            assert set(workerds_of(daemon)) == cells
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


@contextmanager
def shimmed(**settings: str) -> Iterator[tuple[Daemon, Path]]:
    """
    A daemon with the shim, and the file that says what it does.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    with directory() as path:
        shim = path / "shim.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM), "-ldl"]
        subprocess.run(command, check=True)
        faults = path / "faults"
        faults.write_text("", "ascii")
        settings |= {"LD_PRELOAD": str(shim), "FAULTS": str(faults)}
        daemon = Daemon(path, settings=settings)
        try:
            yield daemon.start(), faults
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


def say(faults: Path, words: str) -> None:
    """
    Let these faults be there from now on.
    """
    new = faults.with_suffix(".new")
    new.write_text(words, "ascii")
    new.replace(faults)


def test_io_errors() -> None:
    """
    When the disk fails a deploy is an error that changes nothing, functions go on, and all is well
    again when the disk is.
    """
    with shimmed() as (daemon, faults):
        daemon.upload("kept", says("1"))
        say(faults, "eio")
        answer = daemon.upload("kept", says("2"))
        assert answer.status in (500, 503, 507), answer
        assert not answer.document["success"]
        assert daemon.function("kept").text == "1"
        say(faults, "")
        assert daemon.upload("kept", says("3")).status == 200
        assert daemon.function("kept").text == "3"


def test_a_slow_disk() -> None:
    """
    While each sync takes half a second, deploys are slow and right, and functions as fast as ever.
    """
    with shimmed() as (daemon, faults):
        load = Load(daemon)
        load.deploy()
        with load.running("kept", "fresh"):
            say(faults, "sync=500")
            began, before = time.monotonic(), load.count("kept")
            assert daemon.upload("other", says("there")).status == 200
            took, served = time.monotonic() - began, load.count("kept") - before
            assert daemon.function("other").text == "there"
            say(faults, "")
        assert load.failed == []
        assert served > 10 * took, (served, took)


@pytest.mark.parametrize("jump", [3600, -3600])
def test_the_clock_jumps(jump: int) -> None:
    """
    When the time of day is set forth or back by an hour, requests, deploys, restarts of cells and
    time-outs go on as before, and tokens are good.
    """
    slow = (
        "export default { async fetch() { await scheduler.wait(1000); return new Response('') } }"
    )
    never = (
        "export default { fetch() { setInterval(() => {}, 1000); return new Promise(() => {}) } }"
    )
    with shimmed(RESPONSE_TIMEOUT="3s") as (daemon, faults):
        load = Load(daemon)
        load.deploy()
        daemon.upload("slow", slow)
        daemon.upload("never", never)
        with load.running("kept", "fresh", "kv", "api"):
            say(faults, f"clock={jump}")
            assert daemon.function("slow").status == 200
            assert daemon.function("never").status == 504
            assert daemon.upload("after", says("after")).status == 200
            assert daemon.function("after").text == "after"
            assert daemon.api("POST", "/workers/cells/restart").status == 200
            date = daemon.function("after").headers["date"]
            assert abs(clock_of(date) - time.time() - jump) < 60
            load.wait_for_all({"kept", "fresh", "kv", "api"})
            say(faults, "")
            assert daemon.function("slow").status == 200
        assert load.failed == []
        assert daemon.stop() == 0


def clock_of(date: str) -> float:
    """
    What a `Date` header says, in seconds since 1970.
    """
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(date).timestamp()


def test_a_locked_database() -> None:
    """
    While somebody else holds the database, a deploy is a 503 with `Retry-After` in some seconds,
    functions go on, and afterwards deploys work.
    """
    with running() as daemon:
        daemon.upload("kept", says("1"))
        assert daemon.function("kept").text == "1"
        database = daemon.directory / "data" / "faas.db"
        with closing(sqlite3.connect(database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            answer = daemon.upload("kept", says("2"))
            assert (answer.status, "retry-after" in answer.headers) == (503, True)
            assert daemon.function("kept").text == "1"
            holder.execute("ROLLBACK")
        assert daemon.upload("kept", says("3")).status == 200
        assert daemon.function("kept").text == "3"


def test_a_damaged_bundle() -> None:
    """
    A version whose stored code has another bit is not executed; the answer is an error, the log
    names the file, other functions serve, and a new upload of the same code repairs it.
    """
    with running() as daemon:
        daemon.upload("good", says("good"))
        before = set(bundles_of(daemon))
        daemon.upload("bad", says("bad"))
        (bundle,) = set(bundles_of(daemon)) - before
        content = bytearray(bundle.read_bytes())
        content[len(content) // 2] ^= 1
        bundle.chmod(0o600)
        bundle.write_bytes(content)
        answer = daemon.function("bad")
        assert (answer.status, b"bad" in answer.body) == (503, False)
        assert bundle.name[:12] in daemon.log
        assert daemon.function("good").text == "good"
        assert daemon.upload("bad", says("bad")).status == 200
        until(lambda: daemon.function("bad").text == "bad", "it is repaired")


def bundles_of(daemon: Daemon) -> list[Path]:
    """
    All stored bundles.
    """
    return [one for one in (daemon.directory / "data/bundles").rglob("*") if one.is_file()]


def test_descriptors_run_out() -> None:
    """
    With hardly any descriptors left, some clients are told to come back, the daemon does not spin,
    and when the crowd has gone all is as before, down to the number of descriptors.
    """
    with running() as daemon:
        assert daemon.process is not None
        pid = daemon.process.pid
        load = Load(daemon)
        load.deploy()
        until(lambda: descriptors_of(pid) == descriptors_of(pid), "it is calm")
        start = descriptors_of(pid)
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (start + 12, before[1]))
        crowd = [daemon.connection() for _ in range(60)]
        used = cpu_of(pid)
        time.sleep(1)
        assert cpu_of(pid) - used < 0.5
        for client in crowd:
            client.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        until(lambda: answers(daemon), "it answers again")
        assert daemon.function("busy", "/kv").text == "value"
        assert daemon.upload("after", says("after")).status == 200
        until(lambda: descriptors_of(pid) <= start + 2, "the descriptors are closed")


def answers(daemon: Daemon) -> bool:
    """
    Whether a function answers.
    """
    try:
        return daemon.function("busy").status == 200
    except OSError:
        return False


def descriptors_of(pid: int) -> int:
    """
    How many are open.
    """
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_of(pid: int) -> float:
    """
    Seconds of processor time so far.
    """
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_runtime_directory_is_removed() -> None:
    """
    When somebody clears away the directory of sockets, the daemon makes it anew, and API and
    functions answer again by themselves.
    """
    with running() as daemon:
        load = Load(daemon)
        load.deploy()
        before = set(workerds_of(daemon))
        shutil.rmtree(daemon.directory / "data" / "run")
        until(lambda: not before & set(workerds_of(daemon)), "no cell is out of reach")
        until(lambda: recovered(daemon), "all is there again")
        assert daemon.upload("after", says("after")).status == 200
        assert daemon.function("after").text == "after"
        assert daemon.stop() == 0
        until(lambda: not workerds_of(daemon), "no cell is left")


def recovered(daemon: Daemon) -> bool:
    """
    Whether API, functions and storage answer.
    """
    try:
        listed = daemon.api("GET", "/workers/scripts").status
        return listed == 200 and daemon.function("busy", "/kv").text == "value"
    except OSError:
        return False


def test_workerd_is_missing_or_wrong_at_the_start(tmp_path: Path) -> None:
    """
    Without a workerd that can be run the daemon does not start, and says in one line which and why.
    """
    plain = tmp_path / "plain"
    plain.write_text("no program", "utf-8")
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho something else\n", "utf-8")
    fake.chmod(0o755)
    for program, reason in (
        (tmp_path / "none", "there is no file"),
        (plain, "may not be executed"),
        (fake, "is not workerd"),
    ):
        with directory() as path:
            daemon = Daemon(path, settings={"WORKERD": str(program)})
            assert daemon.launch().wait(PATIENCE) == 1
            (line,) = [one for one in daemon.log.splitlines() if str(program) in one]
            assert "WORKERD" in line
            assert reason in line
            assert "Traceback" not in daemon.log


def test_workerd_vanishes_while_the_daemon_runs() -> None:
    """
    Running cells go on without their program's file; what needs a new cell is told 503 with
    `Retry-After`; and when the file is there again, all recovers.
    """
    from workerd_faas.runtime.binary import find

    with running() as outer:
        real = find(None).path
        mine = outer.directory / "workerd"
        shutil.copy(real, mine)
        outer.stop()
        outer.settings["WORKERD"] = str(mine)
        outer.start()
        outer.upload("kept", says("kept"))
        assert outer.function("kept").text == "kept"
        aside = mine.rename(outer.directory / "aside")
        assert outer.function("kept").text == "kept"
        for pid in workerds_of(outer):
            os.kill(pid, 9)
        refused = until(
            lambda: (a := outer.function("kept")).status == 503 and a, "there is no new cell"
        )
        assert "retry-after" in refused.headers
        aside.rename(mine)
        until(lambda: outer.function("kept").status == 200, "it recovers")


def test_leftovers_are_nonsense() -> None:
    """
    Whatever an earlier run may have left in the runtime directory, the daemon starts and clears
    away what is its own.
    """
    with running() as daemon:
        daemon.upload("kept", says("kept"))
        daemon.kill()
        until(lambda: not workerds_of(daemon), "the cells are gone")
        run = daemon.directory / "data" / "run"
        (run / "wf-broken").mkdir()
        (run / "wf-broken" / "f").write_bytes(b"not a directory")
        (run / "wf-link").symlink_to("/")
        (run / "f").mkdir()
        (run / "f" / "c1").mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(run / "f" / "c1" / "h"))
        (daemon.directory / "data" / "upgrade.json").write_bytes(b"\0junk")
        (daemon.directory / "data" / "daemon.lock").write_bytes(b"junk")
        daemon.start()
        assert daemon.function("kept").text == "kept"
        assert sorted(one.name[:3] for one in run.iterdir()) == ["wf-", "wf-"]
        assert (run / "wf-link").is_symlink()
