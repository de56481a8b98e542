"""From text to `Settings`, with every problem of a configuration in one report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from workerd_faas.domain.model import PublicUrls
from workerd_faas.domain.policies import Isolation
from workerd_faas.settings.endpoints import Endpoint
from workerd_faas.settings.limits import function_limits
from workerd_faas.settings.model import Provider, Settings
from workerd_faas.settings.sources import Findings, gather
from workerd_faas.settings.table import SETTINGS
from workerd_faas.settings.values import Network, is_loopback_host, networks, shown

_OIDC: Final = frozenset(s.name for s in SETTINGS if s.name.startswith("OIDC_"))
_CALLBACKS: Final = ("/auth/callback", "/client/v4/auth/callback")
_LOOPBACK: Final = networks("127.0.0.0/8 ::1/128")


@attrs.define(auto_exc=True)
class SettingsError(Exception):
    """
    A configuration that the daemon cannot start with.

    Attributes:
        problems: Pairs of a setting's name (or a file) and what is wrong with it.
        warnings: What should be known besides: a misspelt name may be why another is missing.
    """

    problems: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        count = len(self.problems)
        first = "1 setting is wrong:" if count == 1 else f"{count} settings are wrong:"
        lines = [f"  {name}: {message}" for name, message in self.problems]
        return "\n".join([first, *lines, *(f"  warning: {said}" for said in self.warnings)])


def load(
    environ: Mapping[str, str],
    *,
    env_file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    dev: bool = False,
) -> Settings:
    """
    Read all settings.

    Args:
        environ: The environment.
        env_file: A file in `.env` format whose values count where the environment has none.
        overrides: What options say; counts before the environment.
        dev: Whether `--dev` was given.

    Raises:
        SettingsError: with all problems; no secret is in it.
    """
    findings = Findings()
    raw = gather(environ, env_file, overrides or {}, findings)
    values = _read(raw, dev, findings)
    listen: tuple[Endpoint, ...] = values["LISTEN"] or ()
    public = _public_urls(values, listen, findings)
    _check_files(listen, findings)
    if dev:
        _check_dev(values, listen, findings)
    if findings.problems or public is None:
        raise SettingsError(tuple(findings.problems), tuple(findings.warnings))
    _warn(values, public, dev, findings)
    return Settings(
        dev=dev,
        base_domain=values["BASE_DOMAIN"],
        public=public,
        listen=listen,
        use_forwarded_host=values["USE_FORWARDED_HOST"],
        trusted_proxies=_trusted(values),
        data_dir=values["DATA_DIR"],
        jwt_secret=values["JWT_SECRET"],
        provider=_provider(values),
        redirect_uri=values["OIDC_REDIRECT_URI"] or f"{public.api}/auth/callback",
        login_allow=values["LOGIN_ALLOW"] or (),
        secrets_keys=values["SECRETS_KEY"],
        workerd=values["WORKERD"],
        isolation=Isolation(values["ISOLATION"]),
        sandbox=values["SANDBOX"],
        cell_uids=values["CELL_UIDS"],
        egress_allow=values["EGRESS_ALLOW"] or (),
        hyperdrive_allow=values["HYPERDRIVE_ALLOW"] or (),
        egress_deny=values["EGRESS_DENY"] or (),
        max_cells=values["MAX_CELLS"],
        cells_per_account=values["CELLS_PER_ACCOUNT"],
        promoted_functions=values["PROMOTED_FUNCTIONS"] or 0,
        cell_memory=values["CELL_MEMORY"],
        cells_memory=values["CELLS_MEMORY"],
        cell_idle_timeout=values["CELL_IDLE_TIMEOUT"],
        check_timeout=values["CHECK_TIMEOUT"],
        max_code_size=values["MAX_CODE_SIZE"],
        limits=function_limits(values),
        drain_timeout=values["DRAIN_TIMEOUT"],
        log_format=values["LOG_FORMAT"],
        access_log=values["ACCESS_LOG"],
        function_log_time=values["FUNCTION_LOG_TIME"],
        function_log_size=values["FUNCTION_LOG_SIZE"],
        warnings=tuple(findings.warnings),
    )


def _read(raw: Mapping[str, str], dev: bool, findings: Findings) -> dict[str, Any]:
    """
    The value of every setting by its name; None where it is not given or wrong.
    """
    values: dict[str, Any] = {}
    own_provider = bool(raw.keys() & (_OIDC - {"OIDC_REDIRECT_URI"}))
    for setting in SETTINGS:
        values[setting.name] = None
        text = raw.get(setting.name, setting.default_for(dev))
        if text is None:
            required = own_provider if dev and setting.name in _OIDC else not dev
            if setting.required and required:
                or_file = f" (or {setting.file_name})" if setting.secret else ""
                findings.problem(
                    setting.name,
                    f"is missing{or_file}: {_lowered(setting.meaning)}; "
                    f"for example {setting.example}",
                )
        elif text and not (dev and setting.name == "JWT_SECRET"):
            try:
                values[setting.name] = setting.read(text)
            except ValueError as error:
                findings.problem(setting.name, str(error))
        else:
            values[setting.name] = text
    return values


def _lowered(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _provider(values: Mapping[str, Any]) -> Provider | None:
    if values["OIDC_ISSUER"] is None:
        return None
    return Provider(
        issuer=values["OIDC_ISSUER"],
        client_id=values["OIDC_CLIENT_ID"],
        client_secret=values["OIDC_CLIENT_SECRET"],
        authorization_endpoint=values["OIDC_AUTHORIZATION_ENDPOINT"],
        token_endpoint=values["OIDC_TOKEN_ENDPOINT"],
        userinfo_endpoint=values["OIDC_USERINFO_ENDPOINT"],
    )


def _trusted(values: Mapping[str, Any]) -> tuple[Network, ...]:
    given: tuple[Network, ...] | None = values["TRUSTED_PROXIES"]
    if given is None:
        return _LOOPBACK if values["USE_FORWARDED_HOST"] else ()
    return given


def _public_urls(
    values: Mapping[str, Any], listen: tuple[Endpoint, ...], findings: Findings
) -> PublicUrls | None:
    """
    How the outside reaches us, from whatever says so; None if BASE_DOMAIN or what says so is wrong.
    """
    domain = values["BASE_DOMAIN"]
    if domain is None:
        return None
    redirect = values["OIDC_REDIRECT_URI"]
    for name, value in (("PUBLIC_URL", values["PUBLIC_URL"]), ("OIDC_REDIRECT_URI", redirect)):
        if value is not None and urlsplit(value).hostname != domain:
            findings.problem(
                name,
                f"{shown(value)} is not on BASE_DOMAIN ({domain}): both must be the same host",
            )
    if redirect is not None and urlsplit(redirect).path not in _CALLBACKS:
        findings.problem(
            "OIDC_REDIRECT_URI",
            f"{shown(redirect)} does not lead to us: its path is {_CALLBACKS[0]}",
        )
    given = values["PUBLIC_URL"] or redirect
    if given is not None:
        parts = urlsplit(given)
        return PublicUrls(scheme=parts.scheme, base_domain=domain, port=parts.port)
    if not is_loopback_host(domain):
        return PublicUrls(scheme="https", base_domain=domain)
    first = next((endpoint for endpoint in listen if endpoint.port), None)
    return PublicUrls(
        scheme="https" if first is not None and first.tls else "http",
        base_domain=domain,
        port=first.port if first is not None else None,
    )


def _check_files(listen: tuple[Endpoint, ...], findings: Findings) -> None:
    """
    What can be known of keys and certificates without using them.
    """
    for endpoint in listen:
        for name, file in endpoint.files.items():
            try:
                with Path(file).open("rb"):
                    pass
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                findings.problem("LISTEN", f"{shown(file)} ({name}) cannot be read: {reason}")


def _check_dev(values: Mapping[str, Any], listen: tuple[Endpoint, ...], findings: Findings) -> None:
    """
    `--dev` signs everyone in: nobody but this machine may reach it.
    """
    domain = values["BASE_DOMAIN"]
    if domain is not None and not is_loopback_host(domain):
        findings.problem(
            "BASE_DOMAIN",
            f"{shown(domain)} is not local: --dev lets anyone log in and so serves localhost "
            "(or a name that ends in .localhost) only; leave --dev out for a real domain",
        )
    for endpoint in listen:
        if not endpoint.loopback:
            findings.problem(
                "LISTEN",
                f"{shown(endpoint.text)} is not local: --dev lets anyone log in and so listens on "
                "loopback only, such as tcp:8080:interface=127.0.0.1",
            )


def _warn(values: Mapping[str, Any], public: PublicUrls, dev: bool, findings: Findings) -> None:
    if public.scheme == "http" and not is_loopback_host(public.base_domain):
        findings.warn(
            "PUBLIC_URL", "is http: passwords and tokens cross the network in the clear; use https"
        )
    if not dev and not values["LOGIN_ALLOW"]:
        findings.warn(
            "LOGIN_ALLOW", "is not set: everyone whom the identity provider lets in may deploy"
        )
    for name in ("TRUSTED_PROXIES", "EGRESS_ALLOW"):
        if any(network.prefixlen == 0 for network in values[name] or ()):
            findings.warn(name, "names every address there is")
