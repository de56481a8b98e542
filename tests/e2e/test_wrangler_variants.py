"""What `wrangler deploy` and its like can be told, each seen in the function."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, until
from tests.e2e.wrangling import environment, wrangler

CODE = """
// a comment that no minifier keeps
export default {
  fetch(request, env) { return Response.json(env); },
  scheduled() {},
};
"""


class Project:
    """
    A Worker that answers with its `env`.
    """

    def __init__(self, directory: Path, daemon: Daemon, name: str) -> None:
        self.directory, self.daemon, self.name = directory / "project", daemon, name
        self.directory.mkdir()
        self.variables = environment(directory / "home", daemon)
        self.write("index.js", CODE)
        self.configure()

    def write(self, name: str, text: str) -> None:
        """
        Write a file.
        """
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def configure(self, **settings: Any) -> None:
        """
        Write wrangler.json.
        """
        document = {"name": self.name, "main": "index.js", "compatibility_date": "2026-11-01"}
        self.write("wrangler.json", json.dumps(document | settings))

    def run(self, *arguments: str, expect: int = 0) -> str:
        """
        Run Wrangler.
        """
        return wrangler(self.directory, self.variables, *arguments, expect=expect)

    def env(self, label: str = "") -> Any:
        """
        What the function (or a version or alias of it) is given.
        """
        return self.daemon.function(f"{label}{self.name}").document

    def version(self) -> Any:
        """
        The newest version.
        """
        return self.daemon.api("GET", f"/workers/scripts/{self.name}/versions").result["items"][0]


@pytest.fixture
def project(tmp_path: Path, dev: Daemon, request: pytest.FixtureRequest) -> Project:
    """
    A project of a name of its own.
    """
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)
    return Project(tmp_path, dev, name[-60:].strip("-"))


def test_a_dry_run_sends_nothing(project: Project) -> None:
    """
    `--dry-run --outdir` writes what would be uploaded, and there is no function afterwards.
    """
    assert "exiting now" in project.run("deploy", "--dry-run", "--outdir", "out")
    assert (project.directory / "out" / "index.js").exists()
    assert project.daemon.function(project.name).status == 404


def test_variables_names_and_environments(project: Project) -> None:
    """
    `--var`, `--keep-vars`, `--env` and `--name` decide what the function is given and is called.
    """
    staging = {"vars": {"WHERE": "staging"}}
    project.configure(vars={"WHERE": "top", "N": 7}, env={"staging": staging})
    project.run("deploy", "--env", "", "--var", "EXTRA:given", "--var", "OTHER:too")
    assert project.env() == {"WHERE": "top", "N": 7, "EXTRA": "given", "OTHER": "too"}
    project.run("deploy", "--env", "", "--keep-vars")
    assert project.env() == {"WHERE": "top", "N": 7, "EXTRA": "given", "OTHER": "too"}
    project.run("deploy", "--env", "")
    assert project.env() == {"WHERE": "top", "N": 7}
    project.run("deploy", "--env", "staging")
    name = project.name
    project.name = f"{name}-staging"
    assert project.env() == {"WHERE": "staging"}
    assert name in project.run("delete", "--env", "staging", "--force")
    project.name = "another-name-altogether"
    assert project.name in project.run("deploy", "--env", "", "--name", project.name)
    assert project.env()["WHERE"] == "top"


def test_how_a_version_is_built_and_labelled(project: Project) -> None:
    """
    `--tag`, `--message`, `--compatibility-flags` and `--minify` are those of the version.
    """
    project.run("deploy", "--tag", "t1", "--message", "a reason", "--minify")
    version = project.version()
    assert version["annotations"]["workers/tag"] == "t1"
    assert version["annotations"]["workers/message"] == "a reason"
    assert version["size"] < len(CODE)
    flags = ("--compatibility-date", "2026-10-01", "--compatibility-flags", "nodejs_compat")
    project.run("deploy", *flags)
    runtime = project.version()["resources"]["script_runtime"]
    assert runtime["compatibility_date"] == "2026-10-01"
    assert runtime["compatibility_flags"] == ["nodejs_compat"]
    said = project.run("deployments", "list")
    assert "Unknown" not in said
    assert "Wrangler" in said


def test_modules_that_are_not_bundled(project: Project) -> None:
    """
    With `no_bundle` and `find_additional_modules` files are modules under their own paths.
    """
    project.write(
        "src/index.js",
        'import { text } from "./deep/other.js";\nimport note from "./note.txt";\n'
        "export default { fetch: () => new Response(text + note) };\n",
    )
    project.write("src/deep/other.js", 'export const text = "other ";\n')
    project.write("src/note.txt", "and a note")
    rules = [{"type": "ESModule", "globs": ["**/*.js"]}]
    project.configure(
        main="src/index.js", no_bundle=True, find_additional_modules=True, rules=rules
    )
    project.run("deploy")
    assert project.daemon.function(project.name).text == "other and a note"


def test_previews_shares_and_going_back(project: Project) -> None:
    """
    A preview alias answers; percentages are followed; a version can be named for going back.
    """
    project.configure(vars={"V": "1"})
    project.run("deploy")
    first = project.version()["id"]
    project.configure(vars={"V": "2"})
    said = project.run("versions", "upload", "--tag", "second", "--preview-alias", "next")
    assert f"next.{project.name}.localhost" in said
    second = project.version()["id"]
    assert project.env(f"{second[:8]}.") == {"V": "2"}
    assert project.env("next.") == {"V": "2"}
    assert project.env() == {"V": "1"}
    said = project.run("versions", "view", second)
    assert "second" in said
    shares = (f"{first}@50%", f"{second}@50%")
    project.run("versions", "deploy", *shares, "--message", "half", "-y")
    until(lambda: project.env() == {"V": "2"}, "the second version answers")
    until(lambda: project.env() == {"V": "1"}, "the first version answers")
    said = project.run("deployments", "status")
    assert "(50%)" in said
    assert "half" in said
    wrong = (f"{first}@50%", f"{second}@60%")
    assert "100%" in project.run("versions", "deploy", *wrong, "-y", expect=1)
    project.run("versions", "deploy", "--version-tag", "second", "-y")
    assert project.env() == {"V": "2"}
    project.run("rollback", first, "--message", "no good", "-y")
    assert project.env() == {"V": "1"}
    assert "no good" in project.run("deployments", "list")
    missing = "00000000-0000-4000-8000-000000000000"
    assert "10008" in project.run("rollback", missing, "-y", "--message", "x", expect=1)
    assert "10008" in project.run("versions", "view", missing, expect=1)


def test_what_is_not_for_everybody(project: Project) -> None:
    """
    `workers_dev` and `preview_urls` close the hosts, from one deploy to the next.
    """
    project.configure(workers_dev=False)
    project.run("deploy")
    version = project.version()["id"][:8]
    answers = project.daemon.function
    assert answers(project.name).status == 404
    assert answers(f"{version}.{project.name}").status == 404
    project.configure(workers_dev=True, preview_urls=False)
    project.run("deploy")
    assert answers(project.name).status == 200
    assert answers(f"{version}.{project.name}").status == 404
    project.configure()
    project.run("deploy")
    assert answers(f"{version}.{project.name}").status == 200


def test_triggers_of_the_command_line(project: Project) -> None:
    """
    `--triggers` sets the schedules.
    """
    assert "0 3 * * *" in project.run("deploy", "--triggers", "0 3 * * *")
    path = f"/workers/scripts/{project.name}/schedules"
    (schedule,) = project.daemon.api("GET", path).result["schedules"]
    assert schedule["cron"] == "0 3 * * *"


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (("--route", "example.com/*"), {}, "Routes and custom domains are not supported"),
        ((), {"routes": ["example.com/*"]}, "Routes and custom domains are not supported"),
        (("--domains", "www.example.com"), {}, "Routes and custom domains are not supported"),
        (("--dispatch-namespace", "ns"), {}, "Dispatch namespaces are not supported"),
        (("--logpush",), {}, "Logpush"),
        ((), {"ai": {"binding": "MY_AI"}}, "MY_AI"),
        (
            (),
            {"workflows": [{"binding": "W", "name": "w", "class_name": "Flow"}]},
            "The binding 'W'",
        ),
        (
            (),
            {"r2_buckets": [{"binding": "BUCKET", "bucket_name": "bucket"}]},
            "R2 is not supported",
        ),
        (
            (),
            {
                "durable_objects": {"bindings": [{"name": "COUNTERS", "class_name": "Counter"}]},
                "migrations": [{"tag": "v1", "new_sqlite_classes": ["Counter"]}],
            },
            "The binding 'COUNTERS'",
        ),
    ],
)
def test_what_there_is_not_is_refused_by_its_name(
    project: Project, arguments: tuple[str, ...], settings: dict[str, Any], said: str
) -> None:
    """
    Wrangler prints what this server does not have, and ends with status 1.
    """
    classes = (
        'import { DurableObject, WorkflowEntrypoint } from "cloudflare:workers";\n'
        "export class Flow extends WorkflowEntrypoint {}\n"
        "export class Counter extends DurableObject {}\n"
    )
    project.write("index.js", classes + CODE)
    project.configure(**settings)
    assert said in project.run("deploy", *arguments, expect=1)


def test_python_is_refused(project: Project) -> None:
    """
    Python Workers are refused at the upload, with the reason.
    """
    project.write(
        "entry.py",
        "from workers import WorkerEntrypoint\nclass Default(WorkerEntrypoint):\n    pass\n",
    )
    project.configure(main="entry.py", compatibility_flags=["python_workers"])
    assert "Pyodide" in project.run("deploy", expect=1)


def test_commands_of_other_products_are_refused_by_name(project: Project) -> None:
    """
    So are commands about products that are not here.
    """
    for command, said in (
        ("r2 bucket list", "R2 is not supported"),
        ("vectorize list", "Vectorize is not supported"),
        ("pages project list", "Pages projects are not supported"),
        ("dispatch-namespace list", "Dispatch namespaces are not supported"),
        ("workflows list", "Workflows are not supported"),
        ("vpc service list", "VPC services are not supported"),
        ("turnstile widget list", "Turnstile is not supported"),
        ("k2 streams list", "K2 streams are not supported"),
    ):
        assert said in project.run(*command.split(), expect=1), command


def test_a_program_that_has_no_mistake_of_its_own(project: Project) -> None:
    """
    What is wrong with the code itself is told as Cloudflare tells it: no handler, too slow a start.
    """
    project.write("index.js", "export default {};")
    assert "no registered event handlers" in project.run("deploy", expect=1)
    project.write("index.js", "let n = 0; while (true) n++;\nexport default { fetch() {} };")
    assert "startup limits" in project.run("deploy", expect=1)
    assert project.daemon.function(project.name).status == 404
