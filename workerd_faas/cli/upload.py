"""The form of an upload: metadata and modules, in the order and with the types of Wrangler."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.cli.bundle.worker import Worker
from workerd_faas.cli.client.multipart import Form, Part
from workerd_faas.wire.content_types import CONTENT_TYPE_OF

KEPT_SECRETS: Final = ("secret_text", "secret_key")
KEPT_VARIABLES: Final = ("plain_text", "json")


@attrs.frozen(kw_only=True)
class Annotations:
    """
    What a version says about itself.
    """

    message: str | None = None
    tag: str | None = None
    alias: str | None = None

    def document(self) -> dict[str, str]:
        """
        The ones that are set, under their names in the API.
        """
        values = {"message": self.message, "tag": self.tag, "alias": self.alias}
        return {f"workers/{name}": value for name, value in values.items() if value is not None}


def upload_form(
    worker: Worker | None,
    *,
    compatibility_date: str,
    compatibility_flags: Sequence[str],
    bindings: Sequence[Mapping[str, Any]],
    keep_variables: bool,
    annotations: Annotations,
    tail_consumers: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    assets: Mapping[str, Any] | None = None,
) -> Form:
    """
    What is sent.

    Args:
        settings: Further keys, as they stand.
        worker: None for a site without code, which has no bindings either.
        assets: The completion token of the site's upload session, and its configuration.
    """
    metadata: dict[str, Any] = {
        **(settings or {}),
        "compatibility_date": compatibility_date,
        "compatibility_flags": list(compatibility_flags),
        "annotations": annotations.document(),
    }
    if assets is not None:
        metadata["assets"] = assets
    if worker is not None:
        metadata |= {
            worker.main_key: worker.main.name,
            "bindings": list(bindings),
            "keep_bindings": [*KEPT_SECRETS, *(KEPT_VARIABLES if keep_variables else ())],
            "tail_consumers": [{"service": name} for name in tail_consumers],
        }
    parts = [Part(name="metadata", content=json.dumps(metadata).encode())]
    for module in () if worker is None else worker.uploaded():
        parts.append(
            Part(
                name=module.name,
                filename=module.name,
                content_type=CONTENT_TYPE_OF[module.kind],
                content=module.content,
            )
        )
    return Form(parts)
