"""The examination of the machine, on directories and ports of the tests' own."""

import socket
from pathlib import Path

import pytest

from workerd_faas.operator import machine
from workerd_faas.operator.finding import Finding, Level, failed, ok, table, warning
from workerd_faas.runtime import binary
from workerd_faas.settings.endpoints import parse
from workerd_faas.settings.load import load
from workerd_faas.store.lock import DirectoryLock


def test_a_directory_that_can_be_written_is_right(tmp_path: Path) -> None:
    """A private, writable directory passes, and nothing is left in it."""
    tmp_path.chmod(0o700)
    assert machine.data_directory(tmp_path).level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_can_be_made_is_right(tmp_path: Path) -> None:
    """A directory that is missing passes when its nearest parent is writable; it is not made."""
    finding = machine.data_directory(tmp_path / "a" / "b")
    assert finding.level is Level.OK
    assert not (tmp_path / "a").exists()


def test_a_directory_open_to_everybody_is_a_warning(tmp_path: Path) -> None:
    """Strangers who can look into the data directory are worth a warning."""
    tmp_path.chmod(0o755)
    finding = machine.data_directory(tmp_path)
    assert finding.level is Level.WARNING
    assert "chmod 700" in finding.detail


def test_a_file_in_the_place_of_the_directory_fails(tmp_path: Path) -> None:
    """A data directory that is a file cannot be written."""
    (tmp_path / "data").write_text("")
    assert machine.data_directory(tmp_path / "data").level is Level.FAILED


def test_a_free_port_is_right_and_a_taken_one_fails() -> None:
    """A port that another program listens on fails, unless the daemon itself is running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        endpoint = parse(f"tcp:{other.getsockname()[1]}:interface=127.0.0.1")
        assert machine.listening(endpoint, running=False).level is Level.FAILED
        assert machine.listening(endpoint, running=True).level is Level.OK
    assert machine.listening(endpoint, running=False).level is Level.OK


def test_an_address_of_another_machine_fails() -> None:
    """An interface that this machine does not have is said to be so."""
    finding = machine.listening(parse("tcp:8080:interface=192.0.2.1"), running=False)
    assert finding.level is Level.FAILED
    assert "does not have that address" in finding.detail


def test_a_daemon_is_seen_by_its_lock(tmp_path: Path) -> None:
    """The data directory of a running daemon is known by its lock, and looking makes no file."""
    assert not machine.is_running(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    assert machine.is_running(tmp_path)
    lock.release()
    assert not machine.is_running(tmp_path)


def test_a_local_name_that_leads_elsewhere_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--dev` names that a resolver sends to another machine are a failure."""

    def elsewhere(host: str, *rest: object, **options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("198.51.100.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    levels = [finding.level for finding in machine.names(load({}, dev=True))]
    assert levels == [Level.FAILED, Level.FAILED]


def test_a_name_without_an_address_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows here may be known elsewhere, so that it is a warning."""

    def nowhere(host: str, *rest: object, **options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    levels = [finding.level for finding in machine.names(load({}, dev=True))]
    assert levels == [Level.WARNING, Level.WARNING]


def test_the_table_lines_up() -> None:
    """Each finding has one line, with level, subject and detail in columns."""
    findings: list[Finding] = [ok("a", "fine"), warning("bcd", "so so"), failed("ef", "bad")]
    assert table(findings).splitlines() == [
        "ok       a    fine",
        "warning  bcd  so so",
        "failed   ef   bad",
    ]


def test_workerd_is_found_with_its_version() -> None:
    """The workerd of this checkout passes, with its version and where it is."""
    finding = machine.workerd(None)
    assert finding.level is Level.OK
    assert binary.OLDEST in finding.detail


def test_a_program_that_is_no_workerd_fails(tmp_path: Path) -> None:
    """Another program in workerd's place fails in one line that names it."""
    program = tmp_path / "workerd"
    program.write_text("#!/bin/sh\necho something else\n")
    program.chmod(0o755)
    finding = machine.workerd(program)
    assert finding.level is Level.FAILED
    assert str(program) in finding.detail
    assert "\n" not in finding.detail


def test_a_workerd_that_is_too_old_fails(tmp_path: Path) -> None:
    """A workerd from before the oldest that will do fails and says which is needed."""
    program = tmp_path / "workerd"
    program.write_text("#!/bin/sh\necho workerd 2024-01-01\n")
    program.chmod(0o755)
    finding = machine.workerd(program)
    assert finding.level is Level.FAILED
    assert binary.OLDEST in finding.detail
