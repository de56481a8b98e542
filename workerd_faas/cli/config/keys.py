"""Every key of Wrangler's configuration and what becomes of it here."""

from collections.abc import Mapping
from typing import Final

from workerd_faas.cli.config.bindings import BINDING_KEYS

INHERITED: Final = frozenset(
    {
        "account_id", "assets", "base_dir", "build", "compatibility_date", "compatibility_flags",
        "find_additional_modules", "jsx_factory", "jsx_fragment", "keep_names", "main", "minify",
        "name", "no_bundle", "preserve_file_names", "rules", "triggers", "tsconfig",
        "upload_source_maps",
    }
)  # fmt: skip
"""Keys that an environment takes from the top level when it does not set them itself."""

NOT_INHERITED: Final = BINDING_KEYS | {"define", "tail_consumers"}
"""Keys that must be repeated in each environment."""

TOP_LEVEL_ONLY: Final = frozenset({"alias", "keep_vars", "env"})

SILENT: Final = frozenset(
    {
        "$schema", "compliance_region", "dependencies_instrumentation", "dev",
        "first_party_worker", "preview_urls", "previews", "send_metrics", "targetEnvironment",
        "topLevelName", "definedEnvironments", "userConfigPath", "configPath", "workers_dev",
    }
)  # fmt: skip
"""Keys that make no difference to what a deploy does here."""

UNSUPPORTED: Final[Mapping[str, str]] = {
    "access": "requests are not checked against an access policy",
    "addresses": "e-mail addresses are not routed",
    "agent_memory": "the binding is left out",
    "ai_search": "the binding is left out",
    "ai_search_namespaces": "the binding is left out",
    "analytics": "the binding is left out",
    "artifacts": "the binding is left out",
    "cache": "the setting is not sent",
    "cloudchamber": "containers are not supported",
    "connect": "TCP connections are not routed to functions",
    "containers": "containers are not supported",
    "data_blobs": "import the file instead",
    "exports": "Durable Object classes are not set up",
    "flagship": "the binding is left out",
    "k2": "the binding is left out",
    "legacy_env": "every environment is a function of its own here",
    "limits": "the server's own limits hold",
    "logfwdr": "the binding is left out",
    "logpush": "logs are not pushed",
    "migrations": "Durable Object classes are not set up",
    "node_compat": "use the compatibility flag `nodejs_compat`",
    "observability": "the setting is not sent",
    "pages_build_output_dir": "Pages projects are not supported",
    "placement": "there is one place only",
    "python_modules": "Python functions are not supported",
    "route": "the function answers on its own host name",
    "routes": "the function answers on its own host name",
    "secrets": "required secrets are not checked",
    "site": "static files are not uploaded",
    "streaming_tail_consumers": "the setting is not sent",
    "text_blobs": "import the file instead",
    "unsafe": "the setting is not sent",
    "unsafe_hello_world": "the binding is left out",
    "vpc_networks": "the binding is left out",
    "wasm_modules": "import the file instead",
}
"""Keys that Wrangler knows and we do not: each is warned of, with what that means."""

DEFAULTS_NOT_WORTH_A_WARNING: Final[Mapping[str, object]] = {"legacy_env": True}
