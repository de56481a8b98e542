"""
`_redirects`: paths that lead elsewhere. Read as Cloudflare reads it; what cannot be used is left
out and said.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from workerd_faas.wire.site.rules import PLACEHOLDER, SPLAT, Ignored, lines_of
from workerd_faas.wire.site.urls import NO_LINE_END, SPACE, BadRule, host_of, normalised

MAX_STATIC: Final = 2000
MAX_DYNAMIC: Final = 100
STATUSES: Final = frozenset({200, 301, 302, 303, 307, 308})
PROXY: Final = 200

_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.0*)?")
_SPACES: Final = re.compile(f"[{re.escape(SPACE)}]+")
_COMMENT: Final = re.compile(f"[{re.escape(SPACE)}]+#{NO_LINE_END}*\\Z")
_TO_INDEX: Final = re.compile(rf"/index({NO_LINE_END}html)?\Z")


@attrs.define
class _Reader:
    html_handling: str | None
    static: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    dynamic: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    seen: set[str] = attrs.Factory(set)
    static_count: int = 0
    dynamic_count: int = 0

    @property
    def full(self) -> bool:
        """
        Whether no further line is read.
        """
        return self.dynamic_count > MAX_DYNAMIC

    def line(self, number: int, line: str) -> None:
        """
        One rule.

        Raises:
            BadRule: it has no effect.
        """
        tokens = _SPACES.split(_COMMENT.sub("", line))
        if not 2 <= len(tokens) <= 3:
            raise BadRule(
                f"Expected exactly 2 or 3 whitespace-separated tokens. Got {len(tokens)}."
            )
        source = normalised(tokens[0], relative_only=True, ports=False, suffix=False)
        static = self._counted(source)
        target = normalised(tokens[1], relative_only=False, ports=True, suffix=True)
        status = _status(tokens[2] if len(tokens) == 3 else "302")
        self._check_loop(source, target)
        if source in self.seen:
            raise BadRule(f"Ignoring duplicate rule for path {source}.")
        self.seen.add(source)
        if status == PROXY and host_of(target):
            raise BadRule(f"Proxy (200) redirects can only point to relative paths. Got {target}")
        # The first rule with a wildcard or placeholder ends the rules that are looked up directly:
        # rules apply in the order of the file.
        if static and not self.dynamic:
            self.static[source] = {"status": status, "to": target, "lineNumber": number}
        else:
            self.dynamic[source] = {"status": status, "to": target}

    def _counted(self, source: str) -> bool:
        static = SPLAT not in source and not PLACEHOLDER.search(source)
        if static and not self.dynamic_count:
            self.static_count += 1
            if self.static_count > MAX_STATIC:
                raise BadRule(f"Maximum number of static rules supported is {MAX_STATIC}.")
        else:
            self.dynamic_count += 1
            if self.dynamic_count > MAX_DYNAMIC:
                raise BadRule(
                    f"Maximum number of dynamic rules supported is {MAX_DYNAMIC}. "
                    "The rest of the file is left out."
                )
        return static

    def _check_loop(self, source: str, target: str) -> None:
        to_index = host_of(target) is None and _TO_INDEX.search(target)
        from_root = source.endswith("/") and self.html_handling != "none"
        if to_index and (source.endswith("/*") or from_root):
            raise BadRule(
                "Infinite loop detected in this rule and has been ignored: a redirect that strips "
                "`.html` or `/index` would trigger it again."
            )


def _status(text: str) -> int:
    status = int(text.partition(".")[0]) if _WHOLE_NUMBER.fullmatch(text) else 0
    if status not in STATUSES:
        raise BadRule(
            f"Valid status codes are 200, 301, 302 (default), 303, 307, or 308. Got {text[:20]}."
        )
    return status


def parse_redirects(
    text: str, html_handling: str | None = None
) -> tuple[Mapping[str, Any], Mapping[str, Any], list[Ignored]]:
    """
    Read the file.

    Args:
        html_handling: The site's; it decides what counts as an endless loop.

    Returns:
        The rules for single paths, those with wildcards or placeholders in the order in which they
        apply, and the lines without effect.
    """
    ignored: list[Ignored] = []
    reader = _Reader(html_handling)
    for number, line in lines_of(text, ignored):
        try:
            reader.line(number, line)
        except BadRule as error:
            ignored.append(Ignored(number, str(error)))
        if reader.full:
            break
    return reader.static, reader.dynamic, ignored
