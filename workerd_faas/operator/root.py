"""The commands of `workerd-faas`."""

from typing import Final

import click

from workerd_faas.cli import interrupt
from workerd_faas.cli.lazy import LazyCommands

_COMMANDS: Final = {
    "account": "workerd_faas.operator.account:account",
    "backup": "workerd_faas.operator.backup.backup_command:backup",
    "check-config": "workerd_faas.operator.check_config:check_config",
    "doctor": "workerd_faas.operator.doctor:doctor",
    "health": "workerd_faas.operator.health:health",
    "reload": "workerd_faas.operator.running:reload",
    "restore": "workerd_faas.operator.backup.restore_command:restore",
    "secrets": "workerd_faas.operator.secrets:secrets",
    "token": "workerd_faas.operator.token:token",
    "upgrade": "workerd_faas.operator.running:upgrade",
}
"""Where each command is."""


@click.group(
    commands=LazyCommands(_COMMANDS), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(None, package_name="workerd-faas", prog_name="workerd-faas")
def operate() -> None:
    """
    Look after a workerd-faas installation.

    The daemon itself is started with: twistd -n workerd-faas
    """
    interrupt.raise_again()
