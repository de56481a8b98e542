"""
`_headers`: headers that are added to, or taken from, the answers for some paths. Read as
Cloudflare reads it; what cannot be used is left out and said.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from workerd_faas.wire.site.rules import SPLAT, Ignored, lines_of
from workerd_faas.wire.site.urls import SPACE, BadRule, normalised

MAX_RULES: Final = 100

_PATH: Final = re.compile(r"[^\s]+://|/")
_UNSET: Final = "! "
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SPLAT_PLACEHOLDER: Final = re.compile(r":splat(?!\w)", re.ASCII)


@attrs.define
class _Rule:
    path: str
    line: int
    set: dict[str, str] = attrs.Factory(dict)
    unset: list[str] = attrs.Factory(list)

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.set:
            found["set"] = self.set
        if self.unset:
            found["unset"] = self.unset
        return found


@attrs.define
class _Reader:
    rules: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    count: int = 0
    ignored: list[Ignored] = attrs.Factory(list)
    rule: _Rule | None = None
    skipping: bool = False

    def path(self, number: int, line: str) -> bool:
        """
        A line that begins a rule; whether there is room for one more.
        """
        self.skipping = False
        if self.count >= MAX_RULES:
            self.ignored.append(
                Ignored(number, f"at most {MAX_RULES} rules are used; the rest is left out.")
            )
            return False
        self.end()
        try:
            path = normalised(line, relative_only=False, ports=False, suffix=False)
            _check_wildcards(path)
        except BadRule as error:
            self.ignored.append(Ignored(number, str(error)))
            self.skipping = True
        else:
            self.rule = _Rule(path, number)
        return True

    def header(self, number: int, line: str) -> None:
        """
        A line that belongs to a rule.
        """
        wrong = None
        raw_name, colon, raw_value = line.partition(":")
        name, value = raw_name.strip(SPACE).lower(), raw_value.strip(SPACE)
        if not colon:
            if self.rule is None:
                wrong = "Expected a path beginning with at least one forward-slash"
            elif line.startswith(_UNSET) and _NAME.fullmatch(line.removeprefix(_UNSET)):
                self.rule.unset.append(line.removeprefix(_UNSET))
            else:
                wrong = "Expected a colon-separated header pair (e.g. name: value)"
        elif " " in name:
            wrong = "Header name cannot include spaces"
        elif not name:
            wrong = "No header name specified"
        elif not value:
            wrong = "No header value specified"
        elif self.rule is None:
            wrong = f"Path should come before header ({name}: {value})"
        elif not _NAME.fullmatch(name) or _CONTROL.search(value):
            wrong = "It is not a header that HTTP allows"
        else:
            before = self.rule.set.get(name)
            self.rule.set[name] = value if before is None else f"{before}, {value}"
        if wrong is not None:
            self.ignored.append(Ignored(number, wrong))

    def end(self) -> None:
        """
        The rule that was being read is complete.
        """
        rule, self.rule = self.rule, None
        if rule is None:
            return
        if rule.set or rule.unset:
            self.rules[rule.path] = rule.document()
            self.count += 1
        else:
            self.ignored.append(Ignored(rule.line, "No headers specified"))


def parse_headers(text: str) -> tuple[Mapping[str, Any], list[Ignored]]:
    """
    Read the file.

    Returns:
        By path pattern what to `set` and to `unset`, in the order in which it applies, and the
        lines without effect.
    """
    reader = _Reader()
    for number, line in lines_of(text, reader.ignored):
        if _PATH.match(line):
            if not reader.path(number, line):
                break
        elif not reader.skipping:
            reader.header(number, line)
    reader.end()
    return reader.rules, reader.ignored


def _check_wildcards(path: str) -> None:
    wildcards = path.count(SPLAT)
    if wildcards > 1:
        raise BadRule(
            "Only one wildcard is allowed per rule. Use a named placeholder (e.g. :project) "
            f"instead. Skipping {path}."
        )
    if wildcards and _SPLAT_PLACEHOLDER.search(path):
        raise BadRule(
            "Cannot combine a wildcard * with a :splat placeholder because wildcards are "
            f"converted to :splat at runtime. Skipping {path}."
        )
