"""`workerd-faas check-config`: the settings as the daemon reads them, or all that is wrong."""

import json
from typing import Any, Final

import attrs
import click

from workerd_faas.operator.options import read_settings, source_options
from workerd_faas.settings.load import SettingsError
from workerd_faas.settings.model import Settings
from workerd_faas.settings.table import BY_NAME


def described(settings: Settings) -> dict[str, Any]:
    """
    What the settings come to, for people and scripts. Secrets are only said to be there.
    """
    provider = settings.provider
    return {
        "dev": settings.dev,
        "base_domain": settings.base_domain,
        "api": settings.public.api,
        "functions": settings.public.function("<function>"),
        "listen": [endpoint.text for endpoint in settings.listen],
        "use_forwarded_host": settings.use_forwarded_host,
        "trusted_proxies": [str(network) for network in settings.trusted_proxies],
        "data_dir": str(settings.data_dir),
        "jwt_secret": "given" if settings.jwt_secret else "made in data_dir",
        "provider": provider.issuer if provider else "built-in",
        "client_id": provider.client_id if provider else "built-in",
        "redirect_uri": settings.redirect_uri,
        "login_allow": list(settings.login_allow),
        "secrets_key": (
            f"{len(settings.secrets_keys)} given" if settings.secrets_keys else "made in data_dir"
        ),
        "workerd": str(settings.workerd) if settings.workerd else "found by itself",
        "isolation": settings.isolation.value,
        "sandbox": settings.sandbox,
        "cell_uids": list(settings.cell_uids) if settings.cell_uids else None,
        "egress_allow": [str(network) for network in settings.egress_allow],
        "hyperdrive_allow": [str(network) for network in settings.hyperdrive_allow],
        "egress_deny": [str(address) for address in settings.egress_deny],
        "max_cells": settings.max_cells,
        "cells_per_account": settings.cells_per_account,
        "promoted_functions": settings.promoted_functions,
        "cell_memory": settings.cell_memory,
        "cells_memory": settings.cells_memory,
        "cell_idle_timeout": settings.cell_idle_timeout,
        "check_timeout": settings.check_timeout,
        "max_code_size": settings.max_code_size,
        **attrs.asdict(settings.limits),
        "drain_timeout": settings.drain_timeout,
        "function_log_time": settings.function_log_time,
        "function_log_size": settings.function_log_size,
        "log_format": settings.log_format,
        "access_log": settings.access_log,
    }


_MEBIBYTES: Final = frozenset(
    {
        "account_site_size",
        "cell_memory",
        "cells_memory",
        "function_log_size",
        "max_code_size",
        "request_body",
    }
)
_BY_ITSELF: Final = {
    name: BY_NAME[name.upper()].default_shown
    for name in ("cell_uids", "cells_memory", "loaded_versions")
}
"""What happens without a value, where that is not the same as none."""


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list) and name != "cell_uids":
        return " ".join(map(str, value)) or "none"
    if name == "cell_uids" and value is not None:
        return f"{value[0]}-{value[1]}" if value[0] < value[1] else "none"
    if value is None:
        return _BY_ITSELF.get(name, "none")
    if isinstance(value, bool):
        return str(value).lower()
    if name in _MEBIBYTES:
        return f"{value / (1 << 20):g} MiB"
    if name == "response_header":
        return f"{value / (1 << 10):g} KiB"
    if name.endswith("_rate"):
        return f"{value:g} a second"
    return f"{value:g} s" if isinstance(value, float) else str(value)


@click.command(
    "check-config",
    epilog="""\b
Examples:
  workerd-faas check-config --env-file /etc/workerd-faas/env
  workerd-faas check-config --json""",
)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_config(dev: bool, env_file: str | None, as_json: bool) -> None:
    """
    Say what the configuration comes to, or everything that is wrong with it.

    Reads the environment and the env file as the daemon does, touches nothing and starts nothing.
    Exits with 1 if the daemon would not start.
    """
    problems: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    settings = None
    try:
        settings = read_settings(dev, env_file)
        warnings = settings.warnings
    except SettingsError as error:
        problems, warnings = error.problems, error.warnings
        if not as_json:
            raise click.ClickException(str(error)) from error
    if as_json:
        document = {
            "ok": settings is not None,
            "problems": [{"setting": name, "message": message} for name, message in problems],
            "warnings": list(warnings),
            "settings": described(settings) if settings else None,
        }
        click.echo(json.dumps(document, indent=2))
    elif settings is not None:
        for name, value in described(settings).items():
            click.echo(f"{name:<20} {_shown(name, value)}")
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
    if settings is None:
        click.get_current_context().exit(1)
