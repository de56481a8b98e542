"""`wrkst hyperdrive`: databases that functions bind."""

import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.failure import usage
from workerd_faas.cli.terminal import (
    confirm,
    is_interactive,
    note,
    say,
    show_json,
    show_table,
    when,
    working,
)
from workerd_faas.domain.hyperdrive import DEFAULT_PORTS, SCHEMES

_EXAMPLE: Final = "postgres://user:password@db.example.com:5432/shop"


def read_origin(text: str) -> dict[str, Any]:
    """
    The parts of a connection string.

    Raises:
        Failure: a part is missing or wrong; the message has nothing of the string.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise usage("The connection string cannot be read.", hint=_EXAMPLE) from None
    found = {
        "scheme": parts.scheme,
        "host": parts.hostname,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.removeprefix("/")),
    }
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise usage(f"The connection string has no {missing[0]}.", hint=_EXAMPLE)
    if parts.scheme not in SCHEMES:
        raise usage(f"The connection string must begin with one of {', '.join(SCHEMES)}.")
    return {**found, "port": port or DEFAULT_PORTS[SCHEMES[parts.scheme]]}


def _ask_for_origin() -> dict[str, Any]:
    """
    It is no argument of a command: those are shown to everybody on the machine.
    """
    if is_interactive():
        return read_origin(click.prompt("Connection string", hide_input=True, err=True))
    return read_origin(sys.stdin.read())


def _configs(app: App, *rest: str) -> tuple[str, ...]:
    return ("accounts", app.scripts().account.id, "hyperdrive", "configs", *rest)


@click.group()
def hyperdrive() -> None:
    """
    Databases: addresses and passwords that functions get by a hyperdrive binding.
    """


@hyperdrive.command(
    "create",
    epilog="""\b
Examples:
  wrkst hyperdrive create shop
  wrkst hyperdrive create shop < connection-string.txt""",
)
@click.argument("name")
@json_option
@pass_app
def create(app: App, name: str, as_json: bool) -> None:
    """
    Store a database's connection string, which is asked for or read from standard input.
    """
    document = {"name": name, "origin": _ask_for_origin()}
    with working("storing"):
        made = app.api.call("POST", *_configs(app), document=document)
    if as_json:
        show_json(made)
        return
    note(f"{name} is stored. In wrangler.jsonc:")
    say(f'"hyperdrive": [{{ "binding": "DB", "id": "{made.get("id")}" }}]')


@hyperdrive.command(
    "list",
    epilog="""\b
Example:
  wrkst hyperdrive list""",
)
@json_option
@pass_app
def list_configs(app: App, as_json: bool) -> None:
    """
    List databases, without their passwords.
    """
    with working("asking"):
        found = app.api.pages(*_configs(app))
    if as_json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "DATABASE", "MODIFIED"),
        (
            (
                str(each.get("id")),
                str(each.get("name")),
                _address(each.get("origin")),
                when(each.get("modified_on")),
            )
            for each in found
        ),
    )


@hyperdrive.command(
    "get",
    epilog="""\b
Example:
  wrkst hyperdrive get 0123456789abcdef0123456789abcdef""",
)
@click.argument("id_", metavar="ID")
@json_option
@pass_app
def get(app: App, id_: str, as_json: bool) -> None:
    """
    Show one, without its password.
    """
    with working("asking"):
        found = app.api.get(*_configs(app, id_))
    if as_json:
        show_json(found)
        return
    show_table(
        ("", ""),
        (
            ("id", str(found.get("id"))),
            ("name", str(found.get("name"))),
            ("database", _address(found.get("origin"))),
            ("modified", when(found.get("modified_on"))),
        ),
    )


@hyperdrive.command(
    "update",
    epilog="""\b
Examples:
  wrkst hyperdrive update 0123456789abcdef0123456789abcdef < connection-string.txt
  wrkst hyperdrive update 0123456789abcdef0123456789abcdef --name orders""",
)
@click.argument("id_", metavar="ID")
@click.option("--name", metavar="NAME", help="Call it so, and leave the connection string alone.")
@json_option
@pass_app
def update(app: App, id_: str, name: str | None, as_json: bool) -> None:
    """
    Replace the connection string, which is asked for or read from standard input, or the name.

    Deployed functions get the new one at once.
    """
    document = {"origin": _ask_for_origin()} if name is None else {"name": name}
    with working("storing"):
        changed = app.api.call("PATCH", *_configs(app, id_), document=document)
    if as_json:
        show_json(changed)
        return
    note(f"{changed.get('name')} is {_address(changed.get('origin'))} now.")


@hyperdrive.command(
    "delete",
    epilog="""\b
Example:
  wrkst hyperdrive delete 0123456789abcdef0123456789abcdef""",
)
@click.argument("id_", metavar="ID")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, id_: str, yes: bool) -> None:
    """
    Forget a database. While a deployed version binds it, that is refused.
    """
    confirm(f"Forget the database {id_}?", assume_yes=yes)
    with working("deleting"):
        app.api.call("DELETE", *_configs(app, id_))
    note(f"Deleted {id_}.")


def _address(origin: Any) -> str:
    if not isinstance(origin, Mapping):
        return "-"
    host = str(origin.get("host"))
    host = f"[{host}]" if ":" in host else host
    user, port, database = (origin.get(key) for key in ("user", "port", "database"))
    return f"{origin.get('scheme')}://{user}@{host}:{port}/{database}"
