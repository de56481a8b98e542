"""Deploying a project, from the command line to what the server receives."""

import hashlib
import json

import pytest

from tests.cli.fake_server import OTHER_ACCOUNT, Refused, State, Uploaded
from tests.cli.support import Cli

CONFIG = """{
  // a first function
  "name": "hello",
  "main": "src/index.ts",
  "compatibility_date": "2026-11-01",
  "vars": {"GREETING": "hi", "LIMITS": {"a": [1]},},
}"""
INDEX = """\
import text from "./text.txt";
const answer: string = text;
export default { fetch: () => new Response(answer) };
"""


@pytest.fixture
def project(cli: Cli) -> Cli:
    """
    A small project of somebody who is logged in.
    """
    cli.write({"wrangler.jsonc": CONFIG, "src/index.ts": INDEX, "src/text.txt": "some text"})
    cli.log_in()
    return cli


def parts_of(state: State) -> dict[str, Uploaded]:
    return {part.name: part for part in state.uploads[-1]}


def test_deploy_sends_what_was_built(project: Cli, server: State) -> None:
    """
    The upload holds the bundle, the text as a module of its own, the map and the variables.
    """
    done = project("deploy")
    assert (done.status, done.err.count("error")) == (0, 0), done.err
    parts = parts_of(server)
    text_name = f"./{hashlib.sha1(b'some text').hexdigest()}-text.txt"
    assert list(parts) == ["metadata", "index.js", text_name, "index.js.map"]
    assert parts["index.js"].content_type == "application/javascript+module"
    assert parts[text_name] == Uploaded(text_name, text_name, "text/plain", b"some text")
    assert f'from "{text_name}"'.encode() in parts["index.js"].content
    assert b": string" not in parts["index.js"].content
    metadata = json.loads(parts["metadata"].content)
    assert metadata == {
        "main_module": "index.js",
        "bindings": [
            {"name": "GREETING", "type": "plain_text", "text": "hi"},
            {"name": "LIMITS", "type": "json", "json": {"a": [1]}},
        ],
        "compatibility_date": "2026-11-01",
        "compatibility_flags": [],
        "keep_bindings": ["secret_text", "secret_key"],
        "annotations": {},
        "tail_consumers": [],
    }


def test_deploy_prints_the_addresses(project: Cli, server: State) -> None:
    """
    Standard output has the address of the function, of the version and of its alias.
    """
    done = project("deploy", "--alias", "staging")
    version = server.scripts["hello"].versions[0]["id"]
    host = server.base_url.removeprefix("http://")
    assert done.out.splitlines() == [
        f"http://hello.{host}",
        f"http://{version[:8]}.hello.{host}  (this version)",
        f"http://staging.hello.{host}  (alias staging)",
    ]
    assert version in done.err


def test_deploy_result_as_json(project: Cli, server: State) -> None:
    """
    With --json the only thing on standard output is one document that names the version.
    """
    done = project("deploy", "--json", "--message", "why", "--tag", "v1")
    version = server.scripts["hello"].versions[0]
    assert done.json["version_id"] == version["id"]
    assert done.json["deployed"] is True
    assert done.json["urls"]["function"].startswith("http://hello.")
    assert version["annotations"] == {"workers/message": "why", "workers/tag": "v1"}


def test_versions_upload_does_not_deploy(project: Cli, server: State) -> None:
    """
    An uploaded version is there, and what serves has not changed.
    """
    project("deploy")
    serving = server.scripts["hello"].deployments[0]
    done = project("versions", "upload", "--json")
    assert done.status == 0, done.err
    assert done.json["deployed"] is False
    assert server.scripts["hello"].versions[0]["id"] == done.json["version_id"]
    assert server.scripts["hello"].deployments == [serving]


def test_options_win_over_the_configuration(project: Cli, server: State) -> None:
    """
    Name, date, flags and a variable from the command line are what is sent.
    """
    done = project(
        "deploy",
        "--name=other",
        "--compatibility-date=2026-10-01",
        "--compatibility-flag=nodejs_compat",
        "--var=GREETING:a:b",
        "--keep-vars",
    )
    assert done.status == 0, done.err
    metadata = json.loads(parts_of(server)["metadata"].content)
    assert list(server.scripts) == ["other"]
    assert metadata["compatibility_date"] == "2026-10-01"
    assert metadata["compatibility_flags"] == ["nodejs_compat"]
    assert metadata["bindings"][-1] == {"name": "GREETING", "type": "plain_text", "text": "a:b"}
    assert [each["name"] for each in metadata["bindings"]] == ["LIMITS", "GREETING"]
    assert metadata["keep_bindings"][2:] == ["plain_text", "json"]


def test_dry_run_sends_nothing(project: Cli, server: State) -> None:
    """
    --dry-run builds, writes what --outdir asks for, and makes no request.
    """
    done = project("deploy", "--dry-run", "--outdir", "dist", "--json")
    assert done.status == 0, done.err
    assert server.requests == []
    names = [module["name"] for module in done.json["modules"]]
    assert sorted(path.name for path in (project.work / "dist").iterdir()) == sorted(
        name.removeprefix("./") for name in names
    )


