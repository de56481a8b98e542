"""What is said of paths that lead nowhere because of what they are about."""

import pytest

from workerd_faas.api.absent import absent
from workerd_faas.api.errors import STATUS_AND_CODE
from workerd_faas.domain.errors import Kind

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
    found = absent(ACCOUNT + path)
    assert found is not None
    assert (found.kind, said in found.message) == (Kind.ABSENT, True)


def test_a_workflow_is_not_found() -> None:
    """
    Who asks for a workflow by its name is told that there is none of that name, so that a deploy
    goes on to its upload; other requests about workflows are refused.
    """
    one, all_ = absent(f"{ACCOUNT}/workflows/w"), absent(f"{ACCOUNT}/workflows")
    assert one is not None
    assert all_ is not None
    assert (one.kind, all_.kind) == (Kind.WORKFLOW_NOT_FOUND, Kind.ABSENT)
    assert one.message == all_.message
    assert STATUS_AND_CODE[one.kind] == (404, 10200)


@pytest.mark.parametrize("path", ["", "/nothing", "/workers", "/workers/scripts/hello/nothing"])
def test_other_paths_are_not(path: str) -> None:
    """
    A path that nobody asks for has nothing said of it.
    """
    assert absent(ACCOUNT + path) is None
