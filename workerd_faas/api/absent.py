"""What Wrangler may ask for that this server does not have, refused by its name."""

import re
from collections.abc import Mapping
from typing import Final

from workerd_faas.domain.errors import Kind, Problem

_OWN_HOST: Final = (
    "Routes and custom domains are not supported: a function always answers at its own host, "
    "<name>.<base domain>. Take 'route' and 'routes' out of the configuration."
)

_REMOTE: Final = (
    "`wrangler dev` runs on your machine only: `--remote` and bindings with `remote: true` are not "
    "supported on this server."
)

_PREVIEWS: Final = (
    "`wrangler preview` is not supported on this server: `wrangler versions upload` makes a "
    "version with a host of its own, and `--preview-alias <name>` gives it a name."
)

_WORKFLOW: Final = re.compile(r"(?:/client/v4)?/accounts/[^/]+/workflows/[^/]+")

_BY_AREA: Final[Mapping[str, str]] = {
    "agent-memory": "Agent Memory is",
    "ai": "Workers AI is",
    "ai-search": "AI Search is",
    "artifacts": "Artifacts are",
    "browser-rendering": "Browser Rendering is",
    "cfd_tunnel": "Tunnels are",
    "challenges": "Turnstile is",
    "cloudchamber": "Containers are",
    "connectivity": "VPC services are",
    "containers": "Containers are",
    "dispatch": "Dispatch namespaces are",
    "email": "Email is",
    "flagship": "Flagship is",
    "images": "Images are",
    "k2": "K2 streams are",
    "mtls_certificates": "mTLS certificates are",
    "pages": "Pages projects are",
    "pipelines": "Pipelines are",
    "r2": "R2 is",
    "r2-catalog": "R2 is",
    "secrets_store": "The Secrets Store is",
    "stream": "Stream is",
    "vectorize": "Vectorize is",
    "workflows": "Workflows are",
}
"""By the segment of a path that follows `/accounts/<account>` or `/accounts/<account>/workers`."""


def absent(path: str) -> Problem | None:
    """
    What to answer on a path that leads nowhere because we do not have what it is about.
    """
    message = _message(path)
    if message is None:
        return None
    # A deploy with a workflow asks first whether there is one of that name. That there is none lets
    # it go on to its upload, which is refused by the name of the binding.
    kind = Kind.WORKFLOW_NOT_FOUND if _WORKFLOW.fullmatch(path) else Kind.ABSENT
    return Problem(kind=kind, message=message)


def _message(path: str) -> str | None:
    segments = path.removeprefix("/client/v4").strip("/").split("/")
    if segments[0] == "zones":
        return _OWN_HOST
    if segments[0] != "accounts" or len(segments) < 3:
        return None
    rest = segments[3:] if segments[2] == "workers" else segments[2:]
    if rest[:1] == ["scripts"] and rest[2:3] in (["routes"], ["domains"]):
        return _OWN_HOST
    if rest[:1] == ["domains"]:
        return _OWN_HOST
    if rest[-2:] == ["subdomain", "edge-preview"]:
        return _REMOTE
    if rest[:1] == ["workers"] and rest[2:3] == ["previews"]:
        return _PREVIEWS
    what = _BY_AREA.get(rest[0]) if rest else None
    return None if what is None else f"{what} not supported on this server."
