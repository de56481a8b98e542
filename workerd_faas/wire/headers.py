"""Header names that we set ourselves and never accept from outside (lower case)."""

from typing import Final

ROUTE_AND_CF: Final = "wfaas-cf"
"""
JSON object that workerd turns into `request.cf` (its `cfBlobHeader`) and removes from the headers.
Its key `version` is the id of the version to run; the rest is what Cloudflare puts into `cf`.
"""

PROTO: Final = "wfaas-proto"
"""`http` or `https`: workerd takes the scheme of `request.url` from it and removes it."""

RAY: Final = "cf-ray"
"""The request id: 16 hex digits, the same in our log, in the function's log and in the answer."""

VERSION_KEY: Final = "cloudflare-workers-version-key"
"""A client's own key: requests that bring the same one get the same version of a deployment."""

OWN_PREFIX: Final = "x-workerd-faas-"
"""What the platform says of its own answers. No function's answer can have such a field."""

TERMINATION: Final = OWN_PREFIX + "termination"
"""Why there is no answer of the function: a `domain.termination.Termination`."""

PROBLEM: Final = "wfaas-problem"
"""Says in an answer to a cell that it is the relay's and not a function's."""

CALLED: Final = "call:"
"""
Stands before the version's id in `ROUTE_AND_CF` when a function of another account calls. The
request that it made is in the field `x-wfaas-call` then (js/elsewhere.js, js/called.js).
"""
