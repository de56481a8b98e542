"""A copy of a daemon that is being written to, put back on an empty machine."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.daemon import BIN, Answer, Daemon, directory, running, until
from tests.e2e.test_upgrade import hand_over, surviving
from workerd_faas.store.keyfile import new_key
from workerd_faas.wire import instants

CODE: Final = """
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const n = Number(url.searchParams.get("n"));
    switch (url.pathname) {
      case "/begin":
        await env.DB.batch([
          env.DB.prepare("CREATE TABLE pairs (n INTEGER PRIMARY KEY, twin INTEGER)"),
          env.DB.prepare("CREATE TABLE seen (n INTEGER PRIMARY KEY)"),
        ]);
        return new Response("begun");
      case "/write":  // Each only when the one before it is acknowledged.
        await env.DB.batch([
          env.DB.prepare("INSERT INTO pairs VALUES (?, NULL)").bind(n),
          env.DB.prepare("UPDATE pairs SET twin = n WHERE n = ?").bind(n),
        ]);
        await env.KV.put("n" + n, "small " + n);
        await env.KV.put("large", new Uint8Array(100_000).fill(n % 251));
        await env.QUEUE.send({ n });
        return new Response("written");
      case "/read": {
        const large = await env.KV.get("large", "arrayBuffer");
        return Response.json({
          pairs: (await env.DB.prepare("SELECT n, twin FROM pairs ORDER BY n").raw()),
          seen: (await env.DB.prepare("SELECT n FROM seen ORDER BY n").raw()).flat(),
          keys: await env.KV.get(Array.from({ length: 20 }, (_, i) => "n" + (n + i))),
          large: large && { size: large.byteLength, all: new Set(new Uint8Array(large)).size },
          secret: env.SECRET,
          message: env.MESSAGE,
        });
      }
    }
    return new Response(null, { status: 404 });
  },
  async queue(batch, env) {
    for (const { body } of batch.messages) {
      await env.DB.prepare("INSERT OR IGNORE INTO seen VALUES (?)").bind(body.n).run();
    }
  },
};
"""
SECRET: Final = "a secret of the function, for tests only"


def operate(
    daemon: Daemon, *arguments: str | Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """
    Run `workerd-faas …` with the daemon's environment.
    """
    return subprocess.run(
        [*daemon.program("workerd-faas"), *arguments],
        cwd=daemon.directory,
        env={**daemon.environment, **environ},
        **daemon.identity,
        capture_output=True,
        text=True,
        check=False,
    )


def backed_up(daemon: Daemon, target: Path, *options: str) -> Any:
    """
    Make a backup; what it said of it.
    """
    done = operate(daemon, "backup", target, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def busy_function(daemon: Daemon) -> None:
    """
    A function with everything that is kept.
    """
    namespace = daemon.api("POST", "/storage/kv/namespaces", {"title": "n"}).result["id"]
    database = daemon.api("POST", "/d1/database", {"name": "d"}).result["uuid"]
    queue = daemon.api("POST", "/queues", {"queue_name": "q"}).result["queue_id"]
    made = daemon.upload(
        "busy",
        CODE,
        bindings=[
            {"type": "kv_namespace", "name": "KV", "namespace_id": namespace},
            {"type": "d1", "name": "DB", "id": database},
            {"type": "queue", "name": "QUEUE", "queue_name": "q"},
            {"type": "secret_text", "name": "SECRET", "text": SECRET},
            {"type": "plain_text", "name": "MESSAGE", "text": "hello"},
        ],
    )
    assert made.status == 200, made.text
    consumer = {"type": "worker", "script_name": "busy", "settings": {"max_wait_time_ms": 100}}
    assert daemon.api("POST", f"/queues/{queue}/consumers", consumer).status == 200
    assert daemon.function("busy", "/begin").text == "begun"


class Writer:
    """
    Writes number after number, and knows which of them are acknowledged.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.acknowledged = 0
        self.failed: list[Answer] = []
        self._daemon = daemon
        self._stopped = False
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._stopped and not self.failed:
            answer = self._daemon.function("busy", f"/write?n={self.acknowledged + 1}")
            if answer.status == 200:
                self.acknowledged += 1
            else:
                self.failed.append(answer)

    def stop(self) -> None:
        """
        After the number that is being written.
        """
        self._stopped = True
        self._thread.join()


