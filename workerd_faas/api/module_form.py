"""The modules of a version as one form, as Wrangler gets them back."""

import json
import secrets
from collections.abc import Sequence

from twisted.web.iweb import IRequest

from workerd_faas.domain.model import Module
from workerd_faas.wire.content_types import CONTENT_TYPE_OF


def answer_modules(request: IRequest, main: str, modules: Sequence[Module]) -> bytes:
    """
    All modules with their names and content types, the main module first; without any (a site
    alone has none) an empty script, since a form has at least one part.
    """
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    if not modules:
        request.setHeader(b"content-type", b"application/javascript")
        return b""
    boundary = f"----workerd-faas-{secrets.token_hex(16)}"
    request.setHeader(b"content-type", f"multipart/form-data; boundary={boundary}".encode())
    request.setHeader(b"cf-entrypoint", json.dumps(main)[1:-1].encode())
    return _form(boundary, sorted(modules, key=lambda module: module.name != main))


def _form(boundary: str, modules: Sequence[Module]) -> bytes:
    lines = []
    for module in modules:
        # As browsers and undici write names (HTML standard, multipart/form-data encoding).
        name = module.name.replace('"', "%22")
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"Content-Type: {CONTENT_TYPE_OF[module.kind]}\r\n\r\n".encode()
        )
        lines += [module.content, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])
