"""`wrkst kv bulk`: many keys at once."""

import json
from pathlib import Path
from typing import Any

import click

from workerd_faas.cli.app import App, pass_app
from workerd_faas.cli.commands.kv import Chosen, expiry, kv, namespace_options, parsed, remote
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import confirm, note, show_json, working


@kv.group()
def bulk() -> None:
    """
    Many keys at once.
    """


_FILE = click.argument("file", type=click.Path(path_type=Path))


@bulk.command(
    "put",
    epilog="""\b
Example:
  wrkst kv bulk put entries.json --binding KV

\b
Each entry: {"key": "…", "value": "…"}, and perhaps "base64": true, "metadata",
"expiration", "expiration_ttl".""",
)
@_FILE
@click.option("--metadata", metavar="JSON", help="For entries that have none of their own.")
@expiry
@namespace_options
@remote
@pass_app
def put_many(
    app: App,
    /,
    file: Path,
    metadata: str | None,
    ttl: int | None,
    expiration: int | None,
    **chosen: Any,
) -> None:
    """
    Store all entries of a JSON array in FILE.
    """
    defaults = {
        "expiration_ttl": ttl,
        "expiration": expiration,
        "metadata": None if metadata is None else parsed(metadata, "--metadata"),
    }
    given = {key: value for key, value in defaults.items() if value is not None}
    pairs = [{**given, **each} for each in _entries(file, dict)]
    kv_api, found = Chosen(**chosen).find(app)
    with working("storing"):
        failed = kv_api.put_many(found, pairs)
    if failed:
        raise Failure(
            f"{len(failed)} of {len(pairs)} keys were not stored.",
            details=[f"{each.get('key')}: {each.get('error')}" for each in failed[:20]],
        )
    note(f"Stored {len(pairs)} keys.")


@bulk.command(
    "get",
    epilog="""\b
Example:
  wrkst kv bulk get keys.json --binding KV""",
)
@_FILE
@namespace_options
@click.option("--json", is_flag=True, expose_value=False, hidden=True, help="Always so.")
@remote
@pass_app
def get_many(app: App, /, file: Path, **chosen: Any) -> None:
    """
    Print the values of all keys of a JSON array in FILE, as JSON.
    """
    names = _names(file)
    kv_api, found = Chosen(**chosen).find(app)
    with working("asking"):
        values = kv_api.get_many(found, names)
    show_json(values)


@bulk.command(
    "delete",
    epilog="""\b
Example:
  wrkst kv bulk delete keys.json --binding KV""",
)
@_FILE
@click.option("--force", "-f", "yes", is_flag=True, help="Do not ask.")
@namespace_options
@remote
@pass_app
def delete_many(app: App, /, file: Path, yes: bool, **chosen: Any) -> None:
    """
    Remove all keys of a JSON array in FILE.
    """
    names = _names(file)
    kv_api, found = Chosen(**chosen).find(app)
    confirm(f"Remove {len(names)} keys?", assume_yes=yes)
    with working("removing"):
        kv_api.remove_many(found, names)
    note(f"Removed {len(names)} keys.")


def _entries(file: Path, kind: type) -> list[Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise usage(f"{file} cannot be read: {error}") from None
    if not isinstance(found, list) or not all(isinstance(each, kind) for each in found):
        raise usage(f"{file} must be a JSON array of {'objects' if kind is dict else 'keys'}.")
    return found


def _names(file: Path) -> list[str]:
    found = _entries(file, object)
    given = [each.get("name") if isinstance(each, dict) else each for each in found]
    names = [name for name in given if isinstance(name, str)]
    if len(names) < len(given):
        raise usage(f'{file} must be a JSON array of keys, or of {{"name": "<key>"}}.')
    return names
