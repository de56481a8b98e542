"""`workerd-faas`: the operator's command, on the machine itself."""

from importlib import import_module
from importlib.metadata import version
from typing import Final

import click

_COMMANDS: Final = {
    "account": "workerd_faas.operator.account:account",
    "backup": "workerd_faas.operator.backup.backup_command:backup",
    "check-config": "workerd_faas.operator.check_config:check_config",
    "doctor": "workerd_faas.operator.doctor:doctor",
    "health": "workerd_faas.operator.health:health",
    "restore": "workerd_faas.operator.backup.restore_command:restore",
    "secrets": "workerd_faas.operator.secrets:secrets",
    "token": "workerd_faas.operator.token:token",
}


class _Commands(click.Group):
    """
    Commands that are imported when they are asked for: `--version` loads no Twisted.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = _COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("workerd-faas"), prog_name="workerd-faas")
def main() -> None:
    """
    Look after a workerd-faas installation.

    The daemon itself is started with: twistd -n workerd-faas
    """
