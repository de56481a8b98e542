"""Configurations of databases, as clients send them."""

from typing import Any

import pytest

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.hyperdrive import read_wish


@pytest.mark.parametrize(
    ("mtls", "said"),
    [
        ({"sslmode": "require"}, "'sslmode' of Hyperdrive"),
        ({"ca_certificate_id": "x", "sslmode": "verify-full"}, "'mtls' (certificates)"),
        ({"mtls_certificate_id": "x"}, "'mtls' (certificates)"),
    ],
)
def test_what_is_said_of_tls(mtls: dict[str, Any], said: str) -> None:
    """
    Who asks for an sslmode is not told of certificates that were never sent.
    """
    with pytest.raises(Problem) as refused:
        read_wish({"name": "shop", "mtls": mtls})
    assert refused.value.kind is Kind.UNSUPPORTED
    assert said in refused.value.message
