"""`wrkst versions`, `wrkst deployments`, `wrkst rollback`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from workerd_faas.cli.app import App, Target, json_option, name_option, pass_app, target
from workerd_faas.cli.client.address import function_url
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.commands.deploy import upload
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import (
    confirm,
    note,
    say,
    show_json,
    show_table,
    when,
    working,
)

_SHARE: Final = re.compile(r"([0-9a-f-]+)(?:@(\d{1,3}(?:\.\d{1,6})?)%?)?")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def resolve_version(which: Target, given: str) -> str:
    """
    The full id of the version that `given`, the beginning of an id, means.

    Raises:
        Failure: none begins so, or several do.
    """
    given = given.lower()
    if _UUID.fullmatch(given):
        return given
    if len(given) < 4 or not re.fullmatch(r"[0-9a-f-]+", given):
        raise usage(
            f"{given!r} is no version id.", hint="give at least 4 of its characters: hex and dashes"
        )
    ids = [str(each.get("id")) for each in which.scripts.versions(which.name)]
    found = [each for each in ids if each.startswith(given)]
    if len(found) == 1:
        return found[0]
    raise Failure(
        f"{'Several versions' if found else 'No version'} of {which.name} "
        f"{'begin' if found else 'begins'} with {given!r}.",
        details=found,
        hint="give more characters" if found else "`wrkst versions list` shows them",
    )


def parse_shares(given: Sequence[str]) -> list[tuple[str, float]]:
    """
    `ID` alone, or `ID@PERCENT%` for each version; what is not said is shared out evenly.

    Raises:
        Failure: no such thing, or the sum is not 100.
    """
    parsed: list[tuple[str, float | None]] = []
    for text in given:
        match = _SHARE.fullmatch(text.lower())
        if match is None:
            raise usage(f"{text!r}: write a version as ID or ID@PERCENT%, such as 1a2b3c4d@90%.")
        parsed.append((match[1], None if match[2] is None else float(match[2])))
    open_ends = sum(share is None for _, share in parsed)
    said = sum(share for _, share in parsed if share is not None)
    if said > 100 or (not open_ends and abs(said - 100) > 1e-6):
        raise usage(f"The percentages add up to {said:g}, not to 100.")
    rest = (100 - said) / open_ends if open_ends else 0.0
    return [(version, rest if share is None else share) for version, share in parsed]


def shares_text(deployment: Record) -> str:
    """
    `1a2b3c4d 90 %, 5e6f7a8b 10 %`
    """
    versions = deployment.get("versions") or []
    return ", ".join(
        f"{str(each.get('version_id'))[:8]} {each.get('percentage'):g} %" for each in versions
    )


def annotation(record: Record, name: str) -> str:
    """
    A note of a version or deployment.
    """
    annotations = record.get("annotations")
    value = annotations.get(f"workers/{name}") if isinstance(annotations, dict) else None
    return str(value) if value else "-"


def _made(record: Record) -> Record:
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


@click.group()
def versions() -> None:
    """
    Versions of a function: every upload is one, and stays.
    """


versions.add_command(upload)


@versions.command("list")
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
                when(_made(each).get("created_on")),
                str(_made(each).get("author_email") or "-"),
                annotation(each, "tag"),
                annotation(each, "message"),
            )
            for each in found
        ),
    )


@versions.command("view")
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
        ("created", when(_made(found).get("created_on"))),
        ("author", str(_made(found).get("author_email") or "-")),
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
    _deploy(app, which, resolved, message, yes=yes, as_json=as_json, verb="Deploy")


def _deploy(
    app: App,
    which: Target,
    shares: Sequence[tuple[str, float]],
    message: str | None,
    *,
    yes: bool,
    as_json: bool,
    verb: str,
) -> None:
    text = ", ".join(f"{version} at {share:g} %" for version, share in shares)
    confirm(f"{verb} {which.name}: {text}. Go on?", assume_yes=yes)
    with working("deploying"):
        result = which.scripts.create_deployment(which.name, shares, message)
    if as_json:
        show_json(result)
        return
    note(f"{which.name} is served by {text}.")
    urls = result.get("urls")
    found = urls.get("function") if isinstance(urls, dict) else None
    say(str(found or function_url(app.settings.require_url(), which.name)))


@click.group()
def deployments() -> None:
    """
    Deployments: which versions served a function, and when.
    """


@deployments.command("list")
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
        ("DEPLOYED", "VERSIONS", "AUTHOR", "MESSAGE"),
        (
            (
                when(each.get("created_on")),
                shares_text(each),
                str(each.get("author_email") or "-"),
                annotation(each, "message"),
            )
            for each in found
        ),
    )


@deployments.command("status")
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
    current = found[0]
    show_table(
        ("", ""),
        (
            ("function", which.name),
            ("versions", shares_text(current)),
            ("since", when(current.get("created_on"))),
            ("author", str(current.get("author_email") or "-")),
            ("message", annotation(current, "message")),
        ),
    )


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
    _deploy(
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
