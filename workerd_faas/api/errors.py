"""The one table that gives each domain error its HTTP status and Cloudflare's error code."""

from collections.abc import Mapping
from typing import Any, Final

from workerd_faas.domain.errors import Kind, Problem

STATUS_AND_CODE: Final[Mapping[Kind, tuple[int, int]]] = {
    Kind.BAD_REQUEST: (400, 10001),
    Kind.BODY_TOO_LARGE: (413, 10002),
    Kind.NOT_FOUND: (404, 7000),
    Kind.ABSENT: (404, 10023),
    Kind.METHOD_NOT_ALLOWED: (405, 10405),
    Kind.UNAUTHENTICATED: (401, 10000),
    Kind.NOBODY: (401, 9109),
    Kind.TOKEN_INVALID: (401, 1000),
    Kind.FORBIDDEN: (403, 10003),
    Kind.SCOPE_MISSING: (403, 10003),
    Kind.INVALID_METADATA: (400, 10004),
    Kind.INVALID_MODULE: (400, 10005),
    Kind.INVALID_NAME: (400, 10016),
    Kind.INVALID_SCRIPT: (400, 10021),
    Kind.UNSUPPORTED: (400, 10023),
    Kind.INHERIT_MISSING: (400, 10057),
    Kind.SCRIPT_TOO_LARGE: (413, 10027),
    Kind.ASSETS_INVALID: (400, 10301),
    Kind.ASSETS_TOO_LARGE: (413, 10302),
    Kind.ASSETS_TOKEN_INVALID: (401, 10303),
    Kind.ASSETS_MISSING: (400, 10304),
    Kind.SCRIPT_NOT_FOUND: (404, 10007),
    Kind.SERVICE_NOT_FOUND: (404, 10090),
    Kind.VERSION_NOT_FOUND: (404, 10008),
    Kind.VERSION_AMBIGUOUS: (409, 10009),
    Kind.ALIAS_NOT_FOUND: (404, 10010),
    Kind.TOO_MANY_ALIASES: (400, 10145),
    Kind.DEPLOYMENT_INVALID: (400, 10011),
    Kind.TARGET_NOT_FOUND: (400, 10143),
    Kind.GRANT_NOT_FOUND: (404, 10144),
    Kind.WORKFLOW_NOT_FOUND: (404, 10200),
    Kind.INVALID_SCHEDULE: (400, 10100),
    Kind.NAME_TAKEN: (403, 10012),
    Kind.BINDING_NOT_FOUND: (404, 10056),
    Kind.BINDING_NAME_TAKEN: (400, 10053),
    Kind.NEWEST_NOT_DEPLOYED: (400, 10215),
    Kind.NO_VERSIONS: (404, 10222),
    Kind.HYPERDRIVE_NOT_FOUND: (404, 2001),
    Kind.HYPERDRIVE_EXISTS: (400, 2017),
    Kind.HYPERDRIVE_IN_USE: (400, 2018),
    Kind.SECRETS_CHANGED: (409, 10220),
    Kind.SECRET_UNREADABLE: (500, 10513),
    Kind.BINDING_INVALID: (400, 10181),
    Kind.NAMESPACE_EXISTS: (400, 10014),
    Kind.NAMESPACE_NOT_FOUND: (404, 10013),
    Kind.KEY_NOT_FOUND: (404, 10009),
    Kind.KEY_INVALID: (400, 10033),
    Kind.DATABASE_EXISTS: (400, 7502),
    Kind.DATABASE_NOT_FOUND: (404, 7404),
    Kind.SQL_FAILED: (400, 7500),
    Kind.QUEUE_EXISTS: (400, 11009),
    Kind.QUEUE_NOT_FOUND: (404, 11000),
    Kind.CONSUMER_EXISTS: (400, 11004),
    Kind.CONSUMER_NOT_FOUND: (404, 11001),
    Kind.HOST_INVALID: (400, 10017),
    Kind.HOST_UNKNOWN: (404, 10018),
    Kind.FUNCTION_NOT_FOUND: (404, 10019),
    Kind.NOT_DEPLOYED: (404, 10020),
    Kind.TOO_MANY_REQUESTS: (429, 10429),
    Kind.UNAVAILABLE: (503, 10503),
    Kind.UPSTREAM_FAILED: (502, 10502),
    Kind.UPSTREAM_TIMEOUT: (504, 10504),
    Kind.TERMINATED: (503, 10505),
    Kind.QUARANTINED: (503, 10506),
    Kind.BUNDLE_CORRUPT: (500, 10013),
    Kind.STORAGE_FULL: (507, 10507),
    Kind.INTERNAL: (500, 10500),
}
"""
Wrangler acts on 1000, 9109, 10000, 10007, 10021, 10027, 10057, 10090, 10200, 10215, 10220 and
10222; the others it only prints.
"""


def envelope_of(problem: Problem) -> dict[str, Any]:
    """
    A problem in Cloudflare's envelope.
    """
    code = STATUS_AND_CODE[problem.kind][1]
    return {
        "success": False,
        "result": None,
        "errors": [{"code": code, "message": problem.message}],
        "messages": [],
    }
