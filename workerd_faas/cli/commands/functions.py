"""`wrkst list`, `delete`, `open`."""

from pathlib import Path

import click

from workerd_faas.cli.app import App, json_option, name_option, pass_app, target
from workerd_faas.cli.client.address import function_url
from workerd_faas.cli.client.function_storage import FunctionStorage
from workerd_faas.cli.commands.login import has_display
from workerd_faas.cli.failure import usage
from workerd_faas.cli.terminal import (
    is_interactive,
    note,
    printable,
    say,
    show_json,
    show_table,
    when,
    working,
)


@click.command(
    "list",
    epilog="""\b
Examples:
  wrkst list
  wrkst list --json""",
)
@json_option
@pass_app
def list_functions(app: App, as_json: bool) -> None:
    """
    List your functions.
    """
    with working("asking"):
        found = app.scripts().list()
    if as_json:
        show_json(found)
        return
    if not found:
        note("No functions yet: `wrkst init` and `wrkst deploy` make the first one.")
    base_url = app.settings.require_url()
    show_table(
        ("NAME", "MODIFIED", "URL"),
        (
            (
                str(each.get("id", "")),
                when(each.get("modified_on")),
                function_url(base_url, str(each.get("id", ""))),
            )
            for each in found
        ),
    )


@click.command(
    epilog="""\b
Examples:
  wrkst delete --name hello
  wrkst delete --name hello --yes     (in a script)
  wrkst delete --name hello --with-storage""",
)
@name_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--with-storage",
    is_flag=True,
    help="Delete too what it alone uses: KV namespaces, D1 databases, queues.",
)
@pass_app
def delete(
    app: App,
    name: str | None,
    config: Path | None,
    environment: str | None,
    yes: bool,
    with_storage: bool,
) -> None:
    """
    Delete a function with all its versions, deployments and aliases. Its name is free then.

    What it stored stays, unless --with-storage is given; what other functions use stays anyway.
    """
    which = target(app, name, config, environment)
    storage = FunctionStorage.of(which.scripts, which.name) if with_storage else None
    for line in () if storage is None else storage.told:
        note(line)
    if not yes:
        if not is_interactive():
            raise usage("Deleting cannot be undone.", hint="give --yes to do it without a question")
        typed = click.prompt(
            f"This deletes {printable(which.name)} and all its versions for good"
            f"{' with what it stored' if with_storage else ''}. Type its name to go on",
            default="",
            show_default=False,
            err=True,
        )
        if typed != which.name:
            raise click.Abort
    with working("deleting"):
        which.scripts.delete(which.name)
    note(f"Deleted {which.name}.")
    if storage is not None:
        with working("deleting what it stored"):
            storage.delete()


@click.command(
    "open",
    epilog="""\b
Examples:
  wrkst open
  curl $(wrkst open --print --name shop)""",
)
@name_option
@click.option("--print", "only_print", is_flag=True, help="Print the address only.")
@pass_app
def open_function(
    app: App, name: str | None, config: Path | None, environment: str | None, only_print: bool
) -> None:
    """
    Open a function in the browser.
    """
    import webbrowser

    which = target(app, name, config, environment)
    with working("asking"):
        _, urls = which.scripts.deployments(which.name)
    url = urls.get("function") or function_url(app.settings.require_url(), which.name)
    say(str(url))
    if not only_print and not (has_display(app.environ) and webbrowser.open(str(url))):
        note("no browser could be opened; open the address yourself")
