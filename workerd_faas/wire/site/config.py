"""`metadata.assets`: how the site of an upload is to be served."""

from typing import Any, Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.wire.site.base_path import ROOT, BadBasePath, normalised_base_path
from workerd_faas.wire.site.headers_file import parse_headers
from workerd_faas.wire.site.redirects_file import parse_redirects
from workerd_faas.wire.site.routing import BadRouting, Routing, parse_routing
from workerd_faas.wire.site.rules import Ignored

HTML_HANDLING: Final = (
    "auto-trailing-slash",
    "force-trailing-slash",
    "drop-trailing-slash",
    "none",
)
NOT_FOUND_HANDLING: Final = ("none", "404-page", "single-page-application")
MAX_TOKEN: Final = 4096

_KEYS: Final = frozenset(
    {
        "_headers",
        "_redirects",
        "base_path",
        "html_handling",
        "not_found_handling",
        "run_worker_first",
        "serve_directly",
    }
)


@attrs.frozen(kw_only=True)
class SiteConfig:
    """
    Attributes:
        headers, static_redirects, redirects: As `headers_file` and `redirects_file` give them.
    """

    html_handling: str = HTML_HANDLING[0]
    not_found_handling: str = NOT_FOUND_HANDLING[0]
    base_path: str = ROOT
    routing: Routing = attrs.Factory(Routing)
    headers: dict[str, Any] = attrs.Factory(dict)
    static_redirects: dict[str, Any] = attrs.Factory(dict)
    redirects: dict[str, Any] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class AssetsUpload:
    """
    What an upload says about its site.

    Attributes:
        token: The completion token of the upload session; None: the files of the newest version.
        config: None: that of the newest version.
        notes: Lines of the rules without effect, for the answer's `messages`.
    """

    token: str | None = attrs.field(repr=False)
    config: SiteConfig | None
    notes: tuple[str, ...] = ()


def parse_assets(value: Any) -> AssetsUpload:
    """
    Read `metadata.assets`.

    Raises:
        Problem: `INVALID_METADATA` or `UNSUPPORTED`, naming the key.
    """
    if not isinstance(value, dict):
        raise _invalid("must be an object")
    unknown = value.keys() - {"jwt", "config"}
    if unknown:
        raise _unsupported(min(unknown))
    token = value.get("jwt")
    if token is not None and not (isinstance(token, str) and 1 <= len(token) <= MAX_TOKEN):
        raise _invalid("needs 'jwt', the completion token of an upload session")
    if value.get("config") is None:
        return AssetsUpload(token=token, config=None if token is None else SiteConfig())
    config, notes = _config(value["config"])
    return AssetsUpload(token=token, config=config, notes=tuple(notes))


def _config(value: Any) -> tuple[SiteConfig, list[str]]:
    if not isinstance(value, dict):
        raise _invalid("needs 'config' as an object")
    unknown = value.keys() - _KEYS
    if unknown:
        raise _unsupported(f"config.{min(unknown)}")
    html_handling = _one_of(value, "html_handling", HTML_HANDLING)
    static, dynamic, ignored = parse_redirects(_text(value, "_redirects"), html_handling)
    headers, unused = parse_headers(_text(value, "_headers"))
    config = SiteConfig(
        html_handling=html_handling,
        not_found_handling=_one_of(value, "not_found_handling", NOT_FOUND_HANDLING),
        base_path=_base_path(value.get("base_path")),
        routing=_routing(value),
        headers=dict(headers),
        static_redirects=dict(static),
        redirects=dict(dynamic),
    )
    return config, [*_notes("_redirects", ignored), *_notes("_headers", unused)]


def _notes(file: str, ignored: list[Ignored]) -> list[str]:
    return [f"{file}, line {each.line} has no effect: {each.why}" for each in ignored]


def _one_of(value: dict[str, Any], key: str, known: tuple[str, ...]) -> str:
    found = value.get(key)
    if found is None:
        return known[0]
    if found not in known:
        raise _invalid(f"needs config.{key} as one of {', '.join(known)}")
    assert isinstance(found, str)
    return found


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _invalid(f"needs config.{key} as the text of the file")
    return found


def _base_path(value: Any) -> str:
    try:
        return ROOT if value is None else normalised_base_path(value)
    except BadBasePath as error:
        raise _invalid(f"has config.base_path wrong: it {error}") from None


def _routing(value: dict[str, Any]) -> Routing:
    chosen = value.get("run_worker_first")
    if chosen is None and value.get("serve_directly") is False:
        chosen = True  # What Wrangler called it before 4.
    try:
        return parse_routing(chosen)
    except BadRouting as error:
        raise _invalid(f"has config.run_worker_first wrong: it {error}") from None


def _invalid(what: str) -> Problem:
    return Problem(kind=Kind.INVALID_METADATA, message=f"metadata.assets {what}.")


def _unsupported(key: str) -> Problem:
    return Problem(
        kind=Kind.UNSUPPORTED, message=f"metadata.assets.{key[:80]} is not known to this platform."
    )
