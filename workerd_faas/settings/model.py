"""The settings once they are read: frozen data that constructs nothing."""

from pathlib import Path

import attrs

from workerd_faas.domain.model import PublicUrls
from workerd_faas.domain.policies import Isolation
from workerd_faas.settings.endpoints import Endpoint
from workerd_faas.settings.limits import FunctionLimits
from workerd_faas.settings.values import Address, Network


def _hidden(secret: str | None) -> str:
    return "None" if secret is None else "<hidden>"


def _secret_keys(keys: tuple[str, ...] | None) -> str:
    return "None" if keys is None else f"<{len(keys)} hidden>"


@attrs.frozen(kw_only=True)
class Provider:
    """
    The OpenID provider of the installation. An endpoint that is None comes from its discovery
    document.
    """

    issuer: str
    client_id: str
    client_secret: str = attrs.field(repr=_hidden)
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None


@attrs.frozen(kw_only=True)
class Settings:
    """
    Every decision of the operator. Times are in seconds, sizes in bytes, paths absolute.

    Attributes:
        dev: `--dev` was given: everything on loopback, built-in provider, generated secrets.
        base_domain: Lower case, no final dot.
        public: How the outside reaches `base_domain`.
        listen: At least one endpoint; `Endpoint.text` is what Twisted is given.
        trusted_proxies: Whose forwarding headers are believed.
        jwt_secret: None only with `dev`: one is made and kept below `data_dir`.
        provider: None only with `dev`: the built-in one.
        redirect_uri: Where the provider sends browsers back to.
        login_allow: Rules as `settings.values.login_rules` gives them; empty: all users of the
            provider.
        secrets_keys: Keys that encrypt secrets, the newest first; None: kept below `data_dir`.
        workerd: None: found by itself.
        limits: What functions are held to.
        cells_memory: None: most of what there is.
        sandbox: As `runtime.walls.Sandbox` has it.
        cell_uids: First and last; equal: none; None: where they can be had.
        warnings: What works but deserves a line in the log.
    """

    dev: bool
    base_domain: str
    public: PublicUrls
    listen: tuple[Endpoint, ...]
    use_forwarded_host: bool
    trusted_proxies: tuple[Network, ...]
    data_dir: Path
    jwt_secret: str | None = attrs.field(repr=_hidden)
    provider: Provider | None
    redirect_uri: str
    login_allow: tuple[str, ...]
    secrets_keys: tuple[str, ...] | None = attrs.field(repr=_secret_keys)
    workerd: Path | None
    isolation: Isolation
    sandbox: str
    cell_uids: tuple[int, int] | None
    egress_allow: tuple[Network, ...]
    hyperdrive_allow: tuple[Network, ...]
    egress_deny: tuple[Address, ...]
    max_cells: int
    cells_per_account: int
    promoted_functions: int
    cell_memory: int
    cells_memory: int | None
    cell_idle_timeout: float
    check_timeout: float
    max_code_size: int
    limits: FunctionLimits
    drain_timeout: float
    log_format: str
    access_log: bool
    function_log_time: float
    function_log_size: int
    warnings: tuple[str, ...] = ()
