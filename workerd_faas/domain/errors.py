"""One family of errors. They know no HTTP; `api.errors` has the one table that renders them."""

import enum

import attrs

from workerd_faas.domain.termination import Termination


class Kind(enum.Enum):
    """
    What went wrong, in the platform's own words.
    """

    # The request itself.
    BAD_REQUEST = "bad_request"
    BODY_TOO_LARGE = "body_too_large"
    NOT_FOUND = "not_found"
    ABSENT = "absent"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    # Who asks.
    UNAUTHENTICATED = "unauthenticated"
    NOBODY = "nobody"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 — a kind
    FORBIDDEN = "forbidden"
    SCOPE_MISSING = "scope_missing"
    # Uploads.
    INVALID_METADATA = "invalid_metadata"
    INVALID_MODULE = "invalid_module"
    INVALID_NAME = "invalid_name"
    INVALID_SCRIPT = "invalid_script"
    UNSUPPORTED = "unsupported"
    INHERIT_MISSING = "inherit_missing"
    SCRIPT_TOO_LARGE = "script_too_large"
    ASSETS_INVALID = "assets_invalid"
    ASSETS_TOO_LARGE = "assets_too_large"
    ASSETS_TOKEN_INVALID = "assets_token_invalid"  # noqa: S105
    ASSETS_MISSING = "assets_missing"
    # Things that are not there, or belong to another.
    SCRIPT_NOT_FOUND = "script_not_found"
    SERVICE_NOT_FOUND = "service_not_found"
    VERSION_NOT_FOUND = "version_not_found"
    VERSION_AMBIGUOUS = "version_ambiguous"
    ALIAS_NOT_FOUND = "alias_not_found"
    TOO_MANY_ALIASES = "too_many_aliases"
    DEPLOYMENT_INVALID = "deployment_invalid"
    TARGET_NOT_FOUND = "target_not_found"
    GRANT_NOT_FOUND = "grant_not_found"
    WORKFLOW_NOT_FOUND = "workflow_not_found"
    INVALID_SCHEDULE = "invalid_schedule"
    NAME_TAKEN = "name_taken"
    # Storage.
    BINDING_INVALID = "binding_invalid"
    NAMESPACE_EXISTS = "namespace_exists"
    NAMESPACE_NOT_FOUND = "namespace_not_found"
    KEY_NOT_FOUND = "key_not_found"
    KEY_INVALID = "key_invalid"
    DATABASE_EXISTS = "database_exists"
    DATABASE_NOT_FOUND = "database_not_found"
    SQL_FAILED = "sql_failed"
    QUEUE_EXISTS = "queue_exists"
    QUEUE_NOT_FOUND = "queue_not_found"
    CONSUMER_EXISTS = "consumer_exists"
    CONSUMER_NOT_FOUND = "consumer_not_found"
    # Bindings and secrets of the newest version.
    BINDING_NOT_FOUND = "binding_not_found"
    BINDING_NAME_TAKEN = "binding_name_taken"
    NEWEST_NOT_DEPLOYED = "newest_not_deployed"
    NO_VERSIONS = "no_versions"
    HYPERDRIVE_NOT_FOUND = "hyperdrive_not_found"
    HYPERDRIVE_EXISTS = "hyperdrive_exists"
    HYPERDRIVE_IN_USE = "hyperdrive_in_use"
    SECRETS_CHANGED = "secrets_changed"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 — a kind
    # Function hosts.
    HOST_INVALID = "host_invalid"
    HOST_UNKNOWN = "host_unknown"
    FUNCTION_NOT_FOUND = "function_not_found"
    NOT_DEPLOYED = "not_deployed"
    # Capacity and trouble of our own.
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    TERMINATED = "terminated"
    QUARANTINED = "quarantined"
    BUNDLE_CORRUPT = "bundle_corrupt"
    STORAGE_FULL = "storage_full"
    INTERNAL = "internal"


@attrs.define(auto_exc=True, kw_only=True)
class Problem(Exception):
    """
    An expected failure with a message fit for the person who caused it.

    Attributes:
        kind: What went wrong.
        message: What to tell the caller: what is wrong and what would be right. Never a secret.
        retry_after: Whole seconds after which trying again makes sense, if at all.
        termination: How the function's process ended, where that is the reason.
    """

    kind: Kind
    message: str
    retry_after: int | None = None
    termination: Termination | None = None

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.message}"
