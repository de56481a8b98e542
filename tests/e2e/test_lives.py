"""Starting, stopping, being killed, and what refuses to start."""

import random
import socket
import time
from pathlib import Path

from tests.e2e.daemon import PATIENCE, Daemon, directory, running, until, workerds_of


def says(text: str) -> str:
    """
    Code of a function that answers with a text.
    """
    return f"export default {{ fetch() {{ return new Response({text!r}); }} }};"


def test_what_was_deployed_is_there_after_a_restart() -> None:
    """
    SIGTERM ends the daemon with status 0 and leaves no process; the next one serves the same.
    """
    with running() as daemon:
        old = daemon.upload("kept", says("1")).result["deployment_id"]
        daemon.upload("kept", says("2"))
        daemon.api("PUT", "/workers/scripts/kept/aliases/stable", {"version_id": old})
        assert daemon.function("kept").text == "2"
        assert daemon.stop() == 0
        assert workerds_of(daemon) == []
        daemon.start()
        assert daemon.function("kept").text == "2"
        assert daemon.function(f"{old[:8]}.kept").text == "1"
        assert daemon.function("stable.kept").text == "1"
        assert len(daemon.api("GET", "/workers/scripts").result) == 1


def test_requests_in_flight_are_answered_before_the_end() -> None:
    """
    A daemon that is asked to stop finishes what it has begun and takes nothing new.
    """
    slow = (
        "export default { async fetch() {"
        " await scheduler.wait(1000); return new Response('done'); } };"
    )
    with running() as daemon:
        daemon.upload("slow", slow)
        with socket.create_connection(("127.0.0.1", daemon.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: slow.faas.test\r\n\r\n")
            until(lambda: workerds_of(daemon), "the cell is there")
            time.sleep(0.3)
            assert daemon.process is not None
            daemon.process.terminate()
            client.settimeout(PATIENCE)
            received = b""
            while chunk := client.recv(65536):
                received += chunk
        assert received.startswith(b"HTTP/1.1 200")
        assert received.endswith(b"done")
        assert daemon.process.wait(PATIENCE) == 0


def test_killed_at_any_moment_nothing_acknowledged_is_lost() -> None:
    """
    After each kill -9 during a deploy, the function answers with the version that was last
    acknowledged or the one being deployed, and no workerd is left behind.
    """
    chance = random.Random(20261123)
    with running() as daemon:
        daemon.upload("killed", says("0"))
        acknowledged = 0
        attempted = 0
        for _ in range(10):
            stop_after = acknowledged + 5
            daemon_dies_in = chance.uniform(0.0, 0.25)
            began = time.monotonic()
            while acknowledged < stop_after:
                attempted = acknowledged + 1
                if time.monotonic() - began > daemon_dies_in or attempted == stop_after:
                    _kill_during_upload(daemon, attempted, chance)
                    break
                assert daemon.upload("killed", says(str(attempted))).status == 200
                acknowledged = attempted
            until(lambda: not workerds_of(daemon), "no workerd is left behind")
            daemon.start()
            found = int(daemon.function("killed").text)
            assert found in {acknowledged, attempted}
            acknowledged = found


def _kill_during_upload(daemon: Daemon, number: int, chance: random.Random) -> None:
    """
    Send an upload without waiting for its answer, and kill the daemon somewhere along the way.
    """
    import json

    from tests.e2e.daemon import multipart

    metadata = {"main_module": "index.js", "compatibility_date": "2026-11-01"}
    content_type, body = multipart(
        ("metadata", None, json.dumps(metadata).encode()),
        ("index.js", "application/javascript+module", says(str(number)).encode()),
    )
    head = (
        f"PUT /accounts/{daemon.account}/workers/scripts/killed HTTP/1.1\r\n"
        f"Host: {daemon.base_domain}\r\nAuthorization: Bearer {daemon.token}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.sendall(head.encode() + body)
        time.sleep(chance.uniform(0.0, 0.06))
        daemon.kill()


def test_a_second_daemon_on_the_same_directory_is_refused() -> None:
    """
    It ends with status 1 and one line that says why; the first goes on.
    """
    with running() as daemon:
        second = Daemon(daemon.directory / "second", settings={})
        second.directory.mkdir()
        second.settings["DATA_DIR"] = daemon.environment["DATA_DIR"]
        assert second.launch().wait(PATIENCE) == 1
        assert "in use by another daemon" in second.log
        assert "Traceback" not in second.log
        assert daemon.is_healthy()


def test_a_taken_port_ends_the_start_with_one_clear_line() -> None:
    """
    The line names the endpoint; the status is 1 and nothing is left running.
    """
    with directory() as path, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon = Daemon(path, port=taken.getsockname()[1])
        assert daemon.launch().wait(PATIENCE) == 1
        lines = [line for line in daemon.log.splitlines() if "cannot start" in line]
        assert len(lines) == 1
        assert str(daemon.port) in lines[0]
        assert "Traceback" not in daemon.log
        assert workerds_of(daemon) == []


def test_a_damaged_database_is_named() -> None:
    """
    A daemon whose database is damaged says which file it is and ends with status 1.
    """
    with directory() as path:
        daemon = Daemon(path)
        (path / "data").mkdir()
        (path / "data" / "faas.db").write_bytes(b"junk" * 5000)
        assert daemon.launch().wait(PATIENCE) == 1
        assert "faas.db" in daemon.log
        assert "Traceback" not in daemon.log


def test_wrong_settings_are_all_reported_at_once() -> None:
    """
    Every problem is on a line of its own with the setting's name, and no secret is shown.
    """
    with directory() as path:
        daemon = Daemon(path, settings={"JWT_SECRET": "hunter2", "LISTEN": "nonsense"})
        daemon.settings |= {"OIDC_ISSUER": "ftp://x", "EGRESS_ALLOW": "10.0.0.0/99"}
        assert daemon.launch().wait(PATIENCE) != 0
        for name in ("JWT_SECRET", "LISTEN", "OIDC_ISSUER", "EGRESS_ALLOW"):
            assert name in daemon.log
        assert "hunter2" not in daemon.log
        assert "Traceback" not in daemon.log


def test_a_cell_that_dies_is_replaced(daemon: Daemon) -> None:
    """
    After its process was killed, the next request is answered by a new one.
    """
    daemon.upload("revived", says("alive"))
    assert daemon.function("revived").text == "alive"
    import os
    import signal

    for pid in workerds_of(daemon):
        os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.function("revived").text == "alive", "the function answers again")


def test_the_data_directory_is_private() -> None:
    """
    Nobody else may look into the data directory or read the database.
    """
    with running() as daemon:
        data = Path(daemon.environment["DATA_DIR"])
        assert data.stat().st_mode & 0o077 == 0
        assert (data / "faas.db").stat().st_mode & 0o077 == 0
