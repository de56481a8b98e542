"""The few pages for people: plain HTML, no script, one style sheet, nothing reflected unescaped."""

import base64
import hashlib
from html import escape
from typing import Final

from twisted.web.iweb import IRequest

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem;
  overflow-wrap: anywhere; }
pre, code { font: .95em ui-monospace, monospace; }
pre { padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto; background: #8881; }
input, button { font: inherit; padding: .4rem .8rem; }
a { color: LinkText; }
""".strip()

_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def page(
    request: IRequest, title: str, body: str, *, status: int = 200, form_action: str = "'none'"
) -> bytes:
    """
    Set the headers for a page and return it.

    Args:
        request: Being answered.
        title: Plain text.
        body: HTML; whoever makes it escapes what is in it.
        status: Of the answer.
        form_action: Where forms may go, as Content-Security-Policy says it.
    """
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    ).encode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/html; charset=utf-8")
    request.setHeader(b"content-length", b"%d" % len(document))
    request.setHeader(b"content-security-policy", policy.encode())
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"referrer-policy", b"no-referrer")
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.setHeader(b"x-frame-options", b"DENY")
    return document


def wants_page(request: IRequest) -> bool:
    """
    Whether a browser asks, rather than a script.
    """
    return b"text/html" in request.requestHeaders.getRawHeaders(b"accept", [b""])[0]