@contextmanager
def restored(original: Daemon, archive: Path, *options: str) -> Iterator[Daemon]:
    """
    A daemon elsewhere, on what was restored from an archive.
    """
    with directory(original.user) as place:
        other = Daemon(place, settings=original.settings, token=original.token, user=original.user)
        other.account = original.account
        (place / "data").mkdir(mode=0o700)
        if original.user is not None:
            os.chown(place / "data", original.user.uid, original.user.uid)
        done = operate(other, "restore", archive, "--json", *options)
        assert done.returncode == 0, done.stderr
        try:
            yield other.start()
        finally:
            if other.process is not None and other.process.poll() is None:
                other.kill()


@pytest.fixture(scope="module")
def busy() -> Iterator[Daemon]:
    """
    A daemon with a function that keeps things everywhere.
    """
    with running() as daemon:
        busy_function(daemon)
        yield daemon


def test_what_was_acknowledged_before_a_backup_is_there_after_restoring_it(
    busy: Daemon, tmp_path: Path
) -> None:
    """
    With writes going on, each of three copies has every write of before it, no half of one, and
    what happened in an order in that order; no write failed; and the copy of the machine goes on.
    """
    writer = Writer(busy)
    copies = []
    try:
        for number in range(3):
            until(lambda: writer.acknowledged >= 10 or writer.failed, "some writes are done")
            before = writer.acknowledged
            made = backed_up(busy, tmp_path / f"{number}.tar", "--with-keys")
            assert made["daemon_running"]
            assert made["damaged"] == []
            copies.append((before, writer.acknowledged + 1))
    finally:
        writer.stop()
    assert writer.failed == []
    for number, (before, after) in enumerate(copies):
        with restored(busy, tmp_path / f"{number}.tar") as copy:
            look_at(copy, before, after)


def look_at(copy: Daemon, before: int, after: int) -> None:
    """
    What is in a copy that was made when `before` writes were acknowledged and at most `after` had
    begun.
    """
    last = len(copy.function("busy", "/read").document["pairs"])
    assert before <= last <= after
    found = copy.function("busy", f"/read?n={max(1, last - 19)}").document
    assert found["pairs"] == [[n, n] for n in range(1, last + 1)]
    assert found["secret"] == SECRET
    assert found["message"] == "hello"
    # The large value comes last: it may be that of the write before, but it is whole.
    assert found["large"] == {"size": 100_000, "all": 1}
    missing = [key for key, value in found["keys"].items() if int(key[1:]) < last and not value]
    assert missing == []
    # The queue goes on with what it had.
    assert copy.function("busy", f"/write?n={last + 1}").text == "written"

    def delivered() -> bool:
        seen = copy.function("busy", "/read").document["seen"]
        return set(range(1, before + 1)) | {last + 1} <= set(seen)

    until(delivered, "all messages are delivered")


def test_a_backup_without_keys_needs_the_key_of_the_secrets(busy: Daemon, tmp_path: Path) -> None:
    """
    The key is in no file of it; restoring refuses without it, takes it from `DATA_DIR` or the
    environment, or gives the secrets up when told to.
    """
    archive = tmp_path / "b.tar"
    made = operate(busy, "backup", archive)
    assert made.returncode == 0, made.stderr
    assert "key of its 1 secrets of functions is not in it" in made.stderr
    key = (busy.directory / "data" / "secrets-key").read_bytes().strip()
    content = archive.read_bytes()
    assert key not in content
    assert SECRET.encode() not in content
    with directory() as place:
        other = Daemon(place, settings=busy.settings)
        data = place / "data"
        data.mkdir()
        refused = operate(other, "restore", archive)
        assert refused.returncode == 1
        assert "1 of 1 secrets of functions cannot be decrypted" in refused.stderr
        assert {entry.name for entry in data.iterdir()} == {"daemon.lock"}
        wrong = operate(other, "restore", archive, SECRETS_KEY=new_key())
        assert "cannot be decrypted" in wrong.stderr
        assert operate(other, "restore", archive, SECRETS_KEY=key.decode()).returncode == 0
        again = operate(other, "restore", archive, SECRETS_KEY=key.decode())
        assert again.returncode == 1
        assert "is not empty" in again.stderr
    with restored(busy, archive, "--without-key") as copy:
        assert copy.function("busy", "/read").status == 503


