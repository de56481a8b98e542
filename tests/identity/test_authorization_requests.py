"""The authorization endpoint's rules, as pure functions."""

from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.oauth import (
    CLIENTS,
    SCOPES,
    WRANGLER,
    WRKST,
    OAuthError,
    Parameters,
    Redirected,
    ReturnAddress,
    Unredirectable,
    challenge_of,
    granted_scope,
    narrowed_scope,
    parse_authorization_request,
    proves,
    server_metadata,
)

ISSUER = "https://faas.example.com"
GOOD = {
    "response_type": "code",
    "client_id": "wrkst",
    "redirect_uri": "http://127.0.0.1:53682/callback",
    "state": "s",
    "code_challenge": challenge_of("v" * 43),
    "code_challenge_method": "S256",
}


def parsed(**changes: str | None) -> object:
    """
    The outcome of a request that differs from a good one so.
    """
    parameters = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    return parse_authorization_request(urlencode(parameters).encode())


def refusal(query: bytes) -> dict[str, list[str]]:
    """
    The parameters with which the client is told that its request is wrong.
    """
    with pytest.raises(Redirected) as caught:
        parse_authorization_request(query)
    url = caught.value.to.error_url(ISSUER, caught.value.error)
    return parse_qs(urlsplit(url).query, strict_parsing=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("port", [1, 80, 8976, 65535])
def test_wrkst_may_listen_on_any_port_of_loopback(host: str, port: int) -> None:
    """
    The port of a registered loopback URI is free.
    """
    assert WRKST.allows(f"http://{host}:{port}/callback")


def test_wranglers_redirect_uri_is_its_own() -> None:
    """
    Wrangler's one URI is allowed, on any port; wrkst's is not Wrangler's nor the other way round.
    """
    assert WRANGLER.allows("http://localhost:8976/oauth/callback")
    assert WRANGLER.allows("http://localhost:9000/oauth/callback")
    assert not WRANGLER.allows("http://127.0.0.1:8976/oauth/callback")
    assert not WRANGLER.allows("http://localhost:8976/callback")
    assert not WRKST.allows("http://localhost:8976/oauth/callback")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://127.0.0.1:5000/callback/",
        "http://127.0.0.1:5000/callback?x=1",
        "http://127.0.0.1:5000/callback#x",
        "http://127.0.0.1:5000/callback/../callback",
        "http://127.0.0.1:5000/Callback",
        "http://127.0.0.1:5000//callback",
        "http://127.0.0.1:5000/callback%00",
        "http://127.0.0.1:5000/%63allback",
        "http://127.0.0.1:5000/callback\n",
        "http://127.0.0.1:5000/callback ",
        " http://127.0.0.1:5000/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:05000/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:999999/callback",
        "http://127.0.0.1:٣٤/callback",
        "https://127.0.0.1:5000/callback",
        "HTTP://127.0.0.1:5000/callback",
        "http://LOCALHOST:5000/callback",
        "http://127.0.0.2:5000/callback",
        "http://127.1:5000/callback",
        "http://2130706433:5000/callback",
        "http://0.0.0.0:5000/callback",
        "http://localhost.evil.example:5000/callback",
        "http://127.0.0.1.evil.example:5000/callback",
        "http://127.0.0.1:5000@evil.example/callback",
        "http://user@127.0.0.1:5000/callback",
        "http://evil.example\\@127.0.0.1:5000/callback",
        "http://evil.example/#http://127.0.0.1:5000/callback",
        "http://[::1%25eth0]:5000/callback",
        "http://[::]:5000/callback",
        "http://[0:0:0:0:0:0:0:1]:5000/callback",
        "http:127.0.0.1:5000/callback",
        "//127.0.0.1:5000/callback",
        "javascript:alert(1)//127.0.0.1:5000/callback",
        "wrkst://127.0.0.1:5000/callback",
        "http://127.0.0.1:*/callback",
    ],
)
def test_near_misses_of_a_redirect_uri_are_never_redirected_to(uri: str) -> None:
    """
    Anything but a registered string with a port gets a page.
    """
    with pytest.raises(Unredirectable):
        parsed(redirect_uri=uri or None)


@given(st.text(min_size=1))
def test_no_other_string_is_a_redirect_uri(uri: str) -> None:
    """
    No client allows arbitrary text.
    """
    assert not any(client.allows(uri) for client in CLIENTS.values())


