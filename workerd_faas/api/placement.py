"""Where data are kept: on the server's own disk, whatever a client would like."""

from collections.abc import Mapping
from typing import Any

from workerd_faas.domain.errors import Kind, Problem


def refuse_jurisdiction(document: Mapping[str, Any]) -> None:
    """
    A jurisdiction is a promise about a place, and one that is not kept must not be made; hints
    about a location (`primary_location_hint`) promise nothing.

    Raises:
        Problem: UNSUPPORTED, when there is one.
    """
    if document.get("jurisdiction") is not None:
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message="Jurisdictions are not supported on this server, which keeps all data itself: "
            "leave 'jurisdiction' out.",
        )
