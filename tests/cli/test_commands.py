"""The commands that look at and change what is deployed, and access."""

import datetime
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.fake_server import State, discovery
from tests.cli.support import SCRIPT, Cli
from workerd_faas.cli.commands.access import parse_expiry
from workerd_faas.cli.commands.init import TEMPLATES, name_from
from workerd_faas.cli.commands.shares import parse_shares
from workerd_faas.cli.failure import Exit, Failure
from workerd_faas.cli.root import cli as root_command

CONFIG = '{"name": "hello", "main": "i.js", "compatibility_date": "2026-11-01"}'


@pytest.fixture
def deployed(cli: Cli, server: State) -> Cli:
    """
    Somebody whose function has three versions; the second was in service before the third.
    """
    cli.log_in()
    cli.write({"wrangler.json": CONFIG})
    for number in (1, 2, 3):
        cli.write({"i.js": f"export default {{ n: {number} }};"})
        done = cli("deploy", "--message", f"number {number}", "--tag", f"v{number}")
        assert done.status == 0, done.err
    return cli


def ids(server: State) -> list[str]:
    """
    Ids of the versions, the newest first.
    """
    return [version["id"] for version in server.scripts["hello"].versions]


def serving(server: State) -> dict[str, float]:
    """
    What serves now.
    """
    versions = server.scripts["hello"].deployments[0]["versions"]
    return {each["version_id"]: each["percentage"] for each in versions}


def test_set_url_is_remembered(cli: Cli, server: State) -> None:
    """
    The address is normalised, kept for later commands, and the server is looked for.
    """
    cli.monkeypatch.delenv("WRKST_URL")
    done = cli("config", "set-url", f"{server.base_url}/client/v4/")
    assert done.status == 0
    assert f"The server is {server.base_url}. It answers." in done.err
    shown = cli("config", "show", "--json").json
    assert shown["url"] == server.base_url
    assert shown["credentials"] is None


def test_set_url_needs_a_server(cli: Cli) -> None:
    """
    An address where nothing listens is kept with --force only.
    """
    cli.monkeypatch.delenv("WRKST_URL")
    done = cli("config", "set-url", "http://127.0.0.1:1")
    assert done.status == 5 and "--force" in done.err
    assert cli("list").status == 2
    done = cli("config", "set-url", "--force", "http://127.0.0.1:1")
    assert done.status == 0 and "warning" in done.err
    assert cli("list").status == 3


def test_set_url_wants_the_servers_own_name(cli: Cli, server: State) -> None:
    """
    A server that calls itself otherwise is not kept under this name; the right one is told.
    """
    server.metadata = {"issuer": "http://faas.example"}
    done = cli("config", "set-url", server.base_url)
    assert done.status == 1
    assert "wrkst config set-url http://faas.example" in done.err
    assert not (cli.home / ".config/wrkst/config.json").exists()


def test_set_url_knows_the_name_behind_an_address(cli: Cli, server: State) -> None:
    """
    Where a server answers to `localhost` only, its number is refused with the address to set.
    """
    named = server.base_url.replace("127.0.0.1", "localhost")
    server.metadata = {
        key: value.replace("127.0.0.1", "localhost")
        for key, value in discovery(server).items()
        if isinstance(value, str)
    }
    done = cli("config", "set-url", server.base_url)
    assert done.status == 1
    assert f"`wrkst config set-url {named}`" in done.err


def test_unencrypted_servers_are_warned_of(cli: Cli) -> None:
    """
    Plain http to another machine is pointed out.
    """
    done = cli("config", "set-url", "--force", "http://faas.invalid")
    assert "not encrypted" in done.err


def test_no_server_set(cli: Cli) -> None:
    """
    Without any address the command ends with status 2 and says how to set one.
    """
    cli.monkeypatch.delenv("WRKST_URL")
    done = cli("list")
    assert done.status == 2
    assert "config set-url" in done.err


def test_unreachable_server(cli: Cli) -> None:
    """
    A server that does not answer gives status 5.
    """
    cli.monkeypatch.setenv("WRKST_TOKEN", "wft_x")
    done = cli("--url", "http://127.0.0.1:1", "whoami")
    assert done.status == 5


