"""The API's secrets as calls. Texts go there and never come back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from workerd_faas.cli.client.multipart import Form, Part
from workerd_faas.cli.client.scripts import Record, ScriptsApi

_DRAFT: Final = Form(
    [
        Part(name="metadata", content=b'{"main_module":"index.js","bindings":[]}'),
        Part(
            name="index.js",
            filename="index.js",
            content_type="application/javascript+module",
            content=b"export default { fetch: () => new Response(null, { status: 404 }) };\n",
        ),
    ]
)


@attrs.frozen
class SecretsApi:
    """
    The secrets of one function.
    """

    scripts: ScriptsApi
    name: str

    @property
    def _script(self) -> tuple[str, ...]:
        return ("accounts", self.scripts.account.id, "workers", "scripts", self.name)

    def names(self) -> Sequence[str]:
        """
        Those of the newest version.
        """
        return [str(each.get("name")) for each in self.scripts.api.get(*self._script, "secrets")]

    def change(self, changes: Mapping[str, str | None]) -> None:
        """
        Set secrets or (None) take them away, in one version that is deployed at once.
        """
        sent = {
            name: None if text is None else {"name": name, "text": text, "type": "secret_text"}
            for name, text in changes.items()
        }
        self.scripts.api.call("PATCH", *self._script, "secrets-bulk", document={"secrets": sent})

    def delete(self, name: str) -> None:
        """
        Take one away, which must be there.
        """
        self.scripts.api.call("DELETE", *self._script, "secrets", name)

    def change_newest(
        self, changes: Mapping[str, str | None], message: str | None, tag: str | None
    ) -> Record:
        """
        Set secrets or (None) take them away, in a version that is not deployed.
        """
        env = {
            name: None if text is None else {"type": "secret_text", "text": text}
            for name, text in changes.items()
        }
        notes = {"workers/message": message, "workers/tag": tag}
        document: dict[str, Any] = {
            "env": env,
            "annotations": {key: text for key, text in notes.items() if text is not None},
        }
        path = ("accounts", self.scripts.account.id, "workers", "workers", self.name)
        result = self.scripts.api.call("PATCH", *path, "versions", "latest", document=document)
        return result if isinstance(result, dict) else {}

    def make_draft(self) -> None:
        """
        Make the function, with code that finds nothing, so that it can have secrets before its
        first deploy.
        """
        self.scripts.deploy(self.name, _DRAFT, None)
