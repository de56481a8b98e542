"""The unmodified Wrangler, and wrkst, deploy sites."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running
from tests.e2e.developer import Developer
from tests.e2e.wrangling import environment, wrangler

WORKER = """
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/api") return Response.json({ from: "worker" });
    return env.ASSETS.fetch(request);
  },
};
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """
    The daemon of `make run`: Wrangler cannot send a Host header.
    """
    with running(dev=True) as found:
        yield found


class Project:
    """
    A directory with a site.
    """

    def __init__(self, directory: Path, daemon: Daemon) -> None:
        self.directory = directory
        self.daemon = daemon
        directory.mkdir()
        self.variables = environment(directory / "home", daemon)
        self.write("public/index.html", "<h1>home</h1>")
        self.write("public/about.html", "about")
        self.write("public/assets/app.js", "console.log(1)")
        self.write("public/_headers", "/assets/*\n  Cache-Control: public, max-age=31536000\n")
        self.write("public/_redirects", "/old /about 301\nnonsense\n")

    def write(self, name: str, text: str) -> None:
        """
        Write a file.
        """
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def configure(self, **settings: Any) -> None:
        """
        Write wrangler.jsonc.
        """
        document = {"compatibility_date": "2026-11-01", **settings}
        self.write("wrangler.jsonc", json.dumps(document))

    def wrangler(self, *arguments: str, expect: int = 0) -> str:
        """
        Run Wrangler.
        """
        return wrangler(self.directory, self.variables, *arguments, expect=expect)


@pytest.fixture
def project(tmp_path: Path, daemon: Daemon) -> Project:
    """
    A project of our own, in an account that has no files yet.
    """
    daemon.token, daemon.account = daemon.new_token(tmp_path.name)
    return Project(tmp_path / "project", daemon)


def test_wrangler_deploys_a_site_without_code(project: Project) -> None:
    """
    The first deploy uploads all files, the second the changed one alone, the third none; the rules
    hold, and `versions upload` and `rollback` work as for any function.
    """
    daemon = project.daemon
    project.configure(
        name="plain", assets={"directory": "public", "not_found_handling": "404-page"}
    )
    assert "Uploaded 3 files" in project.wrangler("deploy")
    assert daemon.function("plain").text == "<h1>home</h1>"
    moved = daemon.function("plain", "/old")
    assert (moved.status, moved.headers["location"]) == (301, "/about")
    script = daemon.function("plain", "/assets/app.js")
    assert script.headers["cache-control"] == "public, max-age=31536000"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert daemon.function("plain", "/nothing").status == 404

    project.write("public/about.html", "about, changed")
    second = project.wrangler("deploy")
    assert "Uploaded 1 file (2 already uploaded)" in second
    assert daemon.function("plain", "/about").text == "about, changed"
    assert "No updated asset files to upload" in project.wrangler("deploy")

    project.write("public/index.html", "<h1>next</h1>")
    project.wrangler("versions", "upload", "--preview-alias", "next")
    assert daemon.function("plain").text == "<h1>home</h1>"
    assert daemon.function("next.plain").text == "<h1>next</h1>"
    project.wrangler("rollback", "-y")
    project.wrangler("delete", "--force")
    assert daemon.function("plain").status == 404


def test_wrangler_deploys_a_site_with_code(project: Project) -> None:
    """
    Files are served before the Worker but where `run_worker_first` says, and env.ASSETS has them;
    later deploys and secrets keep both.
    """
    daemon = project.daemon
    project.write("index.js", WORKER)
    project.configure(
        name="coded",
        main="index.js",
        assets={
            "directory": "public",
            "binding": "ASSETS",
            "run_worker_first": ["/api"],
            "not_found_handling": "single-page-application",
        },
    )
    project.write("public/api", "not this")
    project.wrangler("deploy")
    assert daemon.function("coded", "/api").document == {"from": "worker"}
    assert daemon.function("coded", "/about").text == "about"
    assert daemon.function("coded", "/any/route").text == "<h1>home</h1>"
    project.write("index.js", WORKER.replace('"worker"', '"the second"'))
    project.wrangler("deploy")
    assert daemon.function("coded", "/api").document == {"from": "the second"}
    project.wrangler("versions", "secret", "put", "KEY")
    listed = json.loads(project.wrangler("versions", "list", "--json"))
    newest = max(listed, key=lambda version: version["metadata"]["created_on"])
    assert daemon.function(f"{newest['id'][:8]}.coded", "/about").text == "about"
    assert daemon.function(f"{newest['id'][:8]}.coded", "/api").document["from"] == "the second"


def test_wrangler_sends_many_and_large_files(project: Project) -> None:
    """
    Both ways of uploading carry every byte: many small files in forms, large ones one by one.
    """
    daemon = project.daemon
    for number in range(700):
        project.write(f"public/many/{number}.txt", f"file {number}")
    project.configure(name="many", assets={"directory": "public"})
    assert "Uploaded 703 files" in project.wrangler("deploy")
    for number in (0, 350, 699):
        assert daemon.function("many", f"/many/{number}.txt").text == f"file {number}"
    shutil.rmtree(project.directory / "public" / "many")
    contents = {name: name.encode() * (3 << 20) for name in ("a", "b", "c")}
    for name, content in contents.items():
        (project.directory / "public" / f"{name}.bin").write_bytes(content)
    assert "Uploaded 3 files" in project.wrangler("deploy")
    for name, content in contents.items():
        assert daemon.function("many", f"/{name}.bin").body == content


def test_wrkst_deploys_sites(project: Project, tmp_path: Path) -> None:
    """
    wrkst uploads what is missing and says so, with and without code, and takes `--assets`.
    """
    daemon = project.daemon
    developer = Developer(tmp_path / "somebody", daemon)
    project.configure(name="byhand", assets={"directory": "public"})
    first = developer.run("deploy", cwd=project.directory)
    assert "3 uploaded, 0 already there" in first
    # The bar is for terminals, to its last line.
    assert "\n\n" not in first
    assert "_redirects, line 2 has no effect" in first
    assert daemon.function("byhand").text == "<h1>home</h1>"
    project.write("index.js", WORKER)
    project.write("public/about.html", "changed")
    project.configure(
        name="byhand", main="index.js", assets={"directory": "public", "binding": "ASSETS"}
    )
    assert "1 uploaded, 2 already there" in developer.run("deploy", cwd=project.directory)
    assert daemon.function("byhand", "/about").text == "changed"
    assert daemon.function("byhand", "/api").document == {"from": "worker"}
    project.write("other/index.html", "other")
    built = developer.json(
        "versions", "upload", "--assets", "other", "--alias", "other", cwd=project.directory
    )
    assert daemon.function("other.byhand").text == "other"
    assert built["deployed"] is False
    dry = developer.json("deploy", "--dry-run", cwd=project.directory)
    assert dry["assets"]["files"] == 3
    for number in range(30):
        project.write(f"public/n/{number}.txt", str(number))
    assert "30 uploaded" in developer.run("deploy", cwd=project.directory)
    assert daemon.function("byhand", "/n/29.txt").text == "29"
