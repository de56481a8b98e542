"""`wrkst` against the real daemon: grants, databases, logins without a browser, deployments."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.daemon import BIN, ROOT, Daemon, running
from tests.e2e.developer import Developer, browser, confirm_device
from workerd_faas.cli.failure import Exit

CODE = "export default { fetch: (request, env) => Response.json(Object.keys(env)) };"
CALLER = "export default { fetch: (request, env) => env.SHOP.fetch(request) };"


@pytest.fixture
def developer(tmp_path: Path, dev: Daemon) -> Developer:
    """
    Somebody with a token.
    """
    return Developer(tmp_path / "home", dev)


def project(home: Path, name: str, code: str, **settings: object) -> Path:
    """
    A project of one module.
    """
    directory = home / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.js").write_text(code)
    document = {"name": name, "main": "index.js", "compatibility_date": "2026-11-01", **settings}
    (directory / "wrangler.jsonc").write_text(json.dumps(document))
    return directory


def test_grants_between_two_developers(tmp_path: Path, dev: Daemon) -> None:
    """
    add, list and remove decide whether another account's function can be deployed and can call.
    """
    owner = Developer(tmp_path / "owner", dev)
    other = Developer(tmp_path / "other", dev)
    token, account = dev.new_token("neighbours")
    other.environment["WRKST_TOKEN"] = token
    shop = project(owner.home, "granted-shop", CODE)
    owner.run("deploy", "--bundler", "esbuild", cwd=shop)
    services = [{"binding": "SHOP", "service": "granted-shop"}]
    caller = project(other.home, "granted-caller", CALLER, services=services)
    refused = other.run("deploy", "--bundler", "esbuild", cwd=caller, expect=Exit.REFUSED)
    assert "Could not resolve service binding 'SHOP'" in refused
    assert account in owner.run("grant", "add", "granted-shop", account)
    (listed,) = owner.json("grant", "list", "granted-shop")
    assert listed["account_id"] == account
    assert account in owner.run("grant", "list", "granted-shop")
    other.run("deploy", "--bundler", "esbuild", cwd=caller)
    assert dev.function("granted-caller").text == "[]"
    owner.run("grant", "remove", "granted-shop", account)
    assert dev.function("granted-caller").status == 500
    assert owner.json("grant", "list", "granted-shop") == []
    again = owner.run("grant", "remove", "granted-shop", account, expect=Exit.REFUSED)
    assert "not granted" in again
    wrong = owner.run("grant", "add", "granted-shop", "neighbours", expect=Exit.REFUSED)
    assert "32 hex digits" in wrong


def test_databases(tmp_path: Path) -> None:
    """
    create, list, get, update, delete; the password goes in by standard input and never comes out.
    """
    with running(dev=True, HYPERDRIVE_ALLOW="127.0.0.1/32") as dev:
        developer = Developer(tmp_path, dev)
        string = "postgres://clerk:open%20sesame@127.0.0.1:5433/shop"
        made = developer.run("hyperdrive", "create", "shop", "--json", stdin=string)
        id_ = json.loads(made)["id"]
        said = made + developer.run("hyperdrive", "list") + developer.run("hyperdrive", "get", id_)
        assert "postgres://clerk@127.0.0.1:5433/shop" in said
        assert developer.json("hyperdrive", "get", id_)["origin"]["user"] == "clerk"
        assert [each["id"] for each in developer.json("hyperdrive", "list")] == [id_]
        string = "mysql://boss:open%20sesame%202@127.0.0.1/store"
        said += developer.run("hyperdrive", "update", id_, stdin=string)
        said += developer.run("hyperdrive", "update", id_, "--name", "other")
        origin = developer.json("hyperdrive", "get", id_)
        assert (origin["name"], origin["origin"]["port"]) == ("other", 3306)
        wrong = developer.run("hyperdrive", "create", "x", stdin="postgres://u@h/d", expect=2)
        assert "no password" in wrong
        assert "u@h" not in wrong
        developer.run("hyperdrive", "delete", id_)
        assert developer.json("hyperdrive", "list") == []
        assert "sesame" not in said


def test_login_by_a_code(tmp_path: Path, dev: Daemon) -> None:
    """
    `login --device` shows an address and a code; once confirmed, further commands are answered.
    """
    developer = Developer(tmp_path / "home", dev, token=False)
    developer.run("config", "set-url", dev.url)
    with subprocess.Popen(
        [BIN / "wrkst", "login", "--device"],
        cwd=developer.home,
        env=developer.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as login:
        assert login.stdout is not None
        printed = ""
        while "Code: " not in printed:
            line = login.stdout.readline()
            assert line, printed
            printed += line
        (code,) = re.findall(r"Code: (\S+)", printed)
        (link,) = re.findall(r"http://\S+/device\?\S+", printed)
        assert code in link
        confirm_device(link, "lovelace", browser())
        rest, _ = login.communicate(timeout=60)
        assert login.returncode == 0, printed + rest
    assert "lovelace" in developer.run("whoami")
    developer.run("logout")
    assert developer.run("whoami", expect=Exit.LOGIN)


def test_a_login_by_a_code_that_is_refused(tmp_path: Path, dev: Daemon) -> None:
    """
    Refusing ends the program with the status of those who are not logged in.
    """
    developer = Developer(tmp_path / "home", dev, token=False)
    developer.run("config", "set-url", dev.url)
    with subprocess.Popen(
        [BIN / "wrkst", "login", "--device"],
        cwd=developer.home,
        env=developer.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as login:
        assert login.stdout is not None
        printed = ""
        while "Code: " not in printed:
            printed += login.stdout.readline()
        (link,) = re.findall(r"http://\S+/device\?\S+", printed)
        confirm_device(link, "mallory", browser(), decision="refuse")
        rest, _ = login.communicate(timeout=60)
        assert login.returncode == Exit.LOGIN
        assert "refused" in rest


def test_deployments_are_viewed(developer: Developer) -> None:
    """
    A deployment is shown by its id or the beginning of it, also when it is not the current one.
    """
    directory = project(developer.home, "viewed", CODE)
    first = developer.json("deploy", "--bundler", "esbuild", cwd=directory)
    developer.run("deploy", "--bundler", "esbuild", cwd=directory)
    listed = developer.json("deployments", "list", "--name", "viewed")
    shown = developer.json("deployments", "view", listed[1]["id"][:8], "--name", "viewed")
    assert shown == listed[1]
    assert first["version_id"] in json.dumps(shown)
    assert listed[1]["id"] in developer.run("deployments", "view", listed[1]["id"], cwd=directory)
    missing = developer.run("deployments", "view", "ffff", cwd=directory, expect=Exit.REFUSED)
    assert "deployments list" in missing


def test_a_server_below_localhost_is_reached(developer: Developer, dev: Daemon) -> None:
    """
    `http://<anything>.localhost` is this machine, whatever the resolver says.
    """
    url = dev.url.replace("localhost", "no-such-function.localhost")
    answer = developer.run("--url", url, "list", expect=Exit.REFUSED)
    assert "cannot be reached" not in answer
    assert "unknown" not in answer


def test_check_startup(developer: Developer) -> None:
    """
    `check startup` profiles the start with the project's own Wrangler; without one it says so.
    """
    directory = project(developer.home, "profiled", CODE)
    assert "npm install" in developer.run("check", "startup", cwd=directory, expect=Exit.PROJECT)
    (directory / "node_modules").symlink_to(ROOT / "node_modules")
    developer.run("check", "startup", "--outfile", "it.cpuprofile", cwd=directory)
    assert (directory / "it.cpuprofile").exists()
