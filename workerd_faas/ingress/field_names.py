"""
Names of header fields that are met every day, so that reading them costs one look into a table.

The table only saves time: a name that is missing here is treated the same.
"""

from collections.abc import Mapping
from typing import Final

EVERY_DAY: Final = (
    "Accept", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
    "Access-Control-Max-Age", "Access-Control-Request-Headers", "Access-Control-Request-Method",
    "Age", "Allow", "Authorization", "Cache-Control", "Cloudflare-Workers-Version-Key",
    "Connection", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
    "Content-Range", "Content-Security-Policy", "Content-Type", "Cookie", "DNT", "Date", "ETag",
    "Expect", "Expires", "Host", "Idempotency-Key", "If-Match", "If-Modified-Since",
    "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Last-Event-ID",
    "Last-Modified", "Link", "Location", "Origin", "Pragma", "Priority", "Purpose", "Range",
    "Referer", "Referrer-Policy", "Retry-After", "Sec-CH-UA", "Sec-CH-UA-Mobile",
    "Sec-CH-UA-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User",
    "Sec-GPC", "Server", "Server-Timing", "Set-Cookie", "Strict-Transport-Security", "TE",
    "Traceparent", "Tracestate", "Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests",
    "User-Agent", "Vary", "Via", "WWW-Authenticate", "X-API-Key", "X-CSRF-Token",
    "X-Content-Type-Options", "X-Correlation-ID", "X-Forwarded-For", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Frame-Options", "X-Real-IP", "X-Request-ID", "X-Requested-With",
)  # fmt: skip
"""In the spelling that most programs use."""

LOWER_CASE: Final[Mapping[bytes, bytes]] = {
    spelling.encode("ascii"): name.lower().encode("ascii")
    for name in EVERY_DAY
    for spelling in (name, name.lower(), name.title())
}
"""Each name in its usual spellings, and in lower case."""
