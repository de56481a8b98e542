"""What the operator's commands share: the daemon's own configuration, read in the same way."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from workerd_faas.settings.load import SettingsError, load
from workerd_faas.settings.model import Settings
from workerd_faas.tap import env_file


def read_settings(dev: bool, named_env_file: str | None) -> Settings:
    """
    The settings that the daemon would have with this environment.

    Raises:
        SettingsError: with every problem.
    """
    return load(os.environ, env_file=env_file(named_env_file), dev=dev)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add `--dev` and `--env-file`.
    """
    command = click.option(
        "--env-file",
        type=click.Path(path_type=str),
        help="File of NAME=value lines, .env by default if there is one.",
    )(command)
    return click.option("--dev", is_flag=True, help="As the daemon is with --dev.")(command)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add `--dev` and `--env-file`, and give the command the settings they lead to as its first
    argument. A wrong configuration ends the command with the whole report.
    """

    @source_options
    @wraps(command)
    def read(*args: Any, dev: bool, env_file: str | None, **options: Any) -> Any:
        try:
            settings = read_settings(dev, env_file)
        except SettingsError as error:
            raise click.ClickException(str(error)) from error
        return command(settings, *args, **options)

    return read