def test_list(deployed: Cli, server: State) -> None:
    """
    Functions are listed by name with their addresses, as text and as JSON.
    """
    done = deployed("list")
    host = server.base_url.removeprefix("http://")
    assert done.out.startswith("hello\t") and f"http://hello.{host}" in done.out
    assert [each["id"] for each in deployed("list", "--json").json] == ["hello"]


def test_versions_list_and_view(deployed: Cli, server: State) -> None:
    """
    Versions are listed the newest first; one can be viewed by the beginning of its id.
    """
    newest = ids(server)[0]
    done = deployed("versions", "list")
    assert done.out.splitlines()[0].startswith(newest)
    assert "number 3" in done.out.splitlines()[0]
    done = deployed("versions", "view", newest[:8])
    assert "2026-11-01" in done.out and "v3" in done.out
    assert deployed("versions", "view", newest, "--json").json["id"] == newest


def test_ambiguous_version(deployed: Cli, server: State) -> None:
    """
    The beginning of several ids is refused with all of them.
    """
    for number, version in enumerate(server.scripts["hello"].versions):
        version["id"] = f"abcdef{number}0" + version["id"][8:]
    done = deployed("versions", "view", "abcdef")
    assert done.status == 1
    assert all(version in done.err for version in ids(server))
    assert deployed("versions", "view", "abcdef1").status == 0
    assert deployed("versions", "view", "0123456").status == 1
    assert deployed("versions", "view", "xyz").status == 2


def test_share_traffic(deployed: Cli, server: State) -> None:
    """
    Two versions share the traffic by the percentages given; without a terminal nobody asks.
    """
    new, old, _ = ids(server)
    done = deployed("versions", "deploy", f"{new[:8]}@90%", f"{old[:8]}@10%", "-m", "careful")
    assert done.status == 0, done.err
    assert serving(server) == {new: 90, old: 10}
    status = deployed("deployments", "status")
    assert "90 %" in status.out and "careful" in status.out
    shown = deployed("deployments", "status", "--json").json
    assert len(shown["versions"]) == 2


def test_rollback(deployed: Cli, server: State) -> None:
    """
    Rolling back puts the version before in service, naming one puts that one.
    """
    new, middle, old = ids(server)
    done = deployed("rollback", "--message", "wrong", "--json")
    assert done.status == 0, done.err
    assert serving(server) == {middle: 100}
    assert server.scripts["hello"].deployments[0]["annotations"] == {"workers/message": "wrong"}
    assert deployed("rollback", old[:8]).status == 0
    assert serving(server) == {old: 100}
    assert len(deployed("deployments", "list", "--json").json) == 5
    assert new not in serving(server)


def test_rollback_of_the_first_version(cli: Cli, server: State) -> None:
    """
    Where nothing served before there is nothing to go back to.
    """
    cli.log_in()
    cli.write({"wrangler.json": CONFIG, "i.js": "export default {};"})
    cli("deploy")
    done = cli("rollback")
    assert done.status == 1
    assert "no earlier deployment" in done.err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["abcd"], [100.0]),
        (["abcd@90%", "ef01@10"], [90.0, 10.0]),
        (["abcd@90", "ef01"], [90.0, 10.0]),
        (["abcd", "ef01"], [50.0, 50.0]),
        (["abcd@0.5%", "ef01"], [0.5, 99.5]),
        (["abcd@100", "ef01"], [100.0, 0.0]),
    ],
)
def test_shares(given: list[str], expected: list[float]) -> None:
    """
    Shares that are not said are the rest, in equal parts.
    """
    assert [share for _, share in parse_shares(given)] == expected


@pytest.mark.parametrize(
    "given", [["a@60", "b@60"], ["a@50"], ["a@x"], ["a@-5"], ["@5"], ["a@1000"], ["x y"]]
)
def test_wrong_shares(given: list[str]) -> None:
    """
    What does not add up to 100 or cannot be read is wrong usage.
    """
    with pytest.raises(Failure) as caught:
        parse_shares(given)
    assert caught.value.exit_status is Exit.USAGE


