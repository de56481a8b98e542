"""
What every command starts from: settings, the server, the login, the account, the project.

Each part is imported when it is first used: `wrkst config show` needs no HTTP, `wrkst list` reads
no configuration.
"""

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from workerd_faas.cli.client.settings import Settings, load_settings
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import is_interactive, printable, warn

if TYPE_CHECKING:
    from workerd_faas.cli.client.api import Api
    from workerd_faas.cli.client.credentials import Authorization, CredentialStore
    from workerd_faas.cli.client.http import Http
    from workerd_faas.cli.client.oauth import OAuth
    from workerd_faas.cli.client.scripts import AccountRef, ScriptsApi, UserApi
    from workerd_faas.cli.config.project import Check, Project

Command = TypeVar("Command", bound=Callable[..., Any])


def our_version() -> str:
    """
    The version of this program.
    """
    # Imported late: it takes a tenth of the time that a command takes to start.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("workerd-faas")
    except PackageNotFoundError:
        return "unknown"


@attrs.define(kw_only=True, slots=False)
class App:
    """
    Made once a process; parts come to be when they are first used.
    """

    url: str | None = None
    account_choice: str | None = None
    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False)

    @cached_property
    def settings(self) -> Settings:
        """
        Options, environment, stored configuration.
        """
        return load_settings(self.environ, url=self.url, account=self.account_choice)

    @cached_property
    def http(self) -> "Http":
        """
        The HTTP client.
        """
        from workerd_faas.cli.client.http import Http

        return Http(user_agent=f"wrkst/{our_version()}")

    @cached_property
    def oauth(self) -> "OAuth":
        """
        The server's login.
        """
        return self.at(self.settings.require_url())

    def at(self, base_url: str, answer_seconds: float = 60.0) -> "OAuth":
        """
        The login of a server, which need not be the one that is set.
        """
        from workerd_faas.cli.client.oauth import OAuth

        http = attrs.evolve(self.http, answer_seconds=answer_seconds)
        return OAuth(http=http, base_url=base_url)

    @property
    def store(self) -> "CredentialStore":
        """
        Stored logins.
        """
        from workerd_faas.cli.client.credentials import CredentialStore

        return CredentialStore(self.settings.directory)

    @cached_property
    def api(self) -> "Api":
        """
        The server's API, with whatever credentials there are.
        """
        from workerd_faas.cli.client.api import Api
        from workerd_faas.cli.client.credentials import EnvironmentToken, StoredLogin

        authorization: Authorization
        if self.settings.token is not None:
            authorization = EnvironmentToken(self.settings.token)
        else:
            authorization = StoredLogin(self.store, self.oauth)
        return Api(
            http=self.http,
            base_url=self.settings.require_url(),
            authorization=authorization,
            notice=warn,
        )

    @property
    def user(self) -> "UserApi":
        """
        What belongs to the user.
        """
        from workerd_faas.cli.client.scripts import UserApi

        return UserApi(self.api)

    def scripts(self, configured_account: str | None = None) -> "ScriptsApi":
        """
        The functions of the account that was chosen, by option, environment or configuration,
        or of the only one there is.

        Raises:
            Failure: there is none, it is not the user's, or several are and nobody can be asked.
        """
        from workerd_faas.cli.client.scripts import ScriptsApi

        return ScriptsApi(self.api, self._account(configured_account))

    def _account(self, configured: str | None) -> "AccountRef":
        accounts = self.user.accounts()
        chosen = self.settings.account or configured
        if chosen is not None:
            found = [each for each in accounts if chosen in (each.id, each.name)]
            if len(found) == 1:
                return found[0]
            raise Failure(
                f"{'Several of your accounts are' if found else 'None of your accounts is'} "
                f"called {chosen!r}.",
                details=_shown(accounts),
                hint="take account_id out of the configuration, or give --account ID"
                if chosen == configured
                else "give the id of one of them",
            )
        if len(accounts) == 1:
            return accounts[0]
        if not accounts:
            raise Failure("You belong to no account on this server.")
        if not is_interactive():
            raise usage(
                "You belong to several accounts: give --account, or set WRKST_ACCOUNT. "
                + "; ".join(_shown(accounts))
            )
        for number, line in enumerate(_shown(accounts), 1):
            click.echo(f"{number}. {printable(line)}", err=True)
        number = click.prompt("Account", type=click.IntRange(1, len(accounts)), err=True)
        return accounts[number - 1]

    def project(
        self, config: Path | None, environment: str | None, check: "Check | None" = None
    ) -> "Project":
        """
        The project that the working directory is in; its warnings are shown.

        Args:
            check: What more is needed of it than to be right.

        Raises:
            Failure: its configuration is wrong.
        """
        from workerd_faas.cli.config.files import load_config
        from workerd_faas.cli.config.project import read_project

        found = load_config(config, Path.cwd())
        chosen = environment if environment is not None else self.environ.get("CLOUDFLARE_ENV")
        project, warnings = read_project(found, chosen or None, check)
        for warning in warnings:
            warn(f"{found.label}: {warning}")
        return project


def _shown(accounts: Any) -> list[str]:
    return [f"{each.name} ({each.id})" for each in accounts]


pass_app = click.make_pass_decorator(App)


def json_option(command: Command) -> Command:
    """
    `--json`: the result as one JSON document on standard output.
    """
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(
        command
    )


def project_options(command: Command) -> Command:
    """
    Which configuration is meant.
    """
    command = click.option(
        "--env", "-e", "environment", metavar="ENV", help="Environment of the configuration."
    )(command)
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        help="Configuration file, instead of the wrangler.jsonc/json/toml found upwards.",
    )(command)


def name_option(command: Command) -> Command:
    """
    Which function is meant: by default that of the project here.
    """
    return click.option(
        "--name", metavar="NAME", help="Function; by default the name in the configuration."
    )(project_options(command))


@attrs.frozen
class Target:
    """
    A function in an account.
    """

    name: str
    scripts: "ScriptsApi"


def target(app: App, name: str | None, config: Path | None, environment: str | None) -> Target:
    """
    The function that a command is about.

    Raises:
        Failure: no name was given and none is configured.
    """
    configured = None
    if name is None or config is not None:
        project = app.project(config, environment)
        name, configured = name or project.name, project.account_id
    if not name:
        raise usage(
            "Which function?", hint="give --name NAME, or run it where wrangler.jsonc has a name"
        )
    from workerd_faas.domain.names import LABEL_RULE, is_label

    if not is_label(name):
        raise usage(f"{name!r} is not a valid function name: {LABEL_RULE}.")
    return Target(name, app.scripts(configured))
