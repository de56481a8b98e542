"""What is measured: workerd, the relay in front of it, nginx in front of it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

_WORKER: Final = "export default { fetch() { return new Response('hello\\n'); } };"

_WORKERD: Final = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "hello", worker = (
    modules = [(name = "worker.js", esModule = embed "worker.js")],
    compatibilityDate = "2026-01-01"))],
  sockets = [
    (name = "unix", address = "unix:{directory}/cell", service = "hello",
     http = (cfBlobHeader = "wfaas-cf", forwardedProtoHeader = "wfaas-proto")),
    (name = "tcp", address = "127.0.0.1:{port}", service = "hello", http = ())]);
"""

_NGINX: Final = """\
{user}
worker_processes 1; daemon off; master_process off;
pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream cell {{ server unix:{cell}; keepalive 256; keepalive_requests 1000000000; }}
  {responder}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://cell; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header CF-Ray $request_id;
      proxy_set_header CF-Connecting-IP $remote_addr;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header wfaas-proto $scheme;
      proxy_set_header wfaas-cf '{{"version":"11111111-2222-4333-8444-555555555555"}}';
      add_header CF-Ray $request_id;
    }}
  }}
}}
"""

_RESPONDER: Final = """\
server {{ listen unix:{directory}/fast; location / {{ default_type text/plain; return 200 "hello\\n"; }} }}
"""  # noqa: E501


@attrs.frozen
class Target:
    """
    Something that answers on a port.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu(self) -> float:
        """
        Seconds of processor time used so far.
        """
        text = Path(f"/proc/{self.process.pid}/schedstat").read_text("ascii")
        return int(text.split()[0]) / 1e9


def free_port() -> int:
    """
    A port that nobody listens on.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def find_workerd() -> str | None:
    """
    The project's own, or the one in `WORKERD`.
    """
    own = sorted(Path("node_modules/@cloudflare").glob("workerd-*/bin/workerd"))
    return os.environ.get("WORKERD") or (str(own[0]) if own else shutil.which("workerd"))


@contextlib.contextmanager
def _running(name: str, port: int, command: list[str], directory: Path) -> Iterator[Target]:
    log = (directory / f"{name}.out").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port, process, directory / f"{name}.out")
        yield Target(name, port, process)
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(log.read_text("utf-8", "replace"))
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def workerd(binary: str, directory: Path) -> contextlib.AbstractContextManager[Target]:
    """
    A static Worker on a port, and on the unix socket `cell` for the others.
    """
    port = free_port()
    (directory / "worker.js").write_text(_WORKER)
    config = directory / "workerd.capnp"
    config.write_text(_WORKERD.format(directory=directory, port=port))
    return _running("workerd", port, [binary, "serve", str(config)], directory)


def relay(name: str, directory: Path, cell: Path) -> contextlib.AbstractContextManager[Target]:
    """
    Ours.
    """
    port = free_port()
    command = [sys.executable, "-m", "bench.relayd", str(port), str(cell)]
    return _running(name, port, command, directory)


def nginx(
    name: str, directory: Path, cell: Path, *, responder: bool = False
) -> contextlib.AbstractContextManager[Target]:
    """
    nginx doing the same.

    Args:
        responder: It also answers by itself on the unix socket `fast`.
    """
    port = free_port()
    config = directory / f"{name}.conf"
    config.write_text(
        _NGINX.format(
            user="user root;" if os.getuid() == 0 else "",
            directory=directory,
            cell=cell,
            port=port,
            responder=_RESPONDER.format(directory=directory) if responder else "",
        )
    )
    binary = shutil.which("nginx")
    assert binary is not None
    return _running(name, port, [binary, "-c", str(config)], directory)
