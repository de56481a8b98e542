"""Cron triggers through the real daemon: the API, Wrangler, the clock."""

import json
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running, until
from tests.e2e.developer import Developer
from tests.e2e.wrangling import environment, wrangler

CODE = """
export default {
  scheduled(controller) { console.log("ran for", controller.cron, controller.scheduledTime); },
  fetch() { return new Response("here"); },
};
"""


def schedules(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """
    The schedules of a function, as the API gives them.
    """
    found: list[dict[str, Any]] = daemon.api("GET", f"/workers/scripts/{name}/schedules").result[
        "schedules"
    ]
    return found


def ended(daemon: Daemon, name: str) -> dict[str, Any] | None:
    """
    The last run of a function's only schedule, once it has ended.
    """
    (schedule,) = schedules(daemon, name)
    last: dict[str, Any] | None = schedule["last_run"]
    return None if last is None or last["ended_on"] is None else last


def logged(daemon: Daemon, name: str) -> list[list[Any]]:
    """
    What a function printed.
    """
    invocations = daemon.api("GET", f"/workers/scripts/{name}/logs").result
    return [log["message"] for each in invocations for log in each["logs"]]


@pytest.fixture(name="wrangling")
def _wrangling(tmp_path: Path, dev: Daemon) -> tuple[Path, Mapping[str, str]]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "index.js").write_text(CODE)
    return project, environment(tmp_path / "home", dev)


def configure(project: Path, name: str, **settings: Any) -> None:
    """
    Write wrangler.jsonc.
    """
    document = {"name": name, "main": "index.js", "compatibility_date": "2026-11-01", **settings}
    (project / "wrangler.jsonc").write_text(json.dumps(document))


def test_wrangler_sets_schedules(dev: Daemon, wrangling: tuple[Path, Mapping[str, str]]) -> None:
    """
    `wrangler deploy` and `wrangler triggers deploy` set what the configuration says, `[]` clears.
    """
    project, variables = wrangling
    configure(project, "cronned", triggers={"crons": ["*/15 * * * *", "0 12 * * MON"]})
    printed = wrangler(project, variables, "deploy")
    assert "schedule: */15 * * * *" in printed
    assert [s["cron"] for s in schedules(dev, "cronned")] == ["*/15 * * * *", "0 12 * * MON"]
    configure(project, "cronned", triggers={"crons": ["5 5 * * *"]})
    wrangler(project, variables, "triggers", "deploy")
    (schedule,) = schedules(dev, "cronned")
    assert (schedule["cron"], schedule["last_run"]) == ("5 5 * * *", None)
    following = datetime.fromisoformat(schedule["next_run_on"])
    assert (following.hour, following.minute) == (5, 5)
    assert timedelta() < following - datetime.now(UTC) <= timedelta(days=1)
    configure(project, "cronned", triggers={"crons": ["5 5 * * *", "*/7 1-3 * * *", "1 1 1 * *"]})
    printed = wrangler(project, variables, "triggers", "deploy")
    assert "schedule: 1 1 1 * *" in printed
    assert {s["cron"] for s in schedules(dev, "cronned")} == {
        *("5 5 * * *", "*/7 1-3 * * *", "1 1 1 * *")
    }
    configure(project, "cronned", triggers={"crons": []})
    wrangler(project, variables, "triggers", "deploy")
    assert schedules(dev, "cronned") == []


def test_wrangler_shows_what_is_wrong(
    dev: Daemon, wrangling: tuple[Path, Mapping[str, str]]
) -> None:
    """
    A cron expression that cannot be is refused with the reason; the schedules stay as they were.
    """
    project, variables = wrangling
    configure(project, "miscronned", triggers={"crons": ["1 1 * * *"]})
    wrangler(project, variables, "deploy")
    configure(project, "miscronned", triggers={"crons": ["* * * * 0"]})
    printed = wrangler(project, variables, "triggers", "deploy", expect=1)
    assert "day of week field takes 1 to 7, not 0" in printed
    assert [schedule["cron"] for schedule in schedules(dev, "miscronned")] == ["1 1 * * *"]


