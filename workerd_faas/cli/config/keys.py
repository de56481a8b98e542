"""Every key of Wrangler's configuration and what becomes of it here."""

from collections.abc import Mapping
from typing import Final

from workerd_faas.cli.config.bindings import BINDING_KEYS

SUPPORTED: Final = frozenset(
    {
        "account_id", "assets", "base_dir", "build", "compatibility_date", "compatibility_flags",
        "find_additional_modules", "jsx_factory", "jsx_fragment", "keep_names", "main", "minify",
        "name", "no_bundle", "preserve_file_names", "preview_urls", "rules", "triggers", "tsconfig",
        "upload_source_maps", "workers_dev",
    }
)  # fmt: skip
"""Keys that an environment takes from the top level when it does not set them itself."""

PASSED_ON: Final[Mapping[str, bool]] = {
    "containers": False,
    "exports": True,
    "limits": True,
    "logpush": True,
    "migrations": True,
    "streaming_tail_consumers": False,
}
"""
Keys that are sent as they stand, for the server to refuse by name what it cannot do; and whether an
environment inherits them.
"""

INHERITED: Final = SUPPORTED | {key for key, inherited in PASSED_ON.items() if inherited}

NOT_INHERITED: Final = (
    BINDING_KEYS
    | {"define", "tail_consumers"}
    | {key for key, inherited in PASSED_ON.items() if not inherited}
)
"""Keys that must be repeated in each environment."""

TOP_LEVEL_ONLY: Final = frozenset({"alias", "keep_vars", "env"})

LOCAL: Final = frozenset(
    {
        "$schema", "configPath", "definedEnvironments", "dependencies_instrumentation", "dev",
        "send_metrics", "targetEnvironment", "topLevelName", "userConfigPath",
    }
)  # fmt: skip
"""Keys that make no difference to what is deployed at Cloudflare either."""

REFUSED: Final[Mapping[str, str]] = {
    "data_blobs": "is not for ES modules: import the file instead",
    "node_compat": 'is gone: use "compatibility_flags": ["nodejs_compat"]',
    "pages_build_output_dir": "is of Pages, which is not supported: name the directory in "
    "assets.directory",
    "site": "is not supported: name the directory in assets.directory",
    "text_blobs": "is not for ES modules: import the file instead",
    "wasm_modules": "is not for ES modules: import the file instead",
}
"""Keys without which the function would lack something that its code counts on."""

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "access": "requests are not checked against an access policy",
    "addresses": "e-mail addresses are not routed to functions",
    "cache": "nothing is cached in front of functions",
    "cloudchamber": "containers are not supported",
    "compliance_region": "there is one region only",
    "connect": "TCP connections are not routed to functions",
    "first_party_worker": "who calls is not looked at",
    "legacy_env": "every environment is a function of its own",
    "observability": "logs are always kept: `wrkst logs`",
    "placement": "there is one place only",
    "previews": "there are no previews but versions and aliases",
    "python_modules": "Python functions are not supported",
    "route": "the function answers on its own host name",
    "routes": "the function answers on its own host name",
    "secrets": "required secrets are not checked",
}
"""Keys that make a difference at Cloudflare and none here: each is warned of, with what holds."""

ASKING_FOR_NOTHING: Final[Mapping[str, tuple[object, ...]]] = {
    "compliance_region": ("public",),
    "first_party_worker": (False,),
    "legacy_env": (True,),
}
"""Values of them with which it is here as it would be at Cloudflare; empty ones are others."""
