"""`wrkst versions`."""

from pathlib import Path
from typing import Any

import click

from workerd_faas.cli.app import App, json_option, name_option, pass_app, target
from workerd_faas.cli.client.address import function_url
from workerd_faas.cli.commands.deploy import upload
from workerd_faas.cli.commands.secret import version_secret
from workerd_faas.cli.commands.shares import (
    annotation,
    made,
    parse_shares,
    put_in_service,
    resolve_version,
)
from workerd_faas.cli.failure import usage
from workerd_faas.cli.terminal import show_json, show_table, when, working


@click.group()
def versions() -> None:
    """
    Versions of a function: every upload is one, and stays.
    """


versions.add_command(upload)
versions.add_command(version_secret)


@versions.command(
    "list",
    epilog="""\b
Example:
  wrkst versions list --name shop""",
)
@name_option
@json_option
@pass_app
def list_versions(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    List versions, the newest first.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        found = which.scripts.versions(which.name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("VERSION", "CREATED", "AUTHOR", "TAG", "MESSAGE"),
        (
            (
                str(each.get("id")),
                when(made(each).get("created_on")),
                str(made(each).get("author_email") or "-"),
                annotation(each, "tag"),
                annotation(each, "message"),
            )
            for each in found
        ),
    )


@versions.command(
    "view",
    epilog="""\b
Example:
  wrkst versions view 1a2b3c4d""",
)
@click.argument("version")
@name_option
@json_option
@pass_app
def view_version(
    app: App,
    version: str,
    name: str | None,
    config: Path | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """
    Show one version; VERSION is its id or the beginning of it.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        found = which.scripts.version(which.name, resolve_version(which, version))
    if as_json:
        show_json(found)
        return
    resources: Any = found.get("resources") or {}
    runtime = resources.get("script_runtime") or {}
    script = resources.get("script") or {}
    version_id = str(found.get("id"))
    rows = [
        ("version", version_id),
        ("created", when(made(found).get("created_on"))),
        ("author", str(made(found).get("author_email") or "-")),
        ("tag", annotation(found, "tag")),
        ("message", annotation(found, "message")),
        ("compatibility date", str(runtime.get("compatibility_date") or "-")),
        ("compatibility flags", ", ".join(runtime.get("compatibility_flags") or []) or "-"),
        ("handlers", ", ".join(script.get("handlers") or []) or "-"),
        ("url", function_url(app.settings.require_url(), which.name, version_id[:8])),
    ]
    for binding in resources.get("bindings") or []:
        value = binding.get("text", binding.get("json", ""))
        rows.append((f"env.{binding.get('name')}", f"{binding.get('type')} {value}".strip()))
    show_table(("", ""), rows)


@versions.command(
    "deploy",
    epilog="""\b
Examples:
  wrkst versions deploy 1a2b3c4d
  wrkst versions deploy 1a2b3c4d@90% 5e6f7a8b@10% --yes""",
)
@click.argument("shares", nargs=-1, required=True, metavar="VERSION[@PERCENT%]...")
@name_option
@click.option("--message", "-m", metavar="TEXT", help="Why.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def deploy_versions(
    app: App,
    shares: tuple[str, ...],
    name: str | None,
    config: Path | None,
    environment: str | None,
    message: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Put one version in service, or share the traffic among several.
    """
    parsed = parse_shares(shares)
    which = target(app, name, config, environment)
    with working("asking"):
        resolved = [(resolve_version(which, version), share) for version, share in parsed]
    if len({version for version, _ in resolved}) != len(resolved):
        raise usage("The same version is named twice.")
    put_in_service(app, which, resolved, message, yes=yes, as_json=as_json, verb="Deploy")
