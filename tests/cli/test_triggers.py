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


def test_deploy_sets_what_is_consumed(project: Cli, server: State) -> None:
    """
    A deploy makes the function a consumer, a further one changes how, and says so.
    """
    server.queues = {"other": [], "jobs": [], "dead": []}
    consumer = {"queue": "jobs", "max_batch_size": 5, "dead_letter_queue": "dead"}
    configure(project, queues={"consumers": [consumer]})
    done = project("deploy", "--json")
    assert (done.status, done.json["consumers"]) == (0, ["jobs"]), done.err
    (found,) = server.queues["jobs"]
    assert (found["script"], found["settings"]) == ("hello", {"batch_size": 5})
    assert found["dead_letter_queue"] == "dead"
    configure(project, queues={"consumers": [{"queue": "jobs", "max_batch_timeout": 2}]})
    assert "consumer of queue jobs" in project("triggers", "deploy").err
    (found,) = server.queues["jobs"]
    assert found["settings"] == {"max_wait_time_ms": 2000}
    assert server.queues["other"] == []


def test_a_missing_queue_is_told_before_anything_is_sent(project: Cli, server: State) -> None:
    """
    A consumer of a queue that is not there keeps the deploy from being sent, and says what to do.
    """
    configure(project, queues={"consumers": [{"queue": "jobs"}]})
    done = project("deploy")
    assert (done.status, server.uploads) == (4, [])
    assert "'jobs'" in done.err and "wrkst queues create jobs" in done.err


def test_a_consumer_that_is_not_named_any_more(project: Cli, server: State) -> None:
    """
    What is no longer in the configuration goes on, as with Wrangler, with a warning.
    """
    server.queues = {"jobs": []}
    configure(project, queues={"consumers": [{"queue": "jobs"}]})
    assert project("deploy").status == 0
    configure(project, queues={"consumers": []})
    done = project("deploy")
    assert "still consumes the queue 'jobs'" in done.err
    assert len(server.queues["jobs"]) == 1


def test_versions_consume_nothing(project: Cli, server: State) -> None:
    """
    `versions upload` changes no consumer, and asks for no queue.
    """
    configure(project, queues={"consumers": [{"queue": "jobs"}]})
    assert project("versions", "upload").status == 0


def test_a_refused_consumer_is_told(project: Cli, server: State) -> None:
    """
    When another function consumes the queue, the deploy stands and says what is not set.
    """
    server.queues = {"jobs": [{"consumer_id": "c0", "script": "another"}]}
    configure(project, queues={"consumers": [{"queue": "jobs"}]})
    done = project("deploy")
    assert done.status == 1
    assert "hello is there" in done.err and "wrkst triggers deploy" in done.err


def test_hosts_are_closed_as_the_configuration_says(project: Cli, server: State) -> None:
    """
    `workers_dev` and `preview_urls` are sent after a deploy, and nothing without them.
    """
    project("deploy")
    assert server.scripts["hello"].reach == {}
    configure(project, workers_dev=False)
    assert "gets no requests from outside at its host" in project("deploy").err
    assert server.scripts["hello"].reach == {"enabled": False, "previews_enabled": False}
    configure(project, workers_dev=True, preview_urls=False)
    project("triggers", "deploy")
    assert server.scripts["hello"].reach == {"enabled": True, "previews_enabled": False}
