"""`wrkst config`."""

from typing import Final
from urllib.parse import urlsplit

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.client.address import is_plain_over_network, normalise_base_url
from workerd_faas.cli.client.settings import store_url
from workerd_faas.cli.failure import Exit, Failure
from workerd_faas.cli.terminal import (
    confirm,
    is_interactive,
    note,
    show_json,
    show_table,
    warn,
    working,
)

_SECONDS: Final = 5.0
"""How long somebody waits for an address to answer."""


@click.group()
def config() -> None:
    """
    Which server to talk to.
    """


@config.command(
    "set-url",
    epilog="""\b
Examples:
  wrkst config set-url http://localhost:8080
  wrkst config set-url https://faas.example.com""",
)
@click.argument("url")
@click.option("--force", is_flag=True, help="Keep it whatever answers there.")
@pass_app
def set_url(app: App, url: str, force: bool) -> None:
    """
    Make URL the server of all further commands.

    What is no workerd-faas server, or does not answer, is kept with --force or when you say so.
    """
    normalised = normalise_base_url(url)
    if is_plain_over_network(normalised):
        warn(f"{normalised} is not encrypted: everybody on the way can read your login; use https")
    trouble = None
    try:
        with working("looking for the server"):
            app.at(normalised, _SECONDS).discover()
    except Failure as failure:
        trouble = failure
        _ask(app, normalised, failure, force=force)
    store_url(app.settings.directory, normalised)
    note(f"The server is {normalised}." + ("" if trouble else " It answers."))


def _ask(app: App, url: str, failure: Failure, *, force: bool) -> None:
    """
    Whether to keep an address at which there is something else, or nothing.

    Raises:
        Failure: it shall not be kept.
    """
    # Other hints speak of an address that is kept already.
    hint = failure.hint if "config set-url" in (failure.hint or "") else None
    if failure.exit_status is not Exit.UNREACHABLE and (named := _by_name(app, url)) is not None:
        hint = f"the server is known by its name: `wrkst config set-url {named}`"
    elif (
        failure.exit_status is not Exit.UNREACHABLE and (base := _base_above(app, url)) is not None
    ):
        hint = f"{base} is a server, and this the host of one of its functions: " + (
            f"`wrkst config set-url {base}`"
        )
    if not force and not is_interactive():
        raise Failure(
            f"{failure.message} The address is not kept; --force keeps it all the same.",
            hint=hint,
            status=failure.exit_status,
        )
    warn(failure.message)
    if hint is not None:
        note(f"next: {hint}")
    confirm("Keep the address all the same?", assume_yes=force)


def _by_name(app: App, url: str) -> str | None:
    """
    The address with the name of this machine in place of its number, if a server answers there.
    """
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "::1"):
        return None
    named = f"{parts.scheme}://localhost" + (f":{parts.port}" if parts.port else "")
    try:
        with working("looking for the server"):
            app.at(named, _SECONDS).discover()
    except Failure:
        return None
    return named


def _base_above(app: App, url: str) -> str | None:
    """
    The server whose function (or version or alias of one) has the host of `url`, if one answers.
    """
    scheme, _, authority = url.partition("://")
    for _ in range(2):
        _, dot, authority = authority.partition(".")
        if not dot:
            return None
        try:
            with working("looking for the server"):
                app.at(f"{scheme}://{authority}", _SECONDS).discover()
        except Failure:
            continue
        return f"{scheme}://{authority}"
    return None


@config.command(
    "show",
    epilog="""\b
Examples:
  wrkst config show
  wrkst config show --json""",
)
@json_option
@pass_app
def show(app: App, as_json: bool) -> None:
    """
    Show what is in force, and where it is from.
    """
    settings = app.settings
    stored = settings.url is not None and app.store.load(settings.url) is not None
    credentials = "WRKST_TOKEN" if settings.token else ("login" if stored else None)
    document = {
        "url": settings.url,
        "url_source": settings.url_source,
        "account": settings.account,
        "credentials": credentials,
        "directory": str(settings.directory),
    }
    if as_json:
        show_json(document)
        return
    show_table(("SETTING", "VALUE"), ((key, str(value or "-")) for key, value in document.items()))
