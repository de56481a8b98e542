"""Who one is: the identity provider, logins, tokens."""

from typing import Final

from workerd_faas.assembly.ground import Ground
from workerd_faas.domain.identity import LoginPolicy
from workerd_faas.oidc.devprovider.backchannel import socket_agent
from workerd_faas.oidc.devprovider.provider import DevProvider
from workerd_faas.oidc.http import provider_agent
from workerd_faas.oidc.metadata import ProviderSettings
from workerd_faas.oidc.relyingparty import RelyingParty
from workerd_faas.usecases.identity.access_tokens import AccessTokens
from workerd_faas.usecases.identity.authenticator import BearerAuthenticator
from workerd_faas.usecases.identity.grants import Grants
from workerd_faas.usecases.identity.keys import Keys
from workerd_faas.usecases.identity.logins import Logins

DEV_PROVIDER: Final = "/dev-provider"


class LoginParts:
    """
    Attributes:
        dev_provider: Without an identity provider of the operator's, with `--dev` only.
    """

    def __init__(self, ground: Ground) -> None:
        settings = ground.settings
        keys = Keys.from_secret(ground.secret.encode())
        policy = LoginPolicy(rules=frozenset(settings.login_allow))
        issuer = settings.public.api
        self.dev_provider = None if settings.provider else _dev_provider(ground, issuer)
        self.relying_party = RelyingParty(
            settings=_provider_settings(ground, issuer),
            agent=(
                provider_agent(ground.reactor)
                if self.dev_provider is None
                else socket_agent(ground.reactor, ground.api_socket)
            ),
            reactor=ground.reactor,
            clock=ground.clock,
        )
        access_tokens = AccessTokens(key=keys.access_token, issuer=issuer)
        self.auth = BearerAuthenticator(
            store=ground.identity, access_tokens=access_tokens, policy=policy, clock=ground.clock
        )
        self.logins = Logins(
            issuer=issuer,
            key=keys.login,
            provider=self.relying_party,
            store=ground.identity,
            policy=policy,
            clock=ground.clock,
        )
        self.grants = Grants(
            store=ground.identity,
            access_tokens=access_tokens,
            succession_key=keys.succession,
            policy=policy,
            clock=ground.clock,
        )


def _dev_provider(ground: Ground, issuer: str) -> DevProvider:
    return DevProvider(
        issuer=issuer + DEV_PROVIDER,
        client_id="workerd-faas",
        client_secret=ground.data.secret("dev-client-secret"),
        redirect_uri=ground.settings.redirect_uri,
        interfaces=[
            endpoint.arguments["interface"]
            for endpoint in ground.settings.listen
            if "interface" in endpoint.arguments
        ],
        reactor=ground.reactor,
        clock=ground.clock,
    )


def _provider_settings(ground: Ground, issuer: str) -> ProviderSettings:
    provider = ground.settings.provider
    if provider is None:
        return ProviderSettings(
            issuer=issuer + DEV_PROVIDER,
            client_id="workerd-faas",
            client_secret=ground.data.secret("dev-client-secret"),
            redirect_uri=ground.settings.redirect_uri,
        )
    return ProviderSettings(
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        redirect_uri=ground.settings.redirect_uri,
        authorization_endpoint=provider.authorization_endpoint,
        token_endpoint=provider.token_endpoint,
        userinfo_endpoint=provider.userinfo_endpoint,
    )