def test_start_up_error_is_shown_at_the_users_line(project: Cli, server: State) -> None:
    """
    A position in the bundle that the server complains about is shown as one in the source.
    """
    project.write(
        {"src/index.ts": "type A = string;\n\n\nexport default {};\nthrow new Error('no');\n"}
    )

    def check(parts: list[Uploaded]) -> None:
        code = next(part.content for part in parts if part.name == "index.js").decode()
        line = next(n for n, text in enumerate(code.splitlines(), 1) if "throw new" in text)
        raise Refused(400, 10021, f"Uncaught Error: no\n    at index.js:{line}:7")

    server.check = check
    done = project("deploy")
    assert done.status == 1
    assert "src/index.ts:5:7" in done.err
    assert "index.js:" not in done.err
    assert "hello" not in server.scripts


def test_refused_binding_is_named(project: Cli, server: State) -> None:
    """
    A binding that the server does not support is sent, and its refusal is shown.
    """
    project.write(
        {
            "wrangler.toml": "",
            "wrangler.jsonc": CONFIG.replace(
                '"vars"', '"kv_namespaces": [{"binding": "KV", "id": "1"}], "vars"'
            ),
        }
    )
    done = project("deploy")
    assert done.status == 1
    assert "'KV'" in done.err and "[code: 10021]" in done.err


def test_build_failure_shows_the_place(project: Cli, server: State) -> None:
    """
    An import that leads nowhere ends with status 4 and the place in the source.
    """
    project.write({"src/index.ts": 'import a from "./missing";\nexport default a;\n'})
    done = project("deploy")
    assert done.status == 4
    assert 'src/index.ts:1:15: Could not resolve "./missing"' in done.err
    assert server.requests == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("const nothing = 1;", "exports nothing"),
        ('import fs from "fs"; export default fs;', "nodejs_compat"),
        ('import x from "left-pad"; export default x;', "npm install left-pad"),
    ],
)
def test_build_failure_names_the_next_step(project: Cli, source: str, words: str) -> None:
    """
    What cannot be built is refused with what to do about it.
    """
    project.write({"src/index.ts": source})
    done = project("deploy", "--compatibility-date=2026-01-01")
    assert done.status == 4
    assert words in done.err


def test_python_is_refused(project: Cli) -> None:
    """
    A Python entry point is refused by name.
    """
    project.write({"src/main.py": "pass"})
    done = project("deploy", "src/main.py")
    assert done.status == 4
    assert "Python" in done.err


def test_without_login_nothing_is_sent(cli: Cli, server: State) -> None:
    """
    Who is not logged in ends with status 3 and is told about `wrkst login`, before the build; so is
    who has set no server.
    """
    cli.write({"wrangler.jsonc": CONFIG, "src/index.ts": INDEX, "src/text.txt": ""})
    done = cli("deploy")
    assert done.status == 3
    assert "wrkst login" in done.err
    assert server.uploads == []
    assert "Built" not in done.err
    assert cli("deploy", "--dry-run").status == 0
    cli.monkeypatch.delenv("WRKST_URL")
    done = cli("deploy")
    assert done.status == 2 and "Built" not in done.err


def test_foreign_account_id_is_explained(project: Cli, server: State) -> None:
    """
    An account_id that is none of the user's is refused with the accounts there are.
    """
    project.write({"wrangler.jsonc": CONFIG.replace('"main"', '"account_id": "zzz", "main"')})
    done = project("deploy")
    assert done.status == 1
    assert "'zzz'" in done.err and "ada" in done.err
    assert server.uploads == []
    assert project("--account", "ada", "deploy").status == 0


def test_several_accounts_need_a_choice(project: Cli, server: State) -> None:
    """
    With several accounts and nobody to ask the command ends with status 2 and their names.
    """
    server.accounts.append((OTHER_ACCOUNT, "team"))
    server.accounts.append(("a" * 32, "third"))
    done = project("deploy")
    assert done.status == 2
    assert all(name in done.err for name in ("ada", "team", "third"))
    project.monkeypatch.setenv("WRKST_ACCOUNT", "third")
    assert project("deploy").status == 0
    assert any("/accounts/" + "a" * 32 in request.path for request in server.requests)


def test_interrupted_upload_is_repeated(project: Cli, server: State) -> None:
    """
    A 503 on the way is no failure: the upload is sent again.
    """
    server.faults.append(("^PUT ", 503, {"Retry-After": "0"}))
    done = project("deploy")
    assert done.status == 0, done.err
    assert len([each for each in server.requests if each.method == "PUT"]) == 2


def test_console_script_deploys(project: Cli, server: State) -> None:
    """
    The installed command does all of it, and its output has no colours in a pipe.
    """
    done = project.process("deploy")
    assert done.status == 0, done.err
    assert "hello" in server.scripts
    assert "\x1b" not in done.out + done.err


