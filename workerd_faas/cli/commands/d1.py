"""`wrkst d1`: databases and what is in them. The words and options are Wrangler's."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from workerd_faas.cli.app import App, json_option, pass_app, project_options
from workerd_faas.cli.client.d1 import D1Api
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.config.storage import Database, storage_here
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import (
    confirm,
    note,
    say,
    show_json,
    show_table,
    size_text,
    when,
    working,
)

Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.frozen
class Found:
    """
    A database, and what the configuration says of it.
    """

    api: D1Api
    id: str
    configured: Database | None


def find(app: App, name: str, config: Path | None, environment: str | None) -> Found:
    """
    The database of this name, or with this name in `env`.

    Raises:
        Failure: there is none.
    """
    storage = storage_here(config, environment)
    configured = storage.database(name)
    api = D1Api(app.api, app.scripts(storage.account_id).account.id)
    found = None if configured is None else configured.id
    if found is None:
        wanted = name if configured is None or configured.name is None else configured.name
        found = api.id_of(wanted)
    if found is None:
        raise Failure(
            f"Your account has no D1 database {name!r}.", hint="`wrkst d1 list` shows yours"
        )
    return Found(api, found, configured)


def remote_option(command: Command) -> Command:
    """
    `--remote`, which Wrangler has to be told; here there is nothing else.
    """
    return click.option(
        "--remote", is_flag=True, expose_value=False, hidden=True, help="Always so."
    )(command)


@click.group()
def d1() -> None:
    """
    D1: databases.
    """


@d1.command("create", epilog="\b\nExample:\n  wrkst d1 create shop")
@click.argument("name")
@json_option
@pass_app
def create(app: App, name: str, as_json: bool) -> None:
    """
    Make a database.
    """
    with working("making"):
        made = D1Api(app.api, app.scripts().account.id).create(name)
    if as_json:
        show_json(made)
        return
    note(f"{name} is there. In wrangler.jsonc:")
    say(
        f'"d1_databases": [{{ "binding": "DB", "database_name": "{name}", '
        f'"database_id": "{made.get("uuid")}" }}]'
    )


@d1.command(
    "list",
    epilog="""\b
Example:
  wrkst d1 list""",
)
@json_option
@pass_app
def list_databases(app: App, as_json: bool) -> None:
    """
    List databases.
    """
    with working("asking"):
        found = D1Api(app.api, app.scripts().account.id).all()
    if as_json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "CREATED"),
        ((str(each["uuid"]), str(each["name"]), when(each.get("created_at"))) for each in found),
    )


@d1.command(
    "info",
    epilog="""\b
Example:
  wrkst d1 info shop""",
)
@click.argument("name")
@project_options
@json_option
@pass_app
def info(app: App, name: str, config: Path | None, environment: str | None, as_json: bool) -> None:
    """
    Show a database: its id, tables, size.
    """
    found = find(app, name, config, environment)
    with working("asking"):
        told = found.api.info(found.id)
    if as_json:
        show_json(told)
        return
    show_table(
        ("", ""),
        (
            ("id", str(told.get("uuid"))),
            ("name", str(told.get("name"))),
            ("created", when(told.get("created_at"))),
            ("tables", str(told.get("num_tables"))),
            ("size", size_text(int(told.get("file_size") or 0))),
        ),
    )


@d1.command(
    "delete",
    epilog="""\b
Examples:
  wrkst d1 delete shop
  wrkst d1 delete shop --yes     (in a script)""",
)
@click.argument("name")
@project_options
@click.option("--yes", "-y", "--skip-confirmation", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, name: str, config: Path | None, environment: str | None, yes: bool) -> None:
    """
    Delete a database with all its tables.
    """
    found = find(app, name, config, environment)
    confirm(f"Delete the database {name} with all its tables?", assume_yes=yes)
    with working("deleting"):
        found.api.delete(found.id)
    note(f"Deleted {name}.")


@d1.command(
    "execute",
    epilog="""\b
Examples:
  wrkst d1 execute shop --command "SELECT count(*) FROM orders"
  wrkst d1 execute shop --file seed.sql""",
)
@click.argument("name")
@click.option("--command", "sql", metavar="SQL", help="Statements, separated by ';'.")
@click.option("--file", type=click.Path(path_type=Path), help="A file of statements.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@project_options
@json_option
@remote_option
@pass_app
def execute(
    app: App,
    name: str,
    sql: str | None,
    file: Path | None,
    yes: bool,
    config: Path | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """
    Run SQL, all of it in one transaction.
    """
    if (sql is None) == (file is None):
        raise usage("Give either --command or --file.")
    found = find(app, name, config, environment)
    if sql is not None:
        with working("running"):
            results = found.api.query(found.id, sql)
        if as_json:
            show_json(results)
        else:
            _show(results)
        return
    assert file is not None
    content = _read(file)
    confirm(f"Run {file} on {name}?", assume_yes=yes)
    with working("running"):
        done = found.api.ingest(found.id, content)
    if as_json:
        show_json(done)
    else:
        note(f"Ran {done.get('num_queries')} statements.")


@d1.command(
    "export",
    epilog="""\b
Examples:
  wrkst d1 export shop --output shop.sql
  wrkst d1 export shop --output - --no-data""",
)
@click.argument("name")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file to write; - for standard output.",
)
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Only these tables.")
@click.option("--no-schema", is_flag=True, help="Rows only.")
@click.option("--no-data", is_flag=True, help="Tables without rows.")
@project_options
@click.option("--yes", "-y", "--skip-confirmation", is_flag=True, hidden=True)
@remote_option
@pass_app
def export(
    app: App,
    name: str,
    output: Path,
    tables: tuple[str, ...],
    no_schema: bool,
    no_data: bool,
    config: Path | None,
    environment: str | None,
    yes: bool,
) -> None:
    """
    Write a database as SQL.
    """
    if no_schema and no_data:
        raise usage("Nothing is left with both --no-schema and --no-data.")
    found = find(app, name, config, environment)
    options = {"no_schema": no_schema, "no_data": no_data, "tables": list(tables)}
    with working("exporting"):
        content = found.api.export(found.id, options)
    if str(output) == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise usage(f"{output} cannot be written: {error.strerror}.") from None
    note(f"Wrote {output} ({size_text(len(content))}).")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise usage(f"{file} cannot be read: {error.strerror}.") from None


def _show(results: Sequence[Record]) -> None:
    for result in results:
        rows = result.get("results") or []
        meta = result.get("meta") or {}
        if rows:
            headings = tuple(rows[0])
            show_table(headings, (tuple(_cell(row.get(each)) for each in headings) for row in rows))
        else:
            note(f"{meta.get('changes', 0)} rows changed")


def _cell(value: Any) -> str:
    return "NULL" if value is None else str(value)
