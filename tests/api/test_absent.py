"""What is said of paths that lead nowhere because of what they are about."""

import pytest

from workerd_faas.api.absent import absent

ACCOUNT = f"/client/v4/accounts/{'a' * 32}"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/agent-memory/namespaces", "Agent Memory is not supported"),
        ("/artifacts/namespaces", "Artifacts are not supported"),
        ("/challenges/widgets", "Turnstile is not supported"),
        ("/connectivity/directory/services", "VPC services are not supported"),
        ("/email/sending/send", "Email is not supported"),
        ("/flagship/apps", "Flagship is not supported"),
        ("/k2/streams", "K2 streams are not supported"),
        ("/r2-catalog/bucket", "R2 is not supported"),
        ("/workers/dispatch/namespaces", "Dispatch namespaces are not supported"),
        ("/workers/subdomain/edge-preview", "`wrangler dev` runs on your machine only"),
        ("/workers/scripts/hello/subdomain/edge-preview", "`wrangler dev` runs on your machine"),
        ("/workers/workers/hello/previews/x", "`wrangler versions upload`"),
        ("/workers/scripts/hello/domains/records", "Routes and custom domains"),
    ],
)
def test_products_that_are_not_here_are_named(path: str, said: str) -> None:
    """
    A request of a Wrangler command whose product is not here is answered with the product's name.
    """
    assert said in (absent(ACCOUNT + path) or "")


@pytest.mark.parametrize("path", ["", "/nothing", "/workers", "/workers/scripts/hello/nothing"])
def test_other_paths_are_not(path: str) -> None:
    """
    A path that nobody asks for has nothing said of it.
    """
    assert absent(ACCOUNT + path) is None