@pytest.mark.parametrize(
    "body",
    [{}, "* * * * *", ["* * * * *"], [{"cron": 5}], [{"cron": "* * *"}], [{}], None],
)
def test_bodies_that_are_no_schedules(daemon: Daemon, body: Any) -> None:
    """
    Whatever else is sent is a 400 in the envelope.
    """
    assert daemon.upload("bodies", CODE).status == 200
    answer = daemon.ask(
        "PUT",
        f"/accounts/{daemon.account}/workers/scripts/bodies/schedules",
        token=daemon.token,
        body=json.dumps(body).encode(),
    )
    assert answer.status == 400
    assert answer.document["errors"][0]["code"] == 10100


def test_only_the_owner_sees_and_sets(daemon: Daemon) -> None:
    """
    Another account, and nobody, get 403 and 401; a function that is not there is 404.
    """
    assert daemon.upload("owned-cron", CODE).status == 200
    stranger, _ = daemon.new_token("stranger-to-cron")
    for method, document in (("GET", None), ("PUT", [])):
        path = "/workers/scripts/owned-cron/schedules"
        assert daemon.api(method, path, document, token=stranger).status == 403
        assert daemon.api(method, path, document, token="x").status == 401
        missing = daemon.api(method, "/workers/scripts/no-such-cron/schedules", document)
        assert missing.document["errors"][0]["code"] == 10007


def test_wrkst_lists_what_ran(tmp_path: Path) -> None:
    """
    A deployed schedule runs in the minute it is for, once, its output is in the function's log,
    and `wrkst triggers list` shows outcome and next time.
    """
    with running(dev=True) as daemon:
        developer = Developer(tmp_path / "home", daemon)
        project = tmp_path / "home" / "project"
        project.mkdir()
        (project / "index.js").write_text(CODE)
        configure(project, "ticking", triggers={"crons": ["* * * * *"]})
        before = time.time()
        developer.run("deploy", "--bundler", "esbuild", cwd=project)
        last = until(lambda: ended(daemon, "ticking"), "the schedule runs", 90)
        scheduled = datetime.fromisoformat(last["scheduled_on"])
        assert last["outcome"] == "ok"
        assert last["missed_since"] is None
        assert (scheduled.second, scheduled.microsecond) == (0, 0)
        assert before < scheduled.timestamp() <= time.time()
        line = ["ran for", "* * * * *", round(scheduled.timestamp() * 1000)]
        until(lambda: logged(daemon, "ticking"), "the run is in the log")
        assert logged(daemon, "ticking").count(line) == 1
        shown = developer.run("triggers", "list", cwd=project)
        assert shown.startswith("* * * * *\t")
        assert shown.rstrip().endswith("\tok")


def test_a_missed_run_is_made_up_after_a_restart() -> None:
    """
    A schedule that came due while the daemon was dead runs once after its start and says since
    when it was missed; one that was running when it died is reported as interrupted.
    """
    with running() as daemon:
        for name in ("missed", "hanging"):
            assert daemon.upload(name, CODE).status == 200
            cron = [{"cron": "0 0 1 1 *"}]
            assert daemon.api("PUT", f"/workers/scripts/{name}/schedules", cron).status == 200
        daemon.kill()
        long_ago = "2026-01-01T00:00:00.000000Z"
        with sqlite3.connect(daemon.directory / "data" / "faas.db") as database:
            database.execute(
                "UPDATE schedules SET next_at = ? WHERE function = 'missed'", (long_ago,)
            )
            database.execute(
                "UPDATE schedules SET last_scheduled_at = ?1, last_started_at = ?1"
                " WHERE function = 'hanging'",
                (long_ago,),
            )
        database.close()
        daemon.start()
        last = until(lambda: ended(daemon, "missed"), "the missed run is made up")
        assert (last["outcome"], last["scheduled_on"]) == ("ok", long_ago)
        until(lambda: logged(daemon, "missed"), "it is in the log")
        hanging = ended(daemon, "hanging")
        assert hanging is not None
        assert hanging["outcome"] == "interrupted"
        assert logged(daemon, "hanging") == []
        daemon.kill()
        daemon.start()
        assert ended(daemon, "missed") == last