def test_aliases(deployed: Cli, server: State) -> None:
    """
    An alias is set by the beginning of an id, listed, moved and deleted.
    """
    new, old, _ = ids(server)
    host = server.base_url.removeprefix("http://")
    done = deployed("alias", "set", "stage", old[:8])
    assert done.out.strip() == f"http://stage.hello.{host}"
    deployed("alias", "set", "stage", new[:8])
    (listed,) = deployed("alias", "list", "--json").json
    assert (listed["name"], listed["version_id"]) == ("stage", new)
    assert deployed("alias", "list").out.startswith("stage\t")
    assert deployed("alias", "delete", "stage").status == 0
    assert server.scripts["hello"].aliases == {}
    assert deployed("alias", "delete", "stage").status == 1


@pytest.mark.parametrize("name", ["latest", "Upper", "-x", "a.b"])
def test_impossible_aliases(deployed: Cli, server: State, name: str) -> None:
    """
    A reserved or impossible alias is refused before the server is asked.
    """
    before = len(server.requests)
    assert deployed("alias", "set", "--", name, ids(server)[0]).status == 2
    assert len(server.requests) == before


def test_delete_needs_a_yes(deployed: Cli, server: State) -> None:
    """
    Without a terminal nothing is deleted unless --yes is given.
    """
    assert deployed("delete").status == 2
    assert "hello" in server.scripts
    assert deployed("delete", "--yes").status == 0
    assert server.scripts == {}
    done = deployed("versions", "list")
    assert done.status == 1 and "wrkst list" in done.err


def test_function_by_name_from_anywhere(deployed: Cli, tmp_path: Path) -> None:
    """
    With --name no configuration is needed; without both it is wrong usage.
    """
    deployed.work = tmp_path
    assert deployed("versions", "list", "--name", "hello").status == 0
    assert deployed("versions", "list").status == 2


@pytest.mark.parametrize("words", [["deployments", "list"], ["delete", "--yes"], ["open"]])
def test_a_name_that_cannot_be_one(cli: Cli, server: State, words: list[str]) -> None:
    """
    A function name that none can have is wrong usage, and the server is not asked.
    """
    done = cli(*words, "--name", "../x")
    assert done.status == 2 and "use 1 to 63 characters" in done.err
    assert server.requests == []


def test_open(deployed: Cli, monkeypatch: pytest.MonkeyPatch, server: State) -> None:
    """
    `open` opens the address of the function and prints it.
    """
    opened: list[str] = []

    def visit(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", visit)
    done = deployed("open")
    assert done.status == 0
    assert opened == [done.out.strip()]
    assert opened[0] == f"http://hello.{server.base_url.removeprefix('http://')}"
    assert deployed("open", "--print").out == done.out
    assert len(opened) == 1


def test_tokens(cli: Cli, server: State) -> None:
    """
    A token is shown once when made, listed without its value, and revoked by its name.
    """
    cli.log_in()
    done = cli("token", "create", "ci", "--expires", "90d")
    value = done.out.strip()
    assert value in server.api_tokens and value not in done.err
    assert server.api_tokens[value]["expires_on"].endswith("Z")
    assert "ci" in cli("token", "list").out
    assert cli("token", "revoke", "ci").status == 0
    assert server.api_tokens == {}


def test_a_token_given_in_place_of_its_name_is_not_repeated(cli: Cli, server: State) -> None:
    """
    `token revoke` with the value itself fails without printing it.
    """
    cli.log_in()
    value = server.issue_api_token()
    done = cli("token", "revoke", value)
    assert done.status == 1
    assert value not in done.out + done.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", "2027-02-21T00:00:00Z"),
        ("2027-01-31T10:00:00+02:00", "2027-01-31T08:00:00Z"),
        ("2027-01-31T10:00:00Z", "2027-01-31T10:00:00Z"),
    ],
)
def test_expiry(text: str, expected: str) -> None:
    """
    Days and dates become a time stamp in UTC.
    """
    now = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    assert parse_expiry(text, now) == expected


