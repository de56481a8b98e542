"""`wrkst login`, `logout`, `whoami`."""

import sys
from collections.abc import Mapping

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.client.address import is_plain_over_network
from workerd_faas.cli.client.api import ApiError
from workerd_faas.cli.client.oauth import Attempt, Endpoints, Tokens
from workerd_faas.cli.failure import Failure
from workerd_faas.cli.terminal import note, say, show_json, show_table, warn, working


def has_display(environ: Mapping[str, str]) -> bool:
    """
    Whether a browser can show up in a window. Where it cannot, none is opened: a browser that
    runs in the terminal would take it over.
    """
    if not sys.platform.startswith("linux"):
        return True
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


@click.command(
    epilog="""\b
Examples:
  wrkst login
  wrkst login --device          (on a machine without a browser: shows a code)
  wrkst login --no-browser      (prints the address, for a browser that you open)""",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open a browser here, or only print the address to open.",
)
@click.option("--device", is_flag=True, help="Show a code to confirm in a browser on any machine.")
@click.option(
    "--timeout",
    type=click.IntRange(1, 3600),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for you.",
)
@pass_app
def login(app: App, browser: bool, device: bool, timeout: int) -> None:
    """
    Log in with your browser.

    The browser brings the answer back to this machine. With --no-browser, open the printed
    address anywhere; if that browser cannot reach this machine, paste the address at which it
    ends up (it begins with http://127.0.0.1) here, or log in with --device.
    """
    base_url = app.settings.require_url()
    # A file that cannot be read could not be written to either: not only after all is confirmed.
    app.store.load(base_url)
    if app.settings.token is not None:
        warn("WRKST_TOKEN is set: other commands use it, not this login")
    if is_plain_over_network(base_url):
        warn(f"{base_url} is not encrypted: everybody on the way can read your login")
    with working("asking the server how to log in"):
        endpoints = app.oauth.discover()
    tokens = (
        _by_code(app, endpoints, timeout)
        if device
        else _by_browser(app, endpoints, browser, timeout)
    )
    app.store.change(lambda: app.store.save(base_url, tokens))
    note(f"You are logged in at {base_url}.")


def _by_code(app: App, endpoints: Endpoints, timeout: int) -> Tokens:
    from workerd_faas.cli.client.device import DeviceFlow

    flow = DeviceFlow(oauth=app.oauth)
    code = flow.begin(endpoints)
    note("Open this address on any machine, and go on only if it shows the code:")
    note(code.complete)
    note(f"Code: {code.user_code}")
    with working("waiting for you"):
        return flow.wait(endpoints, code, timeout)


def _by_browser(app: App, endpoints: Endpoints, browser: bool, timeout: int) -> Tokens:
    import webbrowser

    from workerd_faas.cli.client.callback import listening

    with listening() as listener:
        attempt = Attempt(endpoints=endpoints, redirect_uri=listener.redirect_uri)
        listener.expect(attempt.is_ours)
        url = attempt.url()
        note("Log in at this address:")
        note(url)
        opened = browser and has_display(app.environ) and webbrowser.open(url)
        if not opened:
            note("If that browser runs elsewhere, paste the address at which it ends up:")
        query = listener.wait(timeout, None if opened else sys.stdin, note)
    return app.oauth.redeem(attempt, attempt.code_from(query))


@click.command(epilog="\b\nExample:\n  wrkst logout")
@pass_app
def logout(app: App) -> None:
    """
    End the session on the server and forget it here.
    """
    base_url = app.settings.require_url()
    store = app.store
    tokens = store.load(base_url)
    if tokens is None:
        note(f"You were not logged in at {base_url}.")
        return
    trouble = None
    if tokens.refresh_token is not None:
        try:
            app.oauth.revoke(tokens.refresh_token)
        except Failure as failure:
            trouble = failure
    store.change(lambda: store.save(base_url, None))
    if trouble is not None:
        raise Failure(
            "This machine has forgotten the login, but the server could not be told to end the "
            f"session: {trouble.message}",
            hint="end it with `wrkst sessions revoke` from another login",
        )
    note(f"You are logged out of {base_url}.")


@click.command(epilog="\b\nExamples:\n  wrkst whoami\n  wrkst whoami --json")
@json_option
@pass_app
def whoami(app: App, as_json: bool) -> None:
    """
    Show who you are to the server, and your accounts.
    """
    by_token = app.settings.token is not None
    accounts = app.user.accounts()
    try:
        user = app.user.user()
    except ApiError:  # an API token may belong to nobody in particular
        user = {}
    if as_json:
        show_json(
            {
                "url": app.settings.url,
                "auth": "token" if by_token else "login",
                "email": user.get("email"),
                "id": user.get("id"),
                "accounts": [
                    {"id": each.id, "name": each.name, "roles": list(each.roles)}
                    for each in accounts
                ],
            }
        )
        return
    who = user.get("email") or user.get("id") or "you"
    say(f"{who} at {app.settings.url} ({'WRKST_TOKEN' if by_token else 'logged in'})")
    show_table(("ACCOUNT", "ID"), ((each.name, each.id) for each in accounts))
