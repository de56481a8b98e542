"""Module rules: which files become modules of their own, and of what kind. Pure."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import attrs

from workerd_faas.domain.model import ModuleKind

RULE_KINDS: Final[Mapping[str, ModuleKind]] = {
    "ESModule": ModuleKind.ESM,
    "CommonJS": ModuleKind.COMMONJS,
    "CompiledWasm": ModuleKind.WASM,
    "Text": ModuleKind.TEXT,
    "Data": ModuleKind.DATA,
}


@attrs.frozen
class Rule:
    """
    Files that match one of `globs` are modules of the kind `type`.

    Attributes:
        fallthrough: Whether later rules of the same type count too; None says nothing.
    """

    type: str
    globs: tuple[str, ...]
    fallthrough: bool | None = None

    @property
    def kind(self) -> ModuleKind:
        """
        The kind of module.
        """
        return RULE_KINDS[self.type]

    @property
    def is_javascript(self) -> bool:
        """
        Whether its modules are code, which a bundler would otherwise merge.
        """
        return self.kind in (ModuleKind.ESM, ModuleKind.COMMONJS)


DEFAULT_RULES: Final = (
    Rule("Text", ("**/*.txt", "**/*.html", "**/*.sql")),
    Rule("Data", ("**/*.bin",)),
    Rule("CompiledWasm", ("**/*.wasm", "**/*.wasm?module")),
)


@attrs.frozen
class RuleSet:
    """
    The rules that count, and those that an earlier one of the same type has shut out.
    """

    rules: tuple[Rule, ...]
    shadowed: tuple[Rule, ...]
    warnings: tuple[str, ...] = ()


def effective_rules(own: Sequence[Rule]) -> RuleSet:
    """
    Own rules first, then the default ones. A rule without `fallthrough: true` shuts out later
    ones of its type; unless it says `fallthrough: false`, that is worth a warning.
    """
    complete: dict[str, Rule] = {}
    kept, shadowed, warnings = [], [], []
    for rule in (*own, *DEFAULT_RULES):
        closing = complete.get(rule.type)
        if closing is None:
            kept.append(rule)
            if rule.fallthrough is not True:
                complete[rule.type] = rule
            continue
        shadowed.append(rule)
        if closing.fallthrough is None:
            warnings.append(
                f"rules: the {rule.type} rule for {', '.join(rule.globs)} is ignored, because "
                f"the one for {', '.join(closing.globs)} comes before it; give that one "
                "`fallthrough: true` to use both, or `false` to silence this"
            )
    return RuleSet(tuple(kept), tuple(shadowed), tuple(warnings))


@cache
def glob_pattern(glob: str, *, globstar: bool) -> str:
    """
    The regular expression (of Python and of Go alike) for a glob, as the npm package
    `glob-to-regexp` makes it, which Wrangler uses: with `globstar` for paths of files, without
    it (`*` matches everything) for what stands in an `import`.
    """
    out = ["^"]
    position = 0
    while position < len(glob):
        character = glob[position]
        if character in "/$^+.()=!|?[]{},":
            out.append("\\" + character)
        elif character == "*":
            end = position
            while end < len(glob) and glob[end] == "*":
                end += 1
            before = glob[position - 1] if position else "/"
            after = glob[end] if end < len(glob) else "/"
            if not globstar:
                out.append(".*")
            elif end - position > 1 and before == after == "/":
                out.append("((?:[^/]*(?:/|$))*)")
                end += 1
            else:
                out.append("([^/]*)")
            position = end
            continue
        else:
            out.append(character)
        position += 1
    out.append("$")
    return "".join(out)


def matches(glob: str, text: str, *, globstar: bool) -> bool:
    """
    Whether the glob matches the whole text.
    """
    return re.fullmatch(glob_pattern(glob, globstar=globstar), text) is not None