@pytest.mark.parametrize("text", ["soon", "0d", "2020-01-01", "-5d", "99999999d", "9999d9"])
def test_wrong_expiry(text: str) -> None:
    """
    What is past or cannot be read is wrong usage.
    """
    with pytest.raises(Failure):
        parse_expiry(text, datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC))


def test_sessions(cli: Cli, server: State) -> None:
    """
    Sessions are listed, the present one marked, and ended by their id.
    """
    cli.log_in()
    server.sessions = [
        {"id": "s1", "client": "wrkst", "created_on": server.now(), "current": True},
        {"id": "s2", "client": "wrangler", "created_on": server.now(), "current": False},
    ]
    done = cli("sessions", "list")
    assert [line.endswith("this one") for line in done.out.splitlines()] == [True, False]
    assert cli("sessions", "revoke", "s2").status == 0
    assert [each["id"] for each in cli("sessions", "list", "--json").json] == ["s1"]


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_init_makes_a_project_that_deploys(cli: Cli, server: State, template: str) -> None:
    """
    A new project deploys at once, with the name of its directory.
    """
    cli.log_in()
    done = cli("init", "My First_Function", "--template", template)
    assert done.status == 0, done.err
    cli.work /= "My First_Function"
    done = cli("deploy")
    assert (done.status, "warning" in done.err) == (0, False), done.err
    assert list(server.scripts) == ["my-first-function"]


def test_the_next_step_of_init_can_be_typed(cli: Cli) -> None:
    """
    What `init` says to do next goes into a directory whose name has spaces.
    """
    (line,) = [line for line in cli("init", "a b").err.splitlines() if line.startswith("next: ")]
    assert line == "next: cd 'a b' && wrkst deploy"


def test_init_touches_nothing(cli: Cli) -> None:
    """
    Where a project is already, `init` fails and changes nothing.
    """
    cli.write({"wrangler.toml": "x"})
    done = cli("init")
    assert done.status == 1
    assert [path.name for path in cli.work.iterdir()] == ["wrangler.toml"]


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("Hello World", "hello-world"),
        ("___", "my-function"),
        ("api", "my-api"),
        ("é", "my-function"),
    ],
)
def test_names_from_directories(directory: str, name: str) -> None:
    """
    Any directory gives a name that a function may have.
    """
    assert name_from(Path("/x") / directory) == name


def test_paged_accounts(cli: Cli, server: State) -> None:
    """
    All accounts are found although the server gives them in pages.
    """
    cli.log_in()
    server.accounts += [(f"{number:032x}", f"team{number}") for number in range(4)]
    assert len(cli("whoami", "--json").json["accounts"]) == 5


def test_every_reading_command_has_json() -> None:
    """
    Each command that shows something can show it as JSON.
    """
    showing = {"deploy", "info", "list", "rollback", "show", "status", "upload", "view", "whoami"}
    checked = 0
    commands = dict(root_command.commands)
    while commands:
        name, command = commands.popitem()
        commands.update(getattr(command, "commands", {}))
        if not hasattr(command, "commands") and name in showing:
            checked += 1
            assert any("--json" in option.opts for option in command.params), name
    assert checked > 10


def test_help_of_every_command(cli: Cli) -> None:
    """
    Each command explains itself with status 0.
    """
    for words in (["--help"], ["deploy", "-h"], ["versions", "deploy", "--help"], ["--version"]):
        done = cli(*words)
        assert done.status == 0
        assert "wrkst" in done.out
    assert "Exit status" in cli("--help").out


def all_commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """
    All that can be typed after `wrkst`.
    """
    if not isinstance(command, click.Group):
        yield words
        return
    for name, each in command.commands.items():
        yield from all_commands(each, (*words, name))


@pytest.mark.parametrize("words", list(all_commands(root_command)), ids=" ".join)
def test_help_shows_how_a_command_is_typed(cli: Cli, words: tuple[str, ...]) -> None:
    """
    The help of each command has an example of it, with options that there are.
    """
    shown = cli(*words, "--help").out
    examples = shown.partition("Example")[2].replace("wrkst wrangler -- ", "wrkst wrangler ")
    own = [line for line in examples.splitlines() if f"wrkst {' '.join(words)}" in line]
    # One command under two names says the first of them.
    if words != ("versions", "secret", "list"):
        assert own
    if words not in (("wrangler",), ("check", "startup")):
        options = set(re.findall(r" (--?[a-z][a-z-]*)", " ".join(own)))
        assert options <= set(re.findall(r"--?[a-z][a-z-]*", shown.partition("Options:")[2]))


