"""`wrkst kv`: namespaces and keys. The words and options are Wrangler's."""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from workerd_faas.cli.app import App, json_option, pass_app, project_options
from workerd_faas.cli.client.kv import KVApi
from workerd_faas.cli.config.storage import storage_here
from workerd_faas.cli.failure import project_failure, usage
from workerd_faas.cli.terminal import (
    confirm,
    is_interactive,
    note,
    printable,
    say,
    show_json,
    show_table,
    when_epoch,
    working,
)

Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.frozen
class Chosen:
    """
    Which namespace the options mean.
    """

    namespace_id: str | None
    binding: str | None
    config: Path | None
    environment: str | None

    def find(self, app: App, title: str | None = None) -> tuple[KVApi, str]:
        """
        Raises:
            Failure: none or several were named, or there is none such.
        """
        if sum(each is not None for each in (self.namespace_id, self.binding, title)) != 1:
            raise usage("Which namespace?", hint="give one of --namespace-id ID and --binding NAME")
        if self.binding is None:
            kv = KVApi(app.api, app.scripts().account.id)
            return kv, self.namespace_id or kv.titled(title or "")
        storage = storage_here(self.config, self.environment)
        found = storage.namespace(self.binding)
        if found is None or found.id is None:
            raise project_failure(
                f"The configuration has no KV namespace with the binding {self.binding!r}"
                f"{'' if found is None else ' and an id'}.",
                hint="give --namespace-id; `wrkst kv namespace list` shows ids",
            )
        return KVApi(app.api, app.scripts(storage.account_id).account.id), found.id


def namespace_options(command: Command) -> Command:
    """
    Which namespace is meant.
    """
    command = project_options(command)
    command = click.option("--binding", metavar="NAME", help="Its name in the configuration.")(
        command
    )
    return click.option("--namespace-id", metavar="ID", help="Its id.")(command)


def remote(command: Command) -> Command:
    """
    Wrangler has to be told; here there is nothing else.
    """
    return click.option(
        "--remote", is_flag=True, expose_value=False, hidden=True, help="Always so."
    )(command)


def expiry(command: Command) -> Command:
    """
    When what is stored ends.
    """
    command = click.option(
        "--expiration", type=int, metavar="TIME", help="When it ends, in seconds since 1970."
    )(command)
    return click.option(
        "--ttl", type=int, metavar="SECONDS", help="After how long it ends; 60 at least."
    )(command)


@click.group()
def kv() -> None:
    """
    KV: namespaces, and the keys in them.
    """


@kv.group()
def namespace() -> None:
    """
    Namespaces.
    """


@namespace.command("create", epilog="\b\nExample:\n  wrkst kv namespace create sessions")
@click.argument("title")
@json_option
@pass_app
def create_namespace(app: App, title: str, as_json: bool) -> None:
    """
    Make a namespace.
    """
    with working("making"):
        made = KVApi(app.api, app.scripts().account.id).create(title)
    if as_json:
        show_json(made)
        return
    note(f"{title} is there. In wrangler.jsonc:")
    say(f'"kv_namespaces": [{{ "binding": "KV", "id": "{made.get("id")}" }}]')


@namespace.command(
    "list",
    epilog="""\b
Example:
  wrkst kv namespace list""",
)
@json_option
@pass_app
def list_namespaces(app: App, as_json: bool) -> None:
    """
    List namespaces.
    """
    with working("asking"):
        found = KVApi(app.api, app.scripts().account.id).all()
    if as_json:
        show_json(found)
        return
    show_table(("ID", "TITLE"), ((str(each["id"]), str(each["title"])) for each in found))


@namespace.command(
    "rename",
    epilog="""\b
Example:
  wrkst kv namespace rename sessions --new-name logins""",
)
@click.argument("old_name", required=False)
@click.option("--namespace-id", metavar="ID", help="Instead of its name.")
@click.option("--new-name", required=True, metavar="TITLE", help="What to call it.")
@pass_app
def rename_namespace(
    app: App, old_name: str | None, namespace_id: str | None, new_name: str
) -> None:
    """
    Give a namespace another title.
    """
    kv_api, found = Chosen(namespace_id, None, None, None).find(app, old_name)
    with working("changing"):
        kv_api.rename(found, new_name)
    note(f"It is called {new_name}.")


@namespace.command(
    "delete",
    epilog="""\b
Examples:
  wrkst kv namespace delete sessions
  wrkst kv namespace delete --binding KV --yes""",
)
@click.argument("title", required=False)
@namespace_options
@click.option("--yes", "-y", "--skip-confirmation", is_flag=True, help="Do not ask.")
@pass_app
def delete_namespace(app: App, /, title: str | None, yes: bool, **chosen: Any) -> None:
    """
    Delete a namespace with all its keys.
    """
    kv_api, found = Chosen(**chosen).find(app, title)
    confirm(f"Delete the namespace {title or found} with all its keys?", assume_yes=yes)
    with working("deleting"):
        kv_api.delete(found)
    note(f"Deleted {title or found}.")


