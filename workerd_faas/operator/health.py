"""`workerd-faas health`: whether the daemon of this machine is ready, for health checks."""

import http.client
import socket
import ssl
from pathlib import Path
from typing import Final

import click

from workerd_faas.directories import DataDirectory
from workerd_faas.operator.options import with_settings
from workerd_faas.settings.endpoints import Endpoint
from workerd_faas.settings.model import Settings

_TIMEOUT: Final = 4.0
_ANYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def connect(endpoint: Endpoint) -> socket.socket:
    """
    A connection to the daemon's own port, with TLS where it speaks it.

    Raises:
        OSError: nobody listens.
    """
    if endpoint.kind == "unix":
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(_TIMEOUT)
        try:
            plain.connect(endpoint.arguments["address"])
        except OSError:
            plain.close()
            raise
        return plain
    interface = endpoint.arguments.get("interface", "::" if endpoint.kind == "tcp6" else "")
    address = (_ANYWHERE.get(interface, interface), endpoint.port or 0)
    plain = socket.create_connection(address, timeout=_TIMEOUT)
    if not endpoint.tls:
        return plain
    # This machine asks itself, and the certificate is for the name that others use.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def behind(directory: Path) -> socket.socket:
    """
    A connection to the daemon itself, behind the ports that systemd holds for it.

    Raises:
        OSError: no daemon runs on this data directory.
    """
    # Both sockets are in the directory that the daemon has for its own.
    own = DataDirectory(directory).operator.readlink().parent
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(_TIMEOUT)
    try:
        plain.connect(str(own / "api"))
    except OSError:
        plain.close()
        raise
    return plain


def ask(connected: socket.socket, host: str) -> tuple[int, str]:
    """
    The status and the body of `GET /health`.

    Raises:
        OSError: no answer in time.
        http.client.HTTPException: the answer is no HTTP.
    """
    connection = http.client.HTTPConnection(host)
    connection.sock = connected
    try:
        connection.request("GET", "/health", headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(65536).decode("utf-8", "replace")
    finally:
        connection.close()


@click.command(
    epilog="""\b
Example:
  workerd-faas health --env-file /etc/workerd-faas/env"""
)
@with_settings
def health(settings: Settings) -> None:
    """
    Ask the daemon on this machine whether it is ready: exit code 0 if so, 1 if not.

    It finds the daemon by LISTEN, like every setting from the environment and the env file; by
    DATA_DIR where systemd holds the ports.
    """
    endpoint = next((e for e in settings.listen if e.kind != "systemd"), None)
    where = endpoint.text if endpoint is not None else f"the daemon of {settings.data_dir}"
    try:
        connected = connect(endpoint) if endpoint is not None else behind(settings.data_dir)
        status, body = ask(connected, settings.base_domain)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"{where} does not answer: {reason}") from error
    click.echo(body)
    if status != 200:
        raise click.ClickException(f"status {status}")