def test_an_archive_can_be_checked_and_go_through_pipes(busy: Daemon, tmp_path: Path) -> None:
    """
    `backup -` writes what `restore --check -` finds whole, and a compressed file holds the same
    catalog; with --logs the log is in it.
    """
    for name, options in (("plain.tar", ()), ("packed.tar.gz", ("--logs",))):
        backed_up(busy, tmp_path / name, *options)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        done = operate(busy, "restore", "--check", "--json", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["accounts_with_state"] == 1
    assert b"logs.db" not in (tmp_path / "plain.tar").read_bytes()
    command = f"{BIN}/workerd-faas backup - --logs | {BIN}/workerd-faas restore --check -"
    piped = subprocess.run(
        command,
        shell=True,
        env=busy.environment,
        cwd=busy.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout.startswith("Whole: the backup of ")


def test_a_backup_of_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    """
    A stopped daemon's data are copied as well, and a killed one's with what was acknowledged;
    nothing is left behind in `DATA_DIR`.
    """
    with running() as daemon:
        busy_function(daemon)
        for number in range(1, 6):
            assert daemon.function("busy", f"/write?n={number}").text == "written"
        daemon.kill()
        made = backed_up(daemon, tmp_path, "--with-keys")
        assert not made["daemon_running"]
        assert not (daemon.directory / "data" / "backing-up").exists()
        with restored(daemon, Path(made["file"])) as copy:
            look_at(copy, 5, 5)


def test_a_namespace_that_is_removed_meanwhile_is_whole_or_gone(tmp_path: Path) -> None:
    """
    Whatever is in a copy's list of namespaces has its values; removals go on during backups.
    """
    with running() as daemon:
        namespaces = []
        for number in range(12):
            made = daemon.api("POST", "/storage/kv/namespaces", {"title": f"n{number}"})
            namespaces.append(made.result["id"])
            path = f"/storage/kv/namespaces/{namespaces[-1]}/values/key"
            stored = daemon.api("PUT", path, body=b"value", headers={"Content-Type": "text/plain"})
            assert stored.status == 200, stored.text
        removing = threading.Thread(
            target=lambda: [
                daemon.api("DELETE", f"/storage/kv/namespaces/{id_}") for id_ in namespaces
            ]
        )
        removing.start()
        made = backed_up(daemon, tmp_path / "b.tar")
        removing.join()
        with restored(daemon, tmp_path / "b.tar") as copy:
            for namespace in copy.api("GET", "/storage/kv/namespaces").result:
                path = f"/storage/kv/namespaces/{namespace['id']}/values/key"
                assert copy.api("GET", path).text == "value"


def test_a_daemon_is_replaced_while_backups_are_made(tmp_path: Path) -> None:
    """
    Backups before, during and after a hand-over to a new daemon all succeed, with writes going on,
    and the last of them has everything.
    """
    with running() as daemon, surviving(daemon):
        busy_function(daemon)
        writer, done = Writer(daemon), list[subprocess.CompletedProcess[str]]()
        backups = threading.Thread(
            target=lambda: done.extend(
                operate(daemon, "backup", tmp_path / f"{number}.tar") for number in range(5)
            )
        )
        try:
            assert daemon.process is not None
            until(lambda: writer.acknowledged >= 5 or writer.failed, "some writes are done")
            before = writer.acknowledged
            backups.start()
            until((tmp_path / "0.tar").exists, "there is a backup")
            assert hand_over(daemon.process.pid, daemon)["state"] == "done"
            backups.join()
        finally:
            writer.stop()
        assert writer.failed == []
        assert [each.returncode for each in done] == [0] * 5, done
        with restored(daemon, tmp_path / "4.tar", "--without-key") as copy:
            path = f"/d1/database/{copy.api('GET', '/d1/database').result[0]['uuid']}/query"
            count = copy.api("POST", path, {"sql": "SELECT count(*) AS n FROM pairs"})
            assert before <= count.result[0]["results"][0]["n"] <= writer.acknowledged


def test_an_operator_who_leaves_holds_nobody(busy: Daemon) -> None:
    """
    Requests go on when the holder is killed, and when it keeps its hold for longer than it said;
    then it is told that it was late.
    """

    link = busy.directory / "data" / instants.OPERATOR_LINK
    for how in ("leaves", "is late"):
        with socket.socket(socket.AF_UNIX) as holder:
            holder.connect(str(link.readlink()))
            seconds = 20 if how == "leaves" else 0.1
            holder.sendall(instants.hold_line(busy.account, seconds).encode() + b"\n")
            assert holder.recv(100) == b"held\n"
            if how == "is late":
                assert busy.function("busy", "/read").status == 200
                holder.sendall(b"release\n")
                assert holder.recv(100) == b"late\n"
        assert busy.function("busy", "/read").status == 200


def test_only_one_backup_at_a_time_and_none_over_another(busy: Daemon, tmp_path: Path) -> None:
    """
    A second backup at the same time is refused; so is a file that is there; a backup that is
    interrupted leaves nothing.
    """
    with subprocess.Popen(
        [BIN / "workerd-faas", "backup", "-"],
        cwd=busy.directory,
        env=busy.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as first:
        staging = busy.directory / "data" / "backing-up"
        until(lambda: any(staging.glob("*")), "the first one has begun")
        # It waits for its reader: there is more than a pipe holds.
        second = operate(busy, "backup", tmp_path / "b.tar")
        assert second.returncode == 1
        assert "another backup" in second.stderr
        assert list(tmp_path.iterdir()) == []
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 128 + signal.SIGTERM
    assert not staging.exists()
    backed_up(busy, tmp_path / "b.tar")
    again = operate(busy, "backup", tmp_path / "b.tar")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    backed_up(busy, tmp_path / "b.tar", "--overwrite")
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.tar"]


def test_a_restore_that_was_killed_keeps_the_daemon_from_starting(
    busy: Daemon, tmp_path: Path
) -> None:
    """
    With half of a backup in `DATA_DIR` the daemon refuses to start, and restoring again works.
    """
    backed_up(busy, tmp_path / "b.tar", "--with-keys")
    with directory() as place:
        other = Daemon(place, settings=busy.settings, token=busy.token, account=busy.account)
        half = place / "data" / "restoring" / "bundles"
        half.mkdir(parents=True)
        (place / "data" / "bundles").mkdir()
        process = other.launch()
        assert process.wait(60) == 1
        assert "run `workerd-faas restore` again" in other.log
        done = operate(other, "restore", tmp_path / "b.tar")
        assert done.returncode == 0, done.stderr
        try:
            assert other.start().function("busy", "/read").status == 200
        finally:
            other.kill()


def test_code_that_is_damaged_is_said_and_left_out(tmp_path: Path) -> None:
    """
    A backup of a store with a bundle that is damaged and one that is missing exits with 3, names
    both, and can be restored.
    """
    with running() as daemon:
        for name in ("one", "two", "three"):
            code = f"export default {{ fetch: () => new Response('{name}') }}"
            assert daemon.upload(name, code).status == 200
        bundles = sorted((daemon.directory / "data" / "bundles").glob("??/*"))
        contents = {path: path.read_bytes() for path in bundles}
        (first,) = (path for path, data in contents.items() if b"'one'" in data)
        (second,) = (path for path, data in contents.items() if b"'two'" in data)
        first.write_bytes(contents[first][:-1] + b"!")
        second.unlink()
        done = operate(daemon, "backup", tmp_path / "b.tar", "--json")
        assert done.returncode == 3, done.stderr
        named = [name.rpartition("/")[2] for name in json.loads(done.stdout)["damaged"]]
        assert sorted(named) == sorted([first.name, second.name])
        with restored(daemon, tmp_path / "b.tar") as copy:
            assert copy.function("three").text == "three"
            assert copy.function("one").status == 503
