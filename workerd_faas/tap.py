"""`twistd workerd-faas`: its options, which mirror the settings, and the service it runs."""

import difflib
import getopt
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from twisted.application.service import IService
from twisted.python import usage

from workerd_faas import reactor
from workerd_faas.settings.load import SettingsError, load
from workerd_faas.settings.model import Settings
from workerd_faas.settings.setting import Setting
from workerd_faas.settings.table import SETTINGS

_ENV_FILE: Final = Path(".env")

_EXAMPLES: Final = """
To try it, with everything on loopback:
    twistd -n workerd-faas --dev

In production, behind a reverse proxy that terminates TLS:
    export BASE_DOMAIN=faas.example.com
    export JWT_SECRET_FILE=/etc/workerd-faas/jwt-secret
    export OIDC_ISSUER=https://login.example.com OIDC_CLIENT_ID=workerd-faas
    export OIDC_CLIENT_SECRET_FILE=/etc/workerd-faas/oidc-client-secret
    export TRUSTED_PROXIES=127.0.0.1
    twistd -n workerd-faas

With TLS of its own:
    twistd -n workerd-faas --listen ssl:443:privateKey=key.pem:certKey=cert.pem

To see whether a configuration is right before it is used:
    workerd-faas check-config
"""


def _parameter(setting: Setting) -> list[str | None]:
    meaning = setting.meaning
    if setting.secret:
        meaning = f"File that holds {setting.name}. {meaning}"
    return [
        setting.option,
        None,
        None,
        f"{meaning}. [{setting.variable}; default: {setting.default_shown}]",
    ]


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """
    The name of a secret would be taken for the beginning of that of its file, and the secret for
    the file's name, which is then told.
    """
    for setting in SETTINGS:
        own = "--" + setting.name.lower().replace("_", "-")
        if setting.secret and own in (argument.partition("=")[0] for argument in arguments):
            raise usage.UsageError(
                f"{own} would be seen by other users of this machine: "
                f"use --{setting.option} FILE, or {setting.name} in the environment"
            )


class Options(usage.Options):
    """
    Every setting as an option, `--dev` and `--env-file`.

    Attributes:
        settings: What was read; there once the options have been parsed.
        read: Reads them again.
        command: How to start the same daemon again, in the foreground; None: it is not there.
    """

    synopsis = "[options]"
    longdesc = (
        "Serve Cloudflare Workers code on this machine. "
        "Every option is also an environment variable, whose name is in brackets; an option "
        "counts before the environment, the environment before the env file. "
        "Relative paths are below the working directory."
    )

    optFlags: ClassVar = [
        [
            "dev",
            None,
            "For development: everything on loopback, any name signs in, secrets are made by "
            "themselves.",
        ]
    ]
    optParameters: ClassVar = [
        ["env-file", None, None, "File of NAME=value lines. [default: .env if there is one]"],
        *(_parameter(setting) for setting in SETTINGS),
    ]

    settings: Settings
    read: Callable[[], Settings]
    command: Sequence[str] | None

    def getUsage(self, width: int | None = None) -> str:
        """
        What `--help` prints, with examples below it whose lines stay as they are.
        """
        return super().getUsage(width) + _EXAMPLES

    def opt_version(self) -> NoReturn:
        """
        Print the version and exit.
        """
        print("workerd-faas", version("workerd-faas"))  # noqa: T201
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        Raises:
            SystemExit: saying what is wrong with it, without the options, which would hide that.
        """
        try:
            _refuse_secrets(sys.argv[1:] if options is None else options)
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(
                f"workerd-faas cannot start: {error}{self._meant(str(error))}\n"
                "`twistd workerd-faas --help` shows all options."
            ) from error

    def _meant(self, error: str) -> str:
        unknown = re.search(r"option --([a-z-]+) not recognized", error)
        known = [name.rstrip("=") for name in self.longOpt]
        meant = difflib.get_close_matches(unknown[1], known, n=1) if unknown else []
        return f": did you mean --{meant[0]}?" if meant else ""

    def postOptions(self) -> None:
        """
        Choose the reactor, before anything can import another one, and read the settings.

        Raises:
            SystemExit: with every problem at once, and without the options, which would hide them.
        """
        overrides = {
            setting.variable: self[setting.option]
            for setting in SETTINGS
            if self[setting.option] is not None
        }
        try:
            reactor.install()
            self.read = partial(_read, self["env-file"], overrides, bool(self["dev"]))
            self.settings = self.read()
        except (SettingsError, reactor.WrongReactor) as error:
            file = env_file(self["env-file"])
            sources = "options and the environment" + (f" and {file}" if file else "")
            raise SystemExit(
                f"workerd-faas cannot start: {error}\n"
                f"Settings come from {sources}; `twistd workerd-faas --help` explains them."
            ) from error
        self.command = self._command()

    def _command(self) -> Sequence[str] | None:
        """
        This process's own command line, with the environment to say the rest. Without a file for
        the process's id, which this process has.
        """
        parent: Any = self.parent
        arguments = sys.argv[1:]
        if parent is None or not parent.get("nodaemon", True):
            return None
        _, rest = getopt.getopt(arguments, parent.shortOpt, parent.longOpt)
        before = arguments[: len(arguments) - len(rest)]
        program = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
        # The last one counts; one is enough, however often daemons take one another's place.
        own = ["--pidfile="] if "pidfile" in parent and before[-1:] != ["--pidfile="] else []
        return [sys.executable, *program, *before, *own, *rest]


def _read(named: str | None, overrides: Mapping[str, str], dev: bool) -> Settings:
    return load(os.environ, env_file=env_file(named), overrides=overrides, dev=dev)


def env_file(named: str | None) -> Path | None:
    """
    The file to read settings from: the one that was named, else `.env` if there is one.
    """
    if named is not None:
        return Path(named)
    return _ENV_FILE if _ENV_FILE.exists() else None


def makeService(options: Options) -> IService:
    """
    The daemon, wired.
    """
    from workerd_faas.assembly.daemon import build

    installed: Any = reactor.install()
    return build(installed, options.settings, options.command, options.read)
