"""What is different on a terminal: questions, progress, colours. Run under a pseudo-terminal."""

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from tests.cli.fake_server import OTHER_ACCOUNT, State
from tests.cli.support import SCRIPT, Cli
from workerd_faas.cli.terminal import printable, size_text, when

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]")


def on_terminal(
    cli: Cli, *arguments: str, type_: dict[str, str], **environ: str
) -> tuple[int, str]:
    """
    Run the console script on a terminal; when one of the texts of `type_` shows up, type what
    belongs to it. Returns exit status and everything shown.
    """
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    env = {"TERM": "xterm-256color", "COLUMNS": "120", **cli.environ(), **environ}
    process = subprocess.Popen(
        [SCRIPT, *arguments], cwd=cli.work, env=env, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown, waiting, end = "", dict(type_), time.monotonic() + 60
    try:
        with contextlib.suppress(OSError):  # the terminal's other side is closed
            while time.monotonic() < end:
                if select.select([master], [], [], 0.1)[0]:
                    shown += os.read(master, 65536).decode("utf-8", "replace")
                for text in [text for text in waiting if text in shown]:
                    os.write(master, waiting.pop(text).encode())
        return process.wait(30), shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)


@pytest.fixture
def project(cli: Cli) -> Cli:
    """
    A deployed function of somebody who is logged in.
    """
    cli.log_in()
    cli.write(
        {
            "wrangler.json": '{"name": "hello", "main": "i.js", '
            '"compatibility_date": "2026-11-01", "nonsense": 1}',
            "i.js": "export default {};",
        }
    )
    assert cli("deploy").status == 0
    return cli


def test_deleting_asks_for_the_name(project: Cli, server: State) -> None:
    """
    On a terminal the name must be typed; another word changes nothing.
    """
    status, shown = on_terminal(project, "delete", type_={"to go on": "yes\n"})
    assert status == 130 and "hello" in server.scripts, shown
    status, shown = on_terminal(project, "delete", type_={"to go on": "hello\n"})
    assert status == 0 and server.scripts == {}, shown


def test_rollback_asks(project: Cli, server: State) -> None:
    """
    A no leaves what serves in service; a yes changes it.
    """
    project.write({"i.js": "export default { n: 2 };"})
    project("deploy")
    before = len(server.scripts["hello"].deployments)
    status, _ = on_terminal(project, "rollback", type_={"Go on?": "n\n"})
    assert status == 130
    assert len(server.scripts["hello"].deployments) == before
    status, _ = on_terminal(project, "rollback", type_={"Go on?": "y\n"})
    assert status == 0
    assert len(server.scripts["hello"].deployments) == before + 1


def test_accounts_are_offered(project: Cli, server: State) -> None:
    """
    Somebody with several accounts is asked for one of them.
    """
    server.accounts.append((OTHER_ACCOUNT, "team"))
    status, shown = on_terminal(project, "list", type_={"Account": "2\n"})
    assert status == 0, shown
    assert f"/accounts/{OTHER_ACCOUNT}/" in server.requests[-1].path


def test_long_uploads_have_a_bar(project: Cli) -> None:
    """
    An upload of some size shows how far it is, on a terminal only.
    """
    project.write(
        {"i.js": 'import b from "./b.bin"; export default b;', "b.bin": os.urandom(2**22)}
    )
    status, shown = on_terminal(project, "deploy", type_={})
    assert status == 0
    assert re.search(r"4\.\d/4\.\d MB", shown) and "http://hello." in shown
    assert "MB" not in project.process("deploy").err


def test_colours_are_for_terminals_that_want_them(project: Cli) -> None:
    """
    A warning is coloured on a terminal, not with NO_COLOR, not in a pipe.
    """
    assert COLOUR.search(on_terminal(project, "deploy", "--dry-run", type_={})[1])
    assert not COLOUR.search(on_terminal(project, "deploy", "--dry-run", type_={}, NO_COLOR="1")[1])
    done = project.process("deploy", "--dry-run")
    assert "nonsense" in done.err and "\x1b" not in done.out + done.err


def test_tables_have_headings_on_terminals(project: Cli) -> None:
    """
    A list has headings for people and none for programs.
    """
    assert "MODIFIED" in on_terminal(project, "list", type_={})[1]
    assert "MODIFIED" not in project.process("list").out


def test_ids_and_addresses_stay_whole_on_a_narrow_terminal(project: Cli, server: State) -> None:
    """
    What somebody copies from a list is in one piece however narrow the terminal is; text is folded.
    """
    (version,) = server.scripts["hello"].versions
    assert project("alias", "set", "staging", version["id"]).status == 0
    _, shown = on_terminal(project, "alias", "list", type_={}, COLUMNS="40", NO_COLOR="1")
    (row,) = (line for line in shown.splitlines() if line.startswith("staging "))
    assert version["id"] in row.split() and row.split()[-1].startswith("http://staging.hello.")
    version["annotations"]["workers/message"] = "some words " * 10
    _, shown = on_terminal(project, "versions", "list", type_={}, COLUMNS="100", NO_COLOR="1")
    assert len([line for line in shown.splitlines() if "words" in line]) > 3


def test_a_closed_pipe_is_no_accident(project: Cli, server: State) -> None:
    """
    When the reader of our output goes away, nothing is complained about.
    """
    for number in range(3000):
        server.scripts[f"f{number}"] = server.scripts["hello"]
    process = subprocess.Popen(
        [SCRIPT, "list"], env=project.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert b"Traceback" not in complaints and b"BrokenPipe" not in complaints


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\tc", "a\nb\tc"),
        ("a\r\nb", "a\nb"),
        ("\x1b[31mred\x1b]0;t\x07", "\ufffd[31mred\ufffd]0;t\ufffd"),
        ("a\rb\x08\x9b", "a\ufffdb\ufffd\ufffd"),
        ("\u202eabc\u2066", "\ufffdabc\ufffd"),
        ("\udcff", "\ufffd"),
        ("né 漢字 🙂", "né 漢字 🙂"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    """
    What could act on a terminal is replaced; text of any language stays.
    """
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.00 KiB"), (1536, "1.50 KiB"), (1048575, "1024.00 KiB"), (3 * 1048576, "3.00 MiB")],
)
def test_sizes(size: int, text: str) -> None:
    """
    Sizes are in KiB, from one MiB on in MiB.
    """
    assert size_text(size) == text


def test_times_that_cannot_be_read() -> None:
    """
    A missing time is a dash, an odd one is shown as it is.
    """
    assert (when(None), when("soon")) == ("-", "soon")
    assert re.fullmatch(r"2026-11-2\d \d\d:\d\d:06", when("2026-11-23T07:14:06.600286Z"))
