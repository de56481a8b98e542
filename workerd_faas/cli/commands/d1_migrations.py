"""`wrkst d1 migrations`: files of SQL that are run once each, as Wrangler runs them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import click

from workerd_faas.cli.app import App, json_option, pass_app, project_options
from workerd_faas.cli.client.api import ApiError
from workerd_faas.cli.commands.d1 import Found, d1, find, remote_option
from workerd_faas.cli.config.rules import glob_pattern
from workerd_faas.cli.config.storage import Database, storage_here
from workerd_faas.cli.failure import Failure, project_failure, usage
from workerd_faas.cli.terminal import confirm, note, say, show_json, show_table, working

_NUMBER = re.compile(r"\d+")


@d1.group()
def migrations() -> None:
    """
    Changes of a database's tables, in files that are run once each.
    """


@migrations.command("create", epilog='\b\nExample:\n  wrkst d1 migrations create shop "add orders"')
@click.argument("name")
@click.argument("message")
@project_options
@json_option
def create_migration(
    name: str, message: str, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    Make an empty migration with the next number.
    """
    configured = _configured(name, config, environment)
    title = message.replace(" ", "_")
    if "/" in title or "\\" in title:
        raise usage("A migration's name cannot have a slash in it.")
    numbers = [_number(each) for each in _files(configured)]
    file = configured.migrations / f"{max(numbers, default=0) + 1:04d}_{title}.sql"
    configured.migrations.mkdir(parents=True, exist_ok=True)
    made = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    file.write_text(f"-- Migration number: {file.name[:4]} \t {made}\n", "utf-8")
    if as_json:
        show_json({"file": str(file)})
    else:
        say(str(file))


@migrations.command(
    "list",
    epilog="""\b
Example:
  wrkst d1 migrations list shop""",
)
@click.argument("name")
@project_options
@json_option
@remote_option
@pass_app
def list_migrations(
    app: App, name: str, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    List migrations that have not been applied.
    """
    configured = _configured(name, config, environment)
    found = find(app, name, config, environment)
    with working("asking"):
        missing = _missing(found, configured)
    if as_json:
        show_json(missing)
    elif missing:
        show_table(("NAME",), ((each,) for each in missing))
    else:
        note("No migrations to apply.")


@migrations.command(
    "apply",
    epilog="""\b
Examples:
  wrkst d1 migrations apply shop
  wrkst d1 migrations apply shop --yes     (in a script)""",
)
@click.argument("name")
@project_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@remote_option
@pass_app
def apply(
    app: App,
    name: str,
    config: Path | None,
    environment: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Apply all that have not been applied, in order. Each is one transaction: one that fails changes
    nothing, and those before it stay.
    """
    configured = _configured(name, config, environment)
    found = find(app, name, config, environment)
    with working("asking"):
        missing = _missing(found, configured)
    if missing and not as_json:
        show_table(("NAME",), ((each,) for each in missing))
        confirm(f"Apply {len(missing)} migrations to {name}?", assume_yes=yes)
    for each in missing:
        with working(each):
            _apply(found, configured, each)
        note(f"applied {each}")
    if as_json:
        show_json(missing)
    elif not missing:
        note("No migrations to apply.")


def _configured(name: str, config: Path | None, environment: str | None) -> Database:
    found = storage_here(config, environment).database(name)
    if found is None:
        raise project_failure(
            f"The configuration has no D1 database {name!r}.",
            hint="name it under d1_databases: its migrations belong to the project",
        )
    return found


def _files(configured: Database) -> list[str]:
    """
    Names relative to the directory, in the order in which they are applied.
    """
    if not configured.migrations.is_dir():
        return []
    wanted = re.compile(glob_pattern(configured.pattern, globstar=True))
    names = [
        path.relative_to(configured.migrations).as_posix()
        for path in configured.migrations.rglob("*")
        if path.is_file()
    ]
    return sorted((each for each in names if wanted.fullmatch(each)), key=_order)


def _order(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((_number(part), part) for part in PurePosixPath(name).parts)


def _number(name: str) -> int:
    found = _NUMBER.match(name)
    return int(found[0]) if found else 0


def _missing(found: Found, configured: Database) -> Sequence[str]:
    files = _files(configured)
    if not files:
        raise project_failure(f"There are no migrations in {configured.migrations}.")
    table = _quoted(configured.table)
    done = found.api.query(
        found.id,
        f"CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY AUTOINCREMENT, "
        "name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);"
        f"SELECT name FROM {table} ORDER BY id",
    )
    applied = {row["name"] for row in done[-1]["results"]}
    return [each for each in files if each not in applied]


def _apply(found: Found, configured: Database, name: str) -> None:
    content = (configured.migrations / name).read_text("utf-8")
    table, told = _quoted(configured.table), name.replace("'", "''")
    try:
        found.api.query(found.id, f"{content}\nINSERT INTO {table} (name) VALUES ('{told}');")
    except ApiError as error:
        if error.status >= 500:
            raise
        raise Failure(
            f"{name} failed, and changed nothing: {error.message}",
            hint="correct it and apply again",
        ) from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
