"""`wrkst triggers`."""

from pathlib import Path

import click

from workerd_faas.cli.app import App, json_option, name_option, pass_app, target
from workerd_faas.cli.commands.deploy_triggers import Triggers
from workerd_faas.cli.failure import project_failure, usage
from workerd_faas.cli.terminal import note, show_json, show_table, when, working


@click.group()
def triggers() -> None:
    """
    Schedules: when the server calls a function's scheduled() handler.
    """


@triggers.command(
    "list",
    epilog="""\b
Example:
  wrkst triggers list --name shop""",
)
@name_option
@json_option
@pass_app
def list_triggers(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    List the schedules of a function, with the next run and the outcome of the last one.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        found = which.scripts.schedules(which.name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("CRON (UTC)", "NEXT RUN", "LAST RUN", "OUTCOME"),
        (
            (str(each.get("cron")), when(each.get("next_run_on")), *_last(each.get("last_run")))
            for each in found
        ),
    )


@triggers.command(
    "deploy",
    epilog="""\b
Examples:
  wrkst triggers deploy
  wrkst triggers deploy --env staging""",
)
@name_option
@json_option
@pass_app
def deploy_triggers(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    Set what the configuration says: exactly its schedules (triggers.crons), the queues that the
    function consumes (queues.consumers), and who reaches it (workers_dev, preview_urls).
    """
    project = app.project(config, environment)
    says = (project.crons, project.consumers, project.enabled, project.previews)
    if all(each is None for each in says):
        raise project_failure(
            "The configuration says nothing of schedules, queues or hosts.",
            hint='add "triggers": {"crons": ["0 * * * *"]}, or an empty list to have none',
        )
    chosen = name or project.name
    if not chosen:
        raise usage("Which function?", hint="give --name NAME")
    found = Triggers.of(project, app.scripts(project.account_id), chosen).set()
    if as_json:
        show_json(found.document())
        return
    if found.schedules is not None and not found.schedules:
        note(f"{chosen} has no schedules.")
    found.show()


def _last(run: object) -> tuple[str, str]:
    if not isinstance(run, dict):
        return "-", "-"
    outcome = str(run.get("outcome"))
    if run.get("detail"):
        outcome += f": {run['detail']}"
    if run.get("missed_since"):
        outcome += f" (made up for runs missed since {when(run['missed_since'])})"
    return when(run.get("scheduled_on")), outcome
