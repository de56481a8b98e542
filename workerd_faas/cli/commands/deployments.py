"""`wrkst deployments` and `wrkst rollback`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from workerd_faas.cli.app import App, json_option, name_option, pass_app, target
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.commands.shares import (
    annotation,
    put_in_service,
    resolve_version,
    shares_text,
)
from workerd_faas.cli.failure import Failure
from workerd_faas.cli.terminal import note, show_json, show_table, when, working

MIN_PREFIX: Final = 4
"""Characters of an id that say which deployment is meant."""


@click.group()
def deployments() -> None:
    """
    Deployments: which versions served a function, and when.
    """


@deployments.command(
    "list",
    epilog="""\b
Example:
  wrkst deployments list --name shop""",
)
@name_option
@json_option
@pass_app
def list_deployments(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    List the latest deployments, the current one first.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        found, _ = which.scripts.deployments(which.name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("ID", "DEPLOYED", "VERSIONS", "AUTHOR", "MESSAGE"),
        (
            (
                str(each.get("id"))[:8],
                when(each.get("created_on")),
                shares_text(each),
                str(each.get("author_email") or "-"),
                annotation(each, "message"),
            )
            for each in found
        ),
    )


@deployments.command(
    "status",
    epilog="""\b
Examples:
  wrkst deployments status
  wrkst deployments status --json""",
)
@name_option
@json_option
@pass_app
def deployment_status(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    Show what serves a function now.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        found, _ = which.scripts.deployments(which.name)
    if as_json:
        show_json(found[0] if found else None)
        return
    if not found:
        note(f"{which.name} has versions but no deployment: `wrkst versions deploy VERSION`.")
        return
    _show(which.name, found[0])


def _show(name: str, deployment: Record) -> None:
    show_table(
        ("", ""),
        (
            ("function", name),
            ("deployment", str(deployment.get("id"))),
            ("versions", shares_text(deployment)),
            ("since", when(deployment.get("created_on"))),
            ("author", str(deployment.get("author_email") or "-")),
            ("message", annotation(deployment, "message")),
        ),
    )


@deployments.command(
    "view",
    epilog="""\b
Example:
  wrkst deployments view 1a2b3c4d""",
)
@click.argument("deployment")
@name_option
@json_option
@pass_app
def view_deployment(
    app: App,
    deployment: str,
    name: str | None,
    config: Path | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """
    Show one deployment, by its id or the beginning of it.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        listed, _ = which.scripts.deployments(which.name)
    found = [each for each in listed if str(each.get("id")).startswith(deployment)]
    if len(found) != 1 or len(deployment) < MIN_PREFIX:
        raise Failure(
            f"{len(found) or 'None'} of the latest deployments of {which.name} "
            f"{'begin' if len(found) > 1 else 'begins'} with {deployment!r}.",
            hint=f"`wrkst deployments list --json` shows ids; give {MIN_PREFIX} characters or more",
        )
    if as_json:
        show_json(found[0])
        return
    _show(which.name, found[0])


@click.command(
    epilog="""\b
Examples:
  wrkst rollback
  wrkst rollback 1a2b3c4d --message "The new parser is wrong" --yes""",
)
@click.argument("version", required=False)
@name_option
@click.option("--message", "-m", metavar="TEXT", help="Why.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def rollback(
    app: App,
    version: str | None,
    name: str | None,
    config: Path | None,
    environment: str | None,
    message: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Go back to the version that served before, or to VERSION.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        if version is not None:
            chosen = resolve_version(which, version)
        else:
            chosen = previous_version(which.scripts.deployments(which.name)[0], which.name)
    put_in_service(
        app,
        which,
        [(chosen, 100.0)],
        message or "Rollback",
        yes=yes,
        as_json=as_json,
        verb="Roll back",
    )


def previous_version(found: Sequence[Record], name: str) -> str:
    """
    The version that served all traffic last, before what serves now.

    Raises:
        Failure: there is none.
    """

    def served(deployment: Record) -> set[str]:
        return {str(each.get("version_id")) for each in deployment.get("versions") or []}

    now = served(found[0]) if found else set()
    for deployment in found[1:]:
        before = served(deployment)
        if len(before) == 1 and before != now:
            return before.pop()
    raise Failure(
        f"{name} has no earlier deployment to go back to.",
        hint="name a version: `wrkst rollback VERSION`; `wrkst versions list` shows them",
    )
