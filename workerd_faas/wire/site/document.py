"""
The site document: everything that a cell needs to serve a version's assets but their bytes.

It is stored under its SHA-256 like a bundle, and goes to the cell in the load document:

    {"files": {path: [hash, name, type, size]}, "html_handling", "not_found_handling",
     "base_path", "run_worker_first": {"always", "assets", "worker"},
     "headers": {pattern: {"set", "unset"}}, "redirects": {"static", "dynamic"}}

`name` is the file's in the account's directory of assets, `type` its content type or null.
"""

import json
from collections.abc import Mapping
from typing import Any

from workerd_faas.wire.site.config import SiteConfig


def encode_site(files: Mapping[str, tuple[str, str, str | None, int]], config: SiteConfig) -> bytes:
    """
    The bytes to store; the same for the same site.
    """
    return _packed(
        {
            "files": {path: list(file) for path, file in sorted(files.items())},
            **_config_document(config),
        }
    )


def with_config(site: bytes, config: SiteConfig) -> bytes:
    """
    The same files, served as `config` says.
    """
    return _packed({"files": json.loads(site)["files"], **_config_document(config)})


def files_of(site: bytes) -> frozenset[str]:
    """
    The names of the files that a stored site refers to.
    """
    return frozenset(name for _, name, _, _ in json.loads(site)["files"].values())


def wants_worker(site: bytes) -> bool:
    """
    Whether the site sends requests to the function first, so that it needs one.
    """
    routing = json.loads(site)["run_worker_first"]
    return bool(routing["always"] or routing["worker"])


def _config_document(config: SiteConfig) -> dict[str, Any]:
    return {
        "html_handling": config.html_handling,
        "not_found_handling": config.not_found_handling,
        "base_path": config.base_path,
        "run_worker_first": {
            "always": config.routing.always,
            "assets": list(config.routing.assets),
            "worker": list(config.routing.worker),
        },
        "headers": config.headers,
        "redirects": {"static": config.static_redirects, "dynamic": config.redirects},
    }


def _packed(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
