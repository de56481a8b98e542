"""`wrkst secret` and `wrkst versions secret`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from workerd_faas.cli.app import App, json_option, name_option, pass_app, target
from workerd_faas.cli.client.api import SCRIPT_NOT_FOUND, ApiError
from workerd_faas.cli.client.secrets import SecretsApi
from workerd_faas.cli.commands.secret_texts import check_names, read_bulk, read_text, told
from workerd_faas.cli.terminal import confirm, note, say, show_json, show_table, working


def _secrets(
    app: App, name: str | None, config: Path | None, environment: str | None
) -> SecretsApi:
    which = target(app, name, config, environment)
    return SecretsApi(which.scripts, which.name)


def _change(secrets: SecretsApi, changes: Mapping[str, str | None], *, yes: bool) -> None:
    check_names(changes)
    try:
        with working("storing"):
            secrets.change(changes)
    except ApiError as error:
        if error.code != SCRIPT_NOT_FOUND:
            raise
        confirm(f"There is no function {secrets.name} yet. Make it?", assume_yes=yes)
        with working("storing"):
            secrets.make_draft()
            secrets.change(changes)
        note(f"{secrets.name} is made; it answers 404 until its first deploy.")


def _there(secrets: SecretsApi, changes: Mapping[str, str | None]) -> frozenset[str]:
    """
    The secrets that there are, if some are to be taken away.
    """
    if None not in changes.values():
        return frozenset()
    try:
        with working("asking"):
            return frozenset(secrets.names())
    except ApiError as error:
        if error.code != SCRIPT_NOT_FOUND:
            raise
        return frozenset()


@click.group()
def secret() -> None:
    """
    Secrets of a function: each change makes a version and puts it in service.
    """


_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@secret.command(
    "put",
    epilog="""\b
Examples:
  wrkst secret put API_KEY
  openssl rand -hex 32 | wrkst secret put SIGNING_KEY --name shop""",
)
@click.argument("key", metavar="NAME")
@name_option
@_YES
@pass_app
def put_secret(
    app: App, key: str, name: str | None, config: Path | None, environment: str | None, yes: bool
) -> None:
    """
    Set a secret. Its text is asked for, or read from standard input.
    """
    secrets = _secrets(app, name, config, environment)
    _change(secrets, {key: read_text(key)}, yes=yes)
    note(f"{secrets.name} has the secret {key}.")


@secret.command(
    "list",
    epilog="""\b
Example:
  wrkst secret list --name shop""",
)
@name_option
@json_option
@pass_app
def list_secrets(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    List the names of the newest version's secrets.
    """
    secrets = _secrets(app, name, config, environment)
    with working("asking"):
        found = secrets.names()
    if as_json:
        show_json([{"name": each, "type": "secret_text"} for each in found])
    else:
        show_table(("SECRET",), ((each,) for each in found))


@secret.command(
    "delete",
    epilog="""\b
Example:
  wrkst secret delete API_KEY""",
)
@click.argument("key", metavar="NAME")
@name_option
@_YES
@pass_app
def delete_secret(
    app: App, key: str, name: str | None, config: Path | None, environment: str | None, yes: bool
) -> None:
    """
    Take a secret away.
    """
    secrets = _secrets(app, name, config, environment)
    confirm(f"Take the secret {key} from {secrets.name}?", assume_yes=yes)
    with working("storing"):
        secrets.delete(key)
    note(f"{secrets.name} has no secret {key} any more.")


@secret.command(
    "bulk",
    epilog="""\b
Examples:
  echo '{"API_KEY": "new", "OLD_KEY": null}' | wrkst secret bulk
  wrkst secret bulk secrets.json --name shop""",
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@name_option
@_YES
@pass_app
def bulk_secrets(
    app: App,
    file: Path | None,
    name: str | None,
    config: Path | None,
    environment: str | None,
    yes: bool,
) -> None:
    """
    Set and take away many at once, from a JSON object in FILE or on standard input.
    """
    changes = read_bulk(file)
    secrets = _secrets(app, name, config, environment)
    there = _there(secrets, changes)
    _change(secrets, changes, yes=yes)
    note(f"{secrets.name}: {told(changes, there)}.")


@click.group("secret")
def version_secret() -> None:
    """
    Secrets of a new version: each change makes one, which is not put in service.
    """


def _made(
    secrets: SecretsApi, changes: Mapping[str, str | None], message: str | None, tag: str | None
) -> None:
    check_names(changes)
    there = _there(secrets, changes)
    with working("storing"):
        made = secrets.change_newest(changes, message, tag)
    note(
        f"{secrets.name}: a new version, {told(changes, there)}; `wrkst versions deploy` serves it."
    )
    say(str(made.get("id")))


def _notes(command: Any) -> Any:
    command = click.option("--tag", metavar="TEXT", help="A tag for the version.")(command)
    return click.option("--message", "-m", metavar="TEXT", help="Why.")(command)


@version_secret.command(
    "put",
    epilog="""\b
Examples:
  wrkst versions secret put API_KEY
  wrkst versions secret put API_KEY --tag rotation < key.txt""",
)
@click.argument("key", metavar="NAME")
@name_option
@_notes
@pass_app
def put_version_secret(
    app: App,
    key: str,
    name: str | None,
    config: Path | None,
    environment: str | None,
    message: str | None,
    tag: str | None,
) -> None:
    """
    Set a secret. Its text is asked for, or read from standard input.
    """
    secrets = _secrets(app, name, config, environment)
    _made(secrets, {key: read_text(key)}, message, tag)


@version_secret.command(
    "delete",
    epilog="""\b
Example:
  wrkst versions secret delete API_KEY""",
)
@click.argument("key", metavar="NAME")
@name_option
@_notes
@pass_app
def delete_version_secret(
    app: App,
    key: str,
    name: str | None,
    config: Path | None,
    environment: str | None,
    message: str | None,
    tag: str | None,
) -> None:
    """
    Take a secret away.
    """
    _made(_secrets(app, name, config, environment), {key: None}, message, tag)


@version_secret.command(
    "bulk",
    epilog="""\b
Example:
  wrkst versions secret bulk --message "New keys" secrets.json""",
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@name_option
@_notes
@pass_app
def bulk_version_secrets(
    app: App,
    file: Path | None,
    name: str | None,
    config: Path | None,
    environment: str | None,
    message: str | None,
    tag: str | None,
) -> None:
    """
    Set and take away many at once, from a JSON object in FILE or on standard input.
    """
    changes = read_bulk(file)
    _made(_secrets(app, name, config, environment), changes, message, tag)


version_secret.add_command(list_secrets)
