"""Source maps (ECMA-426) of modules that are given other names."""

import json
from collections.abc import Callable

from workerd_faas.wire.sourcemap import MalformedMap


def relocate(content: bytes, file: str, rename: Callable[[str], str]) -> bytes:
    """
    A source map for a module called `file`, each source renamed by calling `rename`.

    Raises:
        MalformedMap: it is none.
    """
    try:
        document = json.loads(content)
        prefix = document.pop("sourceRoot", None) or ""
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        document["file"] = file
        document["sources"] = [rename(prefix + source) for source in document["sources"]]
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedMap(str(error)) from None
