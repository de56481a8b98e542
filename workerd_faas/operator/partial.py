"""Single settings, for commands that need no others: the rest may be wrong or missing."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from workerd_faas.settings.load import load
from workerd_faas.settings.model import Settings
from workerd_faas.settings.sources import Findings, gather
from workerd_faas.settings.table import BY_NAME
from workerd_faas.tap import env_file as env_file_or_default

_OF_THE_MACHINE: Final = ("DATA_DIR", "WORKERD", "SANDBOX", "CELL_UIDS")


def single(name: str, dev: bool, named_env_file: str | None) -> Any:
    """
    The value of one setting as the daemon would read it; None if it has none.

    Raises:
        click.ClickException: it cannot be known.
    """
    findings = Findings()
    file = env_file_or_default(named_env_file)
    setting = BY_NAME[name]
    text = gather(os.environ, file, {}, findings).get(name) or setting.default_for(dev)
    for where, message in findings.problems:
        ours = where in (name, setting.file_name)
        if ours or (file is not None and where.startswith(str(file))):
            raise click.ClickException(f"{where}: {message}")
    if not text:
        return None
    try:
        return setting.read(text)
    except ValueError as error:
        raise click.ClickException(f"{name} {error}") from error


def of_the_machine(dev: bool, named_env_file: str | None) -> Settings:
    """
    Settings in which those that say what of this machine is used are as given, as far as they are
    right, and no others: for looking at the machine while the rest is wrong.
    """
    texts = gather(os.environ, env_file_or_default(named_env_file), {}, Findings())
    given = {}
    for name in _OF_THE_MACHINE:
        setting = BY_NAME[name]
        text = texts.get(name) or setting.default_for(dev)
        with suppress(ValueError):
            if text:
                setting.read(text)
                given[name] = text
    return load(given, dev=True)


def chosen(name: str, named_env_file: str | None) -> bool:
    """
    Whether somebody has said what a setting is, so that it is no default.
    """
    file = env_file_or_default(named_env_file)
    return name in gather(os.environ, file, {}, Findings())


def data_directory(dev: bool, named_env_file: str | None) -> Path:
    """
    `DATA_DIR`.

    Raises:
        click.ClickException: it cannot be known.
    """
    directory = single("DATA_DIR", dev, named_env_file)
    assert isinstance(directory, Path)
    return directory


def become_owner(directory: Path) -> None:
    """
    As root, go on as the directory's owner: the daemon must be able to open what is made here.
    """
    owner = directory.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
