"""The provider's metadata (OpenID Connect Discovery 1.0) and what the operator sets beside it."""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs


@attrs.frozen(kw_only=True)
class ProviderSettings:
    """
    What the operator says about the provider. An endpoint that is None is taken from discovery.

    Attributes:
        client_secret: None for a public client.
        redirect_uri: Our callback, as registered there.
    """

    issuer: str
    client_id: str
    client_secret: str | None = attrs.field(repr=False)
    redirect_uri: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None

    @property
    def discovery_url(self) -> str:
        """
        Where its metadata is (Discovery section 4).
        """
        return self.issuer.removesuffix("/") + "/.well-known/openid-configuration"


@attrs.frozen(kw_only=True)
class Metadata:
    """
    What a login needs to know of the provider.

    Attributes:
        userinfo_endpoint: None: it has none.
        basic_authentication: How the client secret is sent: in the `Authorization` header, else
            in the form.
        says_issuer: Every answer has `iss` (RFC 9207).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    basic_authentication: bool
    says_issuer: bool


class MetadataRefused(Exception):
    """
    The metadata cannot be used; the message says why.
    """


def read_metadata(document: Mapping[str, Any], settings: ProviderSettings) -> Metadata:
    """
    Check a discovery document.

    Raises:
        MetadataRefused: its issuer is another one, or something is missing or not safe.
    """
    if document.get("issuer") != settings.issuer:
        raise MetadataRefused(
            "the issuer in the discovery document is not the one that was configured, "
            "character for character"
        )

    def endpoint(name: str, override: str | None) -> str | None:
        url = override or document.get(name)
        if url is None:
            return None
        if not isinstance(url, str) or not is_safe_url(url):
            raise MetadataRefused(f"{name} is not an https URL")
        return url

    def required(name: str, override: str | None = None) -> str:
        url = endpoint(name, override)
        if url is None:
            raise MetadataRefused(f"{name} is missing")
        return url

    return Metadata(
        authorization_endpoint=required("authorization_endpoint", settings.authorization_endpoint),
        token_endpoint=required("token_endpoint", settings.token_endpoint),
        jwks_uri=required("jwks_uri"),
        userinfo_endpoint=endpoint("userinfo_endpoint", settings.userinfo_endpoint),
        basic_authentication=_is_basic(document),
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _is_basic(document: Mapping[str, Any]) -> bool:
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if not isinstance(methods, list):
        raise MetadataRefused("token_endpoint_auth_methods_supported is no list")
    return "client_secret_basic" in methods or "client_secret_post" not in methods


def is_safe_url(url: str) -> bool:
    """
    Whether what is sent there cannot be read on the way: https, or this machine.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if (
        not url.isascii()
        or not url.isprintable()
        or " " in url
        or "#" in url
        or "@" in parts.netloc
    ):
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))
    )


def is_loopback_host(host: str) -> bool:
    """
    Whether a host of a URL can only be this machine (RFC 6761 section 6.3 for names).
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
