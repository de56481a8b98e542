"""Whether the identity provider answers, asked with the daemon's own code."""

from typing import Any

from workerd_faas.oidc.http import CallFailed, ProviderCalls, provider_agent
from workerd_faas.oidc.metadata import MetadataRefused, ProviderSettings, read_metadata
from workerd_faas.operator.finding import Finding, failed, ok
from workerd_faas.settings.model import Settings


def provider_settings(settings: Settings) -> ProviderSettings | None:
    """
    What the relying party is told; None for the built-in provider.
    """
    provider = settings.provider
    if provider is None:
        return None
    return ProviderSettings(
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        redirect_uri=settings.redirect_uri,
        authorization_endpoint=provider.authorization_endpoint,
        token_endpoint=provider.token_endpoint,
        userinfo_endpoint=provider.userinfo_endpoint,
    )


async def discovery(reactor: Any, settings: Settings) -> Finding:
    """
    Whether the discovery document can be had, within seconds, and is right.
    """
    subject = "OIDC_ISSUER"
    asked = provider_settings(settings)
    if asked is None:
        return ok(subject, "the built-in provider of --dev")
    calls = ProviderCalls(agent=provider_agent(reactor), reactor=reactor)
    try:
        answer = await calls.get(asked.discovery_url)
        if answer.status != 200:
            return failed(subject, f"{asked.discovery_url} answers with status {answer.status}")
        metadata = read_metadata(answer.document, asked)
    except (CallFailed, MetadataRefused) as error:
        return failed(subject, f"{asked.discovery_url}: {error}; logins fail until it answers")
    return ok(subject, f"discovery gives {metadata.authorization_endpoint}")
