"""TLS for listening ports, with certificates that can be renewed while connections are open."""

import re
import ssl
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
from twisted.internet.endpoints import quoteStringArgument
from twisted.logger import Logger

_TLS_ARGUMENTS: Final = frozenset(
    {"port", "privateKey", "certKey", "extraCertChain", "interface", "backlog"}
)
_PARTS: Final = re.compile(r"(?:[^\\:]|\\.)+")
_QUOTED: Final = re.compile(r"\\(.)")


class CertificateError(Exception):
    """
    The key and the certificates cannot be used; the message says why and never quotes them.
    """


@attrs.frozen(kw_only=True)
class CertificateFiles:
    """
    PEM files.

    Attributes:
        private_key: Not encrypted.
        certificate: The server's own, and the intermediate ones if it likes.
        chain: More intermediate ones.
    """

    private_key: Path
    certificate: Path
    chain: Path | None = None

    def context(self) -> ssl.SSLContext:
        """
        A new context from what the files say now.

        Raises:
            CertificateError: they cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        try:
            if self.chain is None:
                self._load(context, self.certificate)
            else:
                with tempfile.NamedTemporaryFile() as joined:
                    joined.write(self.certificate.read_bytes() + b"\n" + self.chain.read_bytes())
                    joined.flush()
                    self._load(context, Path(joined.name))
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"key {self.private_key} with certificate {self.certificate}: {_reason(error)}"
            ) from error
        return context

    def _load(self, context: ssl.SSLContext, certificates: Path) -> None:
        context.load_cert_chain(certificates, self.private_key, password=_refuse_to_ask)

    def stamp(self) -> tuple[Any, ...]:
        """
        Something that changes when one of the files does.
        """
        return tuple(_stamp(path) for path in (self.private_key, self.certificate, self.chain))


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refuse_to_ask() -> str:
    raise ValueError("the private key is encrypted: give it without a passphrase")


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@attrs.define(eq=False, kw_only=True)
class Certificates:
    """
    The certificate that new connections are shown.

    Each handshake is begun with `context` and given the newest one by the server-name callback,
    which OpenSSL calls for every ClientHello, with a name or without.
    """

    files: CertificateFiles
    context: ssl.SSLContext
    _current: ssl.SSLContext
    _stamp: tuple[Any, ...]
    _log: ClassVar[Logger] = Logger()

    @classmethod
    def load(cls, files: CertificateFiles) -> "Certificates":
        """
        Raises:
            CertificateError: the files cannot be used.
        """
        stamp = files.stamp()
        context = files.context()
        loaded = cls(files=files, context=context, current=context, stamp=stamp)
        context.sni_callback = loaded._choose
        return loaded

    def _choose(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def reload(self) -> None:
        """
        Use what the files say now; if that cannot be used, say so and go on with what there is.
        """
        self._stamp = self.files.stamp()
        try:
            self._current = self.files.context()
        except CertificateError as error:
            self._log.error("certificate not reloaded: {error}", error=str(error))
        else:
            self._log.info("certificate {path} loaded", path=str(self.files.certificate))

    def reload_if_changed(self) -> None:
        """
        The same, if the files have changed since they were last looked at.
        """
        if self.files.stamp() != self._stamp:
            self.reload()


def parse_tls_endpoint(endpoint: str) -> tuple[str, CertificateFiles]:
    """
    Take `ssl:…` apart into the plain endpoint string and the files; `\\` quotes as in Twisted's.

    Raises:
        ValueError: saying what is wrong with it.
    """
    positional, named = _arguments(endpoint)
    for name, text in zip(("port", "privateKey", "certKey"), positional[1:], strict=False):
        named.setdefault(name, text)
    unknown = named.keys() - _TLS_ARGUMENTS
    if unknown or len(positional) > 4:
        known = ", ".join(sorted(_TLS_ARGUMENTS))
        raise ValueError(f"{min(unknown, default='too many parts')}: ssl: takes {known}")
    port = named.get("port", "")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("it names no port")
    if "privateKey" not in named:
        raise ValueError("it names no key: add privateKey=FILE and certKey=FILE (PEM)")
    plain = f"tcp:{port}"
    for name in ("interface", "backlog"):
        if name in named:
            plain += f":{name}={quoteStringArgument(named[name])}"
    files = CertificateFiles(
        private_key=Path(named["privateKey"]),
        certificate=Path(named.get("certKey", named["privateKey"])),
        chain=Path(named["extraCertChain"]) if "extraCertChain" in named else None,
    )
    return plain, files


def _arguments(endpoint: str) -> tuple[list[str], dict[str, str]]:
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in _PARTS.findall(endpoint):
        name, equals, value = part.partition("=")
        if equals:
            named[_QUOTED.sub(r"\1", name)] = _QUOTED.sub(r"\1", value)
        else:
            positional.append(_QUOTED.sub(r"\1", part))
    return positional, named
