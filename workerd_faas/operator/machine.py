"""Whether this machine can carry the daemon: directory, disk, port, names, limits."""

import contextlib
import errno
import os
import resource
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workerd_faas.ingress import descriptors
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.operator import walls
from workerd_faas.operator.finding import Finding, failed, ok, warning
from workerd_faas.runtime import binary
from workerd_faas.runtime.site_files import PACKAGE, find_asset_worker
from workerd_faas.settings.endpoints import Endpoint
from workerd_faas.settings.model import Settings
from workerd_faas.settings.values import is_loopback_host
from workerd_faas.store.lock import AlreadyRunning, DirectoryLock

_MIB: Final = 1 << 20
_DNS_TIMEOUT: Final = 5.0
_CERTIFICATES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def data_directory(directory: Path) -> Finding:
    """
    Whether a file can be written durably there, and whether strangers can look in.
    """
    subject = "DATA_DIR"
    existing = directory
    while not existing.exists():
        existing = existing.parent
    if existing != directory:
        if os.access(existing, os.W_OK | os.X_OK):
            return ok(subject, f"{directory} will be made at the first start")
        return failed(subject, f"{directory} is missing and cannot be made in {existing}")
    try:
        milliseconds = _write_durably(directory)
    except OSError as error:
        return failed(subject, f"{directory} cannot be written: {error.strerror}")
    if stat.S_IMODE(directory.stat().st_mode) & 0o007:
        return warning(subject, f"every user can look into {directory}: chmod 700 it")
    return ok(subject, f"{directory} is writable; a durable write takes {milliseconds:.0f} ms")


def _write_durably(directory: Path) -> float:
    begun = time.monotonic()
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".doctor-") as file:
        file.write(b"durable?")
        file.flush()
        os.fsync(file.fileno())
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return (time.monotonic() - begun) * 1000


def disk_space(directory: Path) -> Finding:
    """
    Whether there is room for uploads.
    """
    subject = "disk"
    while not directory.exists():
        directory = directory.parent
    usage = os.statvfs(directory)
    free = usage.f_bavail * usage.f_frsize // _MIB
    detail = f"{free} MiB free on the file system of {directory}"
    if free < 64:
        return failed(subject, f"{detail}: deploys will fail")
    if usage.f_files and usage.f_favail < 1000:
        return failed(subject, f"only {usage.f_favail} files can be made in {directory}")
    return warning(subject, f"{detail}: not much") if free < 1024 else ok(subject, detail)


def is_running(directory: Path) -> bool:
    """
    Whether a daemon has the data directory now.
    """
    if not (directory / "daemon.lock").exists():
        return False
    lock = DirectoryLock(directory)
    try:
        lock.acquire()
    except AlreadyRunning:
        return True
    except OSError:
        return False
    lock.release()
    return False


def listening(endpoint: Endpoint, running: bool) -> Finding:
    """
    Whether the address can be listened on, or is by our daemon already.
    """
    subject = f"LISTEN {endpoint.text}"
    if endpoint.kind == "systemd":
        return ok(subject, "systemd brings the socket")
    if endpoint.kind == "unix":
        parent = Path(endpoint.arguments["address"]).absolute().parent
        if os.access(parent, os.W_OK | os.X_OK):
            return ok(subject, f"{parent} is writable")
        return failed(subject, f"{parent} is missing or not writable")
    return _port(subject, endpoint, running)


