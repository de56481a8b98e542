"""`workerd-faas health`: whether the daemon of this machine is ready, for health checks."""

import http.client
import socket
import ssl
from typing import Final

import click

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

    It finds the daemon by LISTEN, like every setting from the environment and the env file.
    """
    endpoint = next((e for e in settings.listen if e.kind != "systemd"), None)
    if endpoint is None:
        raise click.ClickException("LISTEN names no address that can be asked")
    try:
        status, body = ask(connect(endpoint), settings.base_domain)
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"{endpoint.text} does not answer: {error}") from error
    click.echo(body)
    if status != 200:
        raise click.ClickException(f"status {status}")
