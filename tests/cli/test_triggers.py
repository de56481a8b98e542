"""Schedules from the command line."""

import json

import pytest

from tests.cli.fake_server import State
from tests.cli.support import Cli

CONFIG = {
    "name": "hello",
    "main": "index.js",
    "compatibility_date": "2026-11-01",
    "triggers": {"crons": ["0 * * * *"]},
    "tail_consumers": [{"service": "watcher"}],
}


@pytest.fixture
def project(cli: Cli) -> Cli:
    """
    A project with a schedule, of somebody who is logged in.
    """
    cli.write({"index.js": "export default { scheduled() {} }"})
    configure(cli)
    cli.log_in()
    return cli


def configure(cli: Cli, **changes: object) -> None:
    """
    Write the configuration.
    """
    cli.write({"wrangler.json": json.dumps({**CONFIG, **changes})})


def test_deploy_sets_schedules_and_consumers(project: Cli, server: State) -> None:
    """
    A deploy sends the tail consumers with the upload, and the schedules after it.
    """
    done = project("deploy", "--json")
    assert [each["cron"] for each in done.json["schedules"]] == ["0 * * * *"]
    metadata = json.loads(server.uploads[-1][0].content)
    assert metadata["tail_consumers"] == [{"service": "watcher"}]
    assert "schedule 0 * * * *: next run" in project("deploy").err


def test_uploading_a_version_leaves_schedules_alone(project: Cli, server: State) -> None:
    """
    `versions upload` sets no schedules.
    """
    assert project("versions", "upload").status == 0
    assert server.scripts["hello"].schedules == []


def test_triggers_are_listed_and_deployed(project: Cli, server: State) -> None:
    """
    `triggers deploy` sets what the configuration says, `triggers list` shows it.
    """
    assert project("deploy").status == 0
    configure(project, triggers={"crons": ["5 5 * * *", "6 6 * * *"]})
    assert project("triggers", "deploy").status == 0
    listed = project("triggers", "list", "--json").json
    assert [each["cron"] for each in listed] == ["5 5 * * *", "6 6 * * *"]
    assert project("triggers", "list").out.startswith("5 5 * * *\t")
    configure(project, triggers={"crons": []})
    assert "no schedules" in project("triggers", "deploy").err
    assert server.scripts["hello"].schedules == []


def test_a_configuration_without_triggers_changes_nothing(project: Cli, server: State) -> None:
    """
    Without `triggers.crons`, `triggers deploy` is refused and `deploy` leaves the schedules.
    """
    assert project("deploy").status == 0
    configure(project, triggers={})
    assert project("triggers", "deploy").status == 4
    assert project("deploy").status == 0
    assert [each["cron"] for each in server.scripts["hello"].schedules] == ["0 * * * *"]


def test_the_last_run_is_shown(project: Cli, server: State) -> None:
    """
    `triggers list` says how the last run ended, and which runs it made up for.
    """
    assert project("deploy").status == 0
    server.scripts["hello"].schedules[0]["last_run"] = {
        "scheduled_on": "2026-11-23T10:00:00.000000Z",
        "outcome": "timed_out",
        "detail": "It was ended after 900 s.",
        "missed_since": "2026-11-23T08:00:00.000000Z",
    }
    out = project("triggers", "list").out
    assert "timed_out: It was ended after 900 s. (made up for runs missed since" in out
