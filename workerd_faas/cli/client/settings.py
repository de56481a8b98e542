"""Which server, account and token a command uses: option, environment, stored configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.client.address import normalise_base_url
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.files import config_dir, write_private

_FILE: Final = "config.json"


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the environment and the configuration file say.

    Attributes:
        directory: Where our files are.
        url: The server, normalised, and where that is from (`url_source`).
        account: Id or name of the account, if one was chosen.
        token: An API token from the environment; wins over a stored login.
    """

    directory: Path
    url: str | None
    url_source: str | None
    account: str | None
    token: str | None = attrs.field(repr=False)

    def require_url(self) -> str:
        """
        The server's address.

        Raises:
            Failure: none was set.
        """
        if self.url is None:
            raise usage(
                "No server is set.",
                hint="run `wrkst config set-url http://localhost:8080` (or set WRKST_URL)",
            )
        return self.url


def load_settings(
    environ: Mapping[str, str], *, url: str | None = None, account: str | None = None
) -> Settings:
    """
    Options first, then the environment, then the stored configuration.

    Raises:
        Failure: an address or a token is not usable, or the file cannot be read.
    """
    directory = config_dir(environ)
    source: str | None
    if url:
        source = "--url"
    elif environ.get("WRKST_URL"):
        url, source = environ["WRKST_URL"], "WRKST_URL"
    else:
        url = _read(directory / _FILE).get("url")
        source = str(directory / _FILE)
    token = environ.get("WRKST_TOKEN", "").strip() or None
    if token is not None and not all("!" <= character <= "~" for character in token):
        raise usage("WRKST_TOKEN holds characters that no token has.")
    return Settings(
        directory=directory,
        url=normalise_base_url(url) if url else None,
        url_source=source if url else None,
        account=account or environ.get("WRKST_ACCOUNT") or None,
        token=token,
    )


def store_url(directory: Path, url: str) -> None:
    """
    Make it the server of all later commands.
    """
    document = _read(directory / _FILE)
    document["url"] = url
    write_private(directory / _FILE, json.dumps(document, indent=2).encode() + b"\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(
            f"{path} cannot be read: {error}.", hint=f"repair it or remove it: {path}"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("url", ""), str):
        raise Failure(f"{path} is not a configuration of wrkst.", hint=f"remove it: {path}")
    return document