def test_without_a_configuration(cli: Cli, server: State) -> None:
    """
    Everything can be said on the command line; else it is said that there is no configuration,
    what is missing, and what to do.
    """
    cli.log_in()
    cli.write({"w.js": "export default {};"})
    done = cli("deploy")
    assert done.status == 4
    first, *lines = done.err.splitlines()
    assert "no wrangler.jsonc, wrangler.json or wrangler.toml here or above" in first
    assert [line.split()[0] for line in lines] == ["name", "main", "compatibility_date", "next:"]
    assert "wrkst init" in lines[-1]
    done = cli("deploy", "w.js", "--name=x")
    assert done.status == 4 and "compatibility_date" in done.err
    assert cli("deploy", "nothing.js", "--name=x").status == 2
    done = cli("deploy", "w.js", "--name=x", "--compatibility-date=2026-11-01")
    assert done.status == 0, done.err
    assert [part.name for part in server.uploads[0]] == ["metadata", "w.js", "w.js.map"]


def test_all_mistakes_at_once(project: Cli, server: State) -> None:
    """
    What is wrong and what is missing is told together, by the key, with the status of a project.
    """
    project.write({"wrangler.jsonc": '{"name": "Not A Label", "main": "gone.ts", "minify": 1}'})
    done = project("deploy")
    assert done.status == 4
    keys = [line.split()[0] for line in done.err.splitlines()[1:]]
    assert keys == ["minify", "name", "main", "compatibility_date"]
    assert "not there: gone.ts" in done.err
    assert project("versions", "list", "--name", "hello").status == 1
    assert server.uploads == []


def test_a_wrong_key_is_told_once(project: Cli) -> None:
    """
    A key with a wrong value is not said to be missing as well.
    """
    project.write({"wrangler.jsonc": '{"name": 1, "main": "src/index.ts"}'})
    told = project("deploy").err
    assert told.count("name should be a string") == 1 and "name is missing" not in told


def test_limits_are_for_the_server_to_decide(project: Cli, server: State) -> None:
    """
    `limits` is sent with the upload, and the server's refusal ends the deploy.
    """

    def check(parts: list[Uploaded]) -> None:
        if "limits" in json.loads(parts[0].content):
            raise Refused(400, 10023, "metadata.limits: not supported yet.")

    server.check = check
    project.write({"wrangler.jsonc": CONFIG.replace("{", '{ "limits": {"cpu_ms": 50},', 1)})
    done = project("deploy")
    assert (done.status, "metadata.limits" in done.err) == (1, True)
    assert server.scripts == {}


def test_what_makes_no_difference_is_told_by_deploys_alone(project: Cli) -> None:
    """
    A deploy warns of keys that make no difference, other commands do not.
    """
    added = '{ "observability": {"enabled": true}, "placement": {"mode": "smart"},'
    project.write({"wrangler.jsonc": CONFIG.replace("{", added, 1)})
    done = project("deploy")
    assert done.status == 0
    assert "observability makes no difference here: logs are always kept: `wrkst logs`" in done.err
    assert "wrangler.jsonc: placement makes no difference here" in done.err
    assert project("versions", "list").err == ""


def test_an_environment_that_is_not_there(project: Cli, server: State) -> None:
    """
    Without any `env`, --env makes another function, and says which with a warning.
    """
    done = project("deploy", "--env", "stagin")
    assert done.status == 0
    assert "'stagin'" in done.err and "'hello-stagin'" in done.err
    assert list(server.scripts) == ["hello-stagin"]


def test_servers_remarks_are_shown(project: Cli, server: State) -> None:
    """
    What the server says besides its result is shown as a warning.
    """
    server.messages = ["placement has no effect here"]
    done = project("deploy", "--json")
    assert "placement has no effect here" in done.err
    assert done.json["deployed"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ["--var", "novalue"],
        ["--define", ":x"],
        ["--alias", "latest"],
        ["--name", "Not A Label"],
        ["--compatibility-date", "2026-13-01"],
        ["--bundler", "rollup"],
    ],
)
def test_options_that_make_no_sense(project: Cli, server: State, arguments: list[str]) -> None:
    """
    A wrong option is refused with status 2 before anything is sent.
    """
    assert project("deploy", *arguments).status == 2
    assert server.requests == []


def test_outdir_is_not_left(project: Cli) -> None:
    """
    A module whose name leads out of the output directory is not written.
    """
    project.write(
        {
            "wrangler.jsonc": CONFIG.replace('"main"', '"preserve_file_names": true, "main"'),
            "src/index.ts": 'import t from "../../outside.txt"; export default { t };',
        }
    )
    (project.work.parent / "outside.txt").write_text("x")
    done = project("deploy", "--dry-run", "--outdir", "dist")
    assert done.status == 4
    assert sorted(path.name for path in project.work.iterdir()) == ["dist", "src", "wrangler.jsonc"]
