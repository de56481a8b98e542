"""Accounts with little room for static files, as the real Wrangler and wrkst tell of it."""

import json
from pathlib import Path

from tests.e2e.daemon import running
from tests.e2e.developer import Developer
from tests.e2e.wrangling import environment, wrangler


def test_wrangler_and_wrkst_say_that_there_is_no_room(tmp_path: Path) -> None:
    """
    A deploy whose files do not fit fails and says why and what to do, and what is deployed goes on;
    `wrkst status` shows the bounds.
    """
    project = tmp_path / "project"
    public = project / "public"
    public.mkdir(parents=True)
    (public / "index.html").write_text("one")
    settings = {"compatibility_date": "2026-11-01", "assets": {"directory": "public"}}
    (project / "wrangler.json").write_text(json.dumps({"name": "small", **settings}))
    with running(dev=True, ACCOUNT_SITE_SIZE="1MiB", ACCOUNT_SITE_FILES="2") as daemon:
        variables = environment(tmp_path / "home", daemon)
        developer = Developer(tmp_path / "developer", daemon)
        wrangler(project, variables, "deploy")
        assert daemon.function("small").text == "one"
        (public / "large.bin").write_bytes(bytes(1 << 20))
        said = wrangler(project, variables, "deploy", expect=1)
        assert "would take 2 MiB; 1 MiB are allowed (ACCOUNT_SITE_SIZE)" in " ".join(said.split())
        (public / "large.bin").write_bytes(b"small")
        (public / "index.html").write_text("two")
        said = wrangler(project, variables, "deploy", expect=1)
        assert "be 3 files; 2 are allowed (ACCOUNT_SITE_FILES)" in " ".join(said.split())
        said = developer.run("deploy", cwd=project, expect=1)
        assert "ACCOUNT_SITE_FILES" in said
        assert daemon.function("small").text == "one"
        said = developer.run("status")
        assert "1 MiB of static files" in said
        assert "2 static files" in said
