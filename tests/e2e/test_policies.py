"""The operator decides for single accounts; a daemon that runs follows."""

import json
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.e2e.daemon import Daemon, running, until, workerds_of

WHO = "export default { fetch(request, env) { return new Response('here'); } };"
REACH = """
import { connect } from "cloudflare:sockets";
export default { async fetch(request, env) {
  const tried = async (what) => { try { return await what() } catch { return "refused" } };
  const url = await request.text();
  const { hostname, port } = new URL(url);
  return Response.json([
    await tried(async () => (await fetch(url)).status === 0 ? "" : "reached"),
    await tried(async () => { await connect({ hostname, port: +port }).opened; return "reached" }),
  ]);
} };
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """
    One that lets functions reach one address of this machine.
    """
    with running(EGRESS_ALLOW="127.0.0.1/32") as started:
        yield started


def cells_of(daemon: Daemon) -> int:
    """
    How many function cells there are.
    """
    return sum("/f/c" in str(Path(f"/proc/{pid}/cwd").readlink()) for pid in workerds_of(daemon))


def another(daemon: Daemon) -> Daemon:
    """
    The same daemon for another account.
    """
    token, account = daemon.new_token("another")
    return attrs.evolve(daemon, token=token, account=account)


def policy(daemon: Daemon) -> dict[str, str]:
    """
    What the API says of our account.
    """
    found: dict[str, str] = daemon.api("GET", "/policy").result
    return found


def test_isolation_of_one_account(daemon: Daemon) -> None:
    """
    An account that is set to `function` has a cell a function soon, without a restart and without a
    failed request, and one for all again when it is set back; its members can see which.
    """
    for name in ("one", "two"):
        daemon.upload(name, WHO)
        assert daemon.function(name).text == "here"
    assert policy(daemon) == {
        "isolation": "account",
        "isolation_source": "installation",
        "egress": "public 127.0.0.1/32",
        "egress_source": "installation",
    }
    assert cells_of(daemon) == 1
    for level, expected in (("function", 2), ("default", 1)):
        daemon.operator("account", "set", "tests", "--isolation", level)

        def arrived(expected: int = expected) -> bool:
            assert {daemon.function(name).status for name in ("one", "two")} == {200}
            return cells_of(daemon) == expected

        until(arrived, f"isolation {level}")
    assert policy(daemon)["isolation_source"] == "installation"


def test_egress_of_one_account(daemon: Daemon) -> None:
    """
    What an account's functions reach follows its policy: nothing, not even what the settings open
    for all, then an address of its own; no other account's functions feel it.
    """
    daemon.upload("mine", REACH)
    another(daemon).upload("theirs", REACH)
    target = f"{daemon.url}/".encode()

    def reached(name: str) -> list[str]:
        found: list[str] = daemon.function(name, method="POST", body=target).document
        return found

    assert reached("mine") == reached("theirs") == ["reached", "reached"]
    daemon.operator("account", "set", "tests", "--egress", "none")
    until(lambda: reached("mine") == ["refused", "refused"], "nothing is reached")
    assert reached("theirs") == ["reached", "reached"]
    assert policy(daemon)["egress"] == "none"
    daemon.operator("account", "set", "tests", "--egress", "127.0.0.0/8")
    until(lambda: reached("mine") == ["reached", "reached"], "its own network is reached")
    daemon.operator("account", "set", "tests", "--egress", "public")
    until(lambda: reached("mine") == ["refused", "refused"], "EGRESS_ALLOW does not count")
    daemon.operator("account", "set", "tests", "--egress", "default")
    until(lambda: reached("mine") == ["reached", "reached"], "EGRESS_ALLOW counts again")


def test_policies_outlive_the_daemon_and_are_listed() -> None:
    """
    A policy is there after a restart; list and show tell what holds and who has decided.
    """
    with running() as daemon:
        daemon.operator("account", "set", "tests", "--isolation", "shared", "--egress", "public")
        assert daemon.stop() == 0
        daemon.start()
        assert policy(daemon)["isolation"] == "account"
        (listed,) = json.loads(daemon.operator("account", "list", "--json"))
        assert listed["id"] == daemon.account
        assert listed["egress"] == "public"
        shown = json.loads(daemon.operator("account", "show", daemon.account, "--json"))
        assert shown == listed
        words = daemon.operator("account", "list")
        assert "isolation account*  egress public*" in words
        daemon.operator("account", "set", "tests", "--egress", "default")
        assert "isolation shared*  egress public\n" in daemon.operator("account", "list")


def test_an_account_may_leave_a_shared_cell() -> None:
    """
    Where all share a cell, an account can have cells of its own, and nothing of it runs in the
    shared one any more.
    """
    with running(ISOLATION="shared") as daemon:
        daemon.upload("mine", WHO)
        another(daemon).upload("theirs", WHO)
        assert daemon.function("mine").text == daemon.function("theirs").text == "here"
        assert cells_of(daemon) == 1
        daemon.operator("account", "set", "tests", "--isolation", "account")

        def arrived() -> bool:
            assert {daemon.function(name).status for name in ("mine", "theirs")} == {200}
            return cells_of(daemon) == 2

        until(arrived, "the account has left")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--egress", "10.0.0.1/8"], "no bits set behind the prefix"),
        (["--egress", "public none"], "none stands alone"),
        (["--egress", "db.example.com"], "names of hosts are not taken"),
        (["--egress", " "], "says nothing"),
        ([], "Name --isolation, --egress, or both"),
    ],
)
def test_nonsense_is_refused(daemon: Daemon, arguments: list[str], message: str) -> None:
    """
    What is no policy changes nothing and is answered with what would be right.
    """
    before = daemon.operator("account", "list")
    with pytest.raises(AssertionError, match=message):
        daemon.operator("account", "set", "tests", *arguments)
    assert daemon.operator("account", "list") == before


def test_unknown_accounts(daemon: Daemon) -> None:
    """
    An account that does not exist is not made.
    """
    with pytest.raises(AssertionError, match="There is no account"):
        daemon.operator("account", "set", "nobody", "--isolation", "function")
    assert "nobody" not in daemon.operator("account", "list")
    assert another(daemon).account not in daemon.operator("account", "show", "tests")
    stranger = attrs.evolve(another(daemon), account=daemon.account)
    assert stranger.api("GET", "/policy").status == 403