def _port(subject: str, endpoint: Endpoint, running: bool) -> Finding:
    port = endpoint.port or 0
    interface = endpoint.arguments.get("interface", "::" if endpoint.kind == "tcp6" else "")
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((interface, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and running:
                return ok(subject, "taken, and a daemon runs on this DATA_DIR")
            reasons = {
                errno.EADDRINUSE: "another program has it: stop that one or choose another port",
                errno.EACCES: "ports below 1024 need a privilege: CAP_NET_BIND_SERVICE, socket "
                "activation or a reverse proxy",
                errno.EADDRNOTAVAIL: "this machine does not have that address",
            }
            return failed(subject, reasons.get(error.errno or 0, str(error.strerror)))
    return ok(subject, "free")


def names(settings: Settings) -> list[Finding]:
    """
    Whether the base domain and names below it lead somewhere, and local ones to this machine.
    """
    domain = settings.base_domain
    return [
        _resolves("BASE_DOMAIN", domain, "add an A or AAAA record"),
        _resolves(
            "function hosts",
            f"wrkst-doctor.{domain}",
            "browsers find *.localhost by themselves; for other programs add the name to "
            f"/etc/hosts, or say the host: curl -H 'Host: NAME.{domain}' {settings.public.api}"
            if is_loopback_host(domain)
            else f"add a wildcard record *.{domain}, which covers versions' hosts too",
        ),
    ]


def _resolves(subject: str, host: str, advice: str) -> Finding:
    outcome: list[str] = []

    def look_up() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            outcome.extend(sorted({str(address[4][0]) for address in found}))

    # The resolver has no time-out of its own that can be relied on.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_DNS_TIMEOUT)
    if not outcome:
        return warning(subject, f"{host} has no address here: {advice}")
    local = is_loopback_host(host)
    if local and not all(is_loopback_host(address) for address in outcome):
        return failed(subject, f"{host} is {', '.join(outcome)}, not this machine")
    return ok(subject, f"{host} is {', '.join(outcome)}")


def open_files() -> Finding:
    """
    Whether there are descriptors for many connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = RelayLimits().connections
    too_few = descriptors.few(hard, most)
    if too_few is not None:
        return warning("open files", too_few)
    detail = f"at most {hard}, enough for {most} clients at once"
    if soft != hard:
        detail += f" (this shell has {soft}; the daemon takes what it may)"
    return ok("open files", detail)


def certificates() -> Finding:
    """
    Whether there are CA certificates: workerd does not start without.
    """
    for file in (os.environ.get("SSL_CERT_FILE"), *_CERTIFICATES):
        if file and os.access(file, os.R_OK):
            return ok("CA certificates", file)
    return failed("CA certificates", "none found: install the package ca-certificates")


def workerd(setting: Path | None) -> Finding:
    """
    Whether there is a workerd that runs here and is new enough.
    """
    subject = "workerd"
    try:
        found = binary.find(setting)
    except binary.NoWorkerd as error:
        return failed(
            subject, "; ".join(line.strip().rstrip(".") for line in str(error).splitlines())
        )
    detail = f"{found.version} at {found.path}, from {found.source}"
    if found.version < binary.OLDEST:
        return failed(subject, f"{detail}: {binary.OLDEST} or newer is needed")
    return ok(subject, detail)


def asset_worker() -> Finding:
    """
    Whether sites can be served.
    """
    subject = "static assets"
    if find_asset_worker() is None:
        return warning(
            subject,
            f"npm's package {PACKAGE}, which has the asset worker, is not installed: deploys with "
            "assets are refused, sites that are there answer 503",
        )
    return ok(subject, f"served by the asset worker of npm's package {PACKAGE}")


def carries(settings: Settings) -> list[Finding]:
    """
    Whether the machine has what the daemon needs, whoever reaches it and under which name.
    """
    checks: list[Callable[[], Finding]] = [
        lambda: data_directory(settings.data_dir),
        lambda: disk_space(settings.data_dir),
        lambda: workerd(settings.workerd),
        asset_worker,
        certificates,
        open_files,
    ]
    return [check() for check in checks] + walls.examine(settings)


def examine(settings: Settings) -> list[Finding]:
    """
    All of these.
    """
    running = is_running(settings.data_dir)
    findings = carries(settings)
    findings += [listening(endpoint, running) for endpoint in settings.listen]
    return findings + names(settings)