@pytest.mark.parametrize("client_id", [None, "", "wrkst ", "WRKST", "evil"])
def test_an_unknown_client_is_never_redirected(client_id: str | None) -> None:
    """
    Without a known client no redirect URI can be believed.
    """
    with pytest.raises(Unredirectable):
        parsed(client_id=client_id)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_or_redirect_uri_is_never_redirected(name: str) -> None:
    """
    Two values for what decides about the redirect are none.
    """
    query = urlencode({**GOOD, name: GOOD[name]}) + "&" + urlencode({name: GOOD[name]})
    with pytest.raises(Unredirectable):
        parse_authorization_request(query.encode())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"state": "x" * 2001}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "v" * 44}, "invalid_request"),
        ({"code_challenge": "v" * 42 + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"scope": "a  b"}, "invalid_scope"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "é"}, "invalid_scope"),
    ],
)
def test_other_mistakes_are_told_to_the_client(changes: dict[str, str | None], error: str) -> None:
    """
    The redirect has the error, the state and the issuer, and no code.
    """
    parameters = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    answer = refusal(urlencode(parameters).encode())
    assert answer["error"] == [error]
    assert answer["iss"] == [ISSUER]
    assert answer.get("state") == (None if "state" not in parameters else [parameters["state"]])
    assert "code" not in answer


@pytest.mark.parametrize("name", ["state", "scope", "code_challenge", "resource", "x"])
def test_repeated_parameters_are_refused(name: str) -> None:
    """
    Any parameter that stands there twice, known or not, with equal values or not, is an error.
    """
    query = f"{urlencode(GOOD)}&{name}=a&{name}=b".encode()
    assert refusal(query)["error"] == ["invalid_request"]


@given(st.binary(min_size=1, max_size=200))
def test_state_is_returned_byte_for_byte(octets: bytes) -> None:
    """
    Whatever was percent-encoded comes back as the same bytes.
    """
    good = urlencode({k: v for k, v in GOOD.items() if k != "state"})
    request = parse_authorization_request(f"{good}&state={quote(octets, safe='')}".encode())
    url = request.back.url(ISSUER, {"code": "c"})
    assert url.isascii() and url.isprintable()
    (state,) = parse_qs(urlsplit(url).query, encoding="latin-1")["state"]
    assert state.encode("latin-1") == octets


@given(st.binary(max_size=300))
def test_no_query_makes_the_parser_stumble(query: bytes) -> None:
    """
    Arbitrary bytes are a request without a client.
    """
    with pytest.raises(Unredirectable):
        parse_authorization_request(query)


@given(st.text(), st.text())
def test_an_error_cannot_break_out_of_its_redirect(error: str, description: str) -> None:
    """
    The redirect of an error is one printable ASCII URL on the client's own address.
    """
    back = ReturnAddress(redirect_uri=GOOD["redirect_uri"], state="s")
    url = back.error_url(ISSUER, OAuthError(error.encode("ascii", "replace").decode(), description))
    assert url.startswith(GOOD["redirect_uri"] + "?")
    assert url.isascii() and url.isprintable()
    assert " " not in url


def test_only_known_scopes_are_granted() -> None:
    """
    Unknown scopes are left out; nothing asked is everything, as is what says nothing about the API;
    only unknown ones give the least.
    """
    assert granted_scope("offline_access openid") == SCOPES
    assert granted_scope("workers:write tea:write account:read") == (
        "account:read",
        "workers:write",
    )
    assert granted_scope(None) == SCOPES
    assert granted_scope("tea:write") == ("user:read",)


def test_a_refreshed_scope_is_never_wider() -> None:
    """
    A subset is given, more is refused.
    """
    granted = ("account:read", "workers:write")
    assert narrowed_scope(granted, None) == granted
    assert narrowed_scope(granted, "offline_access") == granted
    assert narrowed_scope(granted, "account:read") == ("account:read",)
    with pytest.raises(OAuthError):
        narrowed_scope(granted, "account:read user:read")


def test_the_example_of_rfc_7636() -> None:
    """
    The verifier of appendix B proves its challenge, and nothing else does.
    """
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert proves(verifier, challenge)
    assert not proves(verifier[:-1] + "l", challenge)
    assert not proves(challenge, challenge)


@pytest.mark.parametrize("verifier", ["", "a" * 42, "a" * 129, "a" * 42 + "é", "a" * 42 + "+"])
def test_a_malformed_verifier_proves_nothing(verifier: str) -> None:
    """
    43 to 128 unreserved characters, even if the hash would fit.
    """
    challenge = challenge_of(verifier) if verifier.isascii() else "x" * 43
    assert not proves(verifier, challenge)


def test_a_value_that_is_empty_counts_as_left_out() -> None:
    """
    RFC 6749 section 3.1.
    """
    assert Parameters.parse(b"a=&b=1&&c").values == {"b": "1"}


def test_the_metadata_promises_what_there_is() -> None:
    """
    Only the code and device flows, S256, public clients, and `iss` in answers.
    """
    document = server_metadata(ISSUER)
    assert document["issuer"] == ISSUER
    assert document["response_types_supported"] == ["code"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    device = "urn:ietf:params:oauth:grant-type:device_code"
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token", device]
    assert document["device_authorization_endpoint"] == f"{ISSUER}/oauth2/device/auth"
    assert document["token_endpoint_auth_methods_supported"] == ["none"]
    assert document["authorization_response_iss_parameter_supported"] is True
