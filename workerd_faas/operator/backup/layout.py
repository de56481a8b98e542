"""
What is in a backup, and where it goes: names in the archive are paths in `DATA_DIR`.

An archive may come from anywhere. Only names of these forms are taken, so none of them can lead out
of the directory, and nothing is put there that the daemon does not know.
"""

import re
from typing import Final

FORMAT: Final = 1
"""Raised when an older release could not restore what a newer one writes."""

DESCRIPTION: Final = "backup.json"
"""The first member: what the archive is."""

SUMS: Final = "SHA256SUMS"
"""The last member, as `sha256sum --check` takes it: an archive that was cut off has none."""

CATALOG: Final = "faas.db"
LOGS: Final = "logs.db"
SECRETS_KEY: Final = "secrets-key"
KEYS: Final = (SECRETS_KEY, "dev-jwt-secret", "dev-client-secret")
"""Generated secrets; in a backup only when asked for."""

MAX_DESCRIPTION: Final = 64 << 10
MAX_NAME: Final = 1024

_PART: Final = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}"
_ACCOUNT: Final = r"[0-9a-f]{32}"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        *map(re.escape, (CATALOG, LOGS, *KEYS)),
        r"bundles/(?P<bundle_folder>[0-9a-f]{2})/(?P<bundle>(?P=bundle_folder)[0-9a-f]{62})",
        rf"assets/{_ACCOUNT}/[0-9a-f]{{2}}/[0-9a-f]{{32}}-[A-Za-z0-9_-]*",
        rf"state/{_ACCOUNT}/(objects|blobs)(/{_PART}){{1,6}}",
    )
)


class Unacceptable(Exception):
    """
    An archive that is no backup, is damaged, or is not what it should be; the message says how.
    """


def known(name: str) -> bool:
    """
    Whether a backup may have a file of this name.
    """
    return len(name) <= MAX_NAME and any(form.fullmatch(name) for form in _FORMS)


def check_name(name: str) -> None:
    """
    Raises:
        Unacceptable: no backup has a file of this name.
    """
    if not known(name):
        raise Unacceptable(f"there is a file in it that no backup has: {name[:100]!r}")


def digest_in(name: str) -> str | None:
    """
    The SHA-256 that a file of this name must have, where its name says it.
    """
    return name.rpartition("/")[2] if name.startswith("bundles/") else None


def is_database(name: str) -> bool:
    """
    Whether it is an SQLite file.
    """
    return name.endswith((".db", ".sqlite"))


def is_of_site(name: str) -> bool:
    """
    Whether it is a static file of a site.
    """
    return name.startswith("assets/")