@kv.group()
def key() -> None:
    """
    Keys and their values.
    """


@key.command(
    "put",
    epilog="""\b
Examples:
  wrkst kv key put greeting Hello --binding KV
  wrkst kv key put logo --path logo.png --namespace-id 6f1e… --ttl 3600
  date | wrkst kv key put now --binding KV""",
)
@click.argument("name", metavar="KEY")
@click.argument("value", required=False)
@click.option("--path", type=click.Path(path_type=Path), help="Take the value from this file.")
@click.option("--metadata", metavar="JSON", help="What list and get show beside the value.")
@expiry
@namespace_options
@remote
@pass_app
def put_key(
    app: App,
    /,
    name: str,
    value: str | None,
    path: Path | None,
    metadata: str | None,
    ttl: int | None,
    expiration: int | None,
    **chosen: Any,
) -> None:
    """
    Store a value: VALUE, a file's, or what is on standard input.
    """
    content = _value(value, path)
    told = None if metadata is None else parsed(metadata, "--metadata")
    kv_api, found = Chosen(**chosen).find(app)
    given = {"expiration_ttl": ttl, "expiration": expiration}
    query = {key: str(number) for key, number in given.items() if number is not None}
    with working("storing"):
        kv_api.put(found, name, content, query, told)
    note(f"Stored {len(content)} bytes under {name}.")


@key.command(
    "get",
    epilog="""\b
Examples:
  wrkst kv key get greeting --binding KV --text
  wrkst kv key get logo --namespace-id 6f1e… > logo.png""",
)
@click.argument("name", metavar="KEY")
@click.option("--text", is_flag=True, help="It is a text: end it with a line end.")
@namespace_options
@json_option
@remote
@pass_app
def get_key(app: App, /, name: str, text: bool, as_json: bool, **chosen: Any) -> None:
    """
    Write a value to standard output, byte by byte. As JSON it is "value", or "base64" when it is
    no text.
    """
    kv_api, found = Chosen(**chosen).find(app)
    content = kv_api.get(found, name)
    if as_json:
        show_json({"key": name, **_as_json(content)})
    elif text:
        shown = content.decode("utf-8", "replace")
        click.echo(printable(shown) if sys.stdout.isatty() else shown)
    else:
        sys.stdout.buffer.write(content)


@key.command(
    "list",
    epilog="""\b
Example:
  wrkst kv key list --binding KV --prefix user:""",
)
@click.option("--prefix", default="", metavar="TEXT", help="Only keys that begin so.")
@namespace_options
@json_option
@remote
@pass_app
def list_keys(app: App, /, prefix: str, as_json: bool, **chosen: Any) -> None:
    """
    List keys, in the order of their bytes.
    """
    kv_api, found = Chosen(**chosen).find(app)
    with working("asking"):
        keys = list(kv_api.keys(found, prefix))
    if as_json:
        show_json(keys)
        return
    show_table(
        ("KEY", "EXPIRES", "METADATA"),
        (
            (
                str(each["name"]),
                when_epoch(each.get("expiration")),
                json.dumps(each["metadata"]) if "metadata" in each else "-",
            )
            for each in keys
        ),
    )


@key.command(
    "delete",
    epilog="""\b
Example:
  wrkst kv key delete greeting --binding KV""",
)
@click.argument("name", metavar="KEY")
@namespace_options
@remote
@pass_app
def delete_key(app: App, /, name: str, **chosen: Any) -> None:
    """
    Remove a key.
    """
    kv_api, found = Chosen(**chosen).find(app)
    kv_api.remove(found, name)
    note(f"There is no {name} any more.")


def _as_json(content: bytes) -> dict[str, str]:
    try:
        return {"value": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _value(value: str | None, path: Path | None) -> bytes:
    if value is not None and path is not None:
        raise usage("Give VALUE or --path, not both.")
    if path is not None:
        try:
            return path.read_bytes()
        except OSError as error:
            raise usage(f"{path} cannot be read: {error.strerror}.") from None
    if value is not None:
        return value.encode()
    if is_interactive():
        raise usage("There is no value.", hint="give VALUE, --path FILE, or write it to our input")
    return sys.stdin.buffer.read()


def parsed(text: str, option: str) -> Any:
    """
    The JSON that an option holds.

    Raises:
        Failure: it is none.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise usage(f"{option} is not JSON.") from None