def test_wrangler_without_a_wrangler(cli: Cli) -> None:
    """
    Where Wrangler is not installed its help is ours, and everything else says how to install it.
    """
    assert "wrkst wrangler" in cli("wrangler", "--help").out
    done = cli("wrangler", "whoami")
    assert done.status == 4
    assert "not installed" in done.err and "npm install --save-dev wrangler" in done.err


@pytest.mark.parametrize("words", [["deplo"], ["deploy", "--nope"], ["alias", "set"]])
def test_wrong_usage(cli: Cli, words: list[str]) -> None:
    """
    Unknown commands and options and missing arguments give status 2.
    """
    assert cli(*words).status == 2


@pytest.mark.parametrize("option", ["--url", "--account"])
def test_an_option_behind_the_command(cli: Cli, option: str) -> None:
    """
    An option of the program that is given to a command is refused with the place where it belongs.
    """
    done = cli("versions", "list", option, "x")
    assert done.status == 2
    assert f"it goes before the command: wrkst {option} … versions list" in done.err


def test_output_that_cannot_be_written(cli: Cli) -> None:
    """
    A full disk behind standard output is an error with status 1, not a traceback.
    """
    cli.log_in()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [SCRIPT, "whoami"],
            env=cli.environ(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: The output cannot be written: No space left on device.\n"


def test_servers_text_cannot_touch_the_terminal(cli: Cli, server: State) -> None:
    """
    Control characters that the server sends are not printed.
    """
    cli.log_in()
    server.accounts = [(server.accounts[0][0], "ada\x1b[2J\x07\u202eevil")]
    done = cli("whoami")
    assert "\x1b" not in done.out and "\x07" not in done.out and "\u202e" not in done.out
    assert json.loads(cli("whoami", "--json").out)["accounts"][0]["name"].startswith("ada\x1b")


def test_environment_from_the_variable(cli: Cli, server: State) -> None:
    """
    CLOUDFLARE_ENV chooses the environment, --env wins over it.
    """
    cli.log_in()
    config = {**json.loads(CONFIG), "env": {"a": {}, "b": {}}}
    cli.write({"wrangler.json": json.dumps(config), "i.js": "export default {};"})
    cli.monkeypatch.setenv("CLOUDFLARE_ENV", "a")
    assert cli("deploy").status == 0
    assert cli("deploy", "--env", "b").status == 0
    assert sorted(server.scripts) == ["hello-a", "hello-b"]


def test_files_are_where_xdg_says(cli: Cli, tmp_path: Path) -> None:
    """
    XDG_CONFIG_HOME moves our files; a relative one counts for nothing.
    """
    cli.monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert cli("config", "set-url", "--force", "http://127.0.0.1:1").status == 0
    assert (tmp_path / "xdg/wrkst/config.json").is_file()
    cli.monkeypatch.setenv("XDG_CONFIG_HOME", "xdg")
    assert cli("config", "show", "--json").json["directory"] == str(cli.home / ".config/wrkst")


@pytest.mark.parametrize("text", ["{", "[]", '{"url": 1}'])
def test_a_broken_settings_file_is_named(cli: Cli, text: str) -> None:
    """
    A settings file that cannot be read is an error that names it.
    """
    cli.monkeypatch.delenv("WRKST_URL")
    path = cli.home / ".config/wrkst/config.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = cli("list")
    assert done.status == 1 and str(path) in done.err


def test_a_token_that_cannot_be_one(cli: Cli) -> None:
    """
    A token with a line end within is refused, not sent and not shown.
    """
    cli.monkeypatch.setenv("WRKST_TOKEN", "wft_a\r\nX-Evil: 1")
    done = cli("list")
    assert done.status == 2 and "Evil" not in done.err
