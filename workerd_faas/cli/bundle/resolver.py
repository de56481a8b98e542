"""What imports are, as Wrangler decides it: aliases, modules by rule, built-in modules."""

import hashlib
import os.path
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.cli.bundle.nodejs import BUILTINS, NodeMode
from workerd_faas.cli.bundle.service import Import, Resolution, Resolved
from workerd_faas.cli.config.rules import Rule, RuleSet, glob_pattern, matches
from workerd_faas.domain.model import Module

_SHIM: Final = "wrkst-node"
_MODULE: Final = "wrkst-module"
_RUNTIME: Final = ("cloudflare:", "workerd:")


def _escaped(text: str) -> str:
    """
    A literal in Go's regular expressions, where only punctuation may be escaped.
    """
    return re.sub(r"[-.^$*+?{}()\[\]|\\]", r"\\\g<0>", text)


@attrs.define(kw_only=True)
class Resolver:
    """
    The plugin of one build.

    Attributes:
        root: The project.
        additional: Modules found by rule before the build, by absolute path.
        modules: Modules that imports have led to.
        node_imports: Built-in modules that are imported although no flag allows it, with the
            files that do.
    """

    root: Path
    rules: RuleSet
    mode: NodeMode
    alias: Mapping[str, str]
    preserve_file_names: bool = False
    additional: Mapping[str, Module] = attrs.Factory(dict)
    modules: list[Module] = attrs.Factory(list)
    node_imports: dict[str, set[str]] = attrs.Factory(dict)
    namespace: str = _SHIM
    filter: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        patterns = [f"^{_escaped(name)}$" for name in self.alias]
        for rule in (*self.rules.rules, *self.rules.shadowed):
            patterns += [glob_pattern(glob, globstar=False) for glob in rule.globs]
        patterns.append("^(node|cloudflare|workerd):")
        if self.mode is NodeMode.FULL:
            patterns.append(f"^({'|'.join(sorted(map(_escaped, BUILTINS)))})$")
        self.filter = "|".join(patterns)

    def contents(self, path: str) -> str:
        """
        A CommonJS module that stands for a built-in one, because an ES module cannot `require`.
        """
        return f'import builtin from "{path}"; module.exports = builtin;'

    def resolve(self, wanted: Import) -> Resolution:
        """
        Say what an import is.
        """
        if wanted.kind == "entry-point":
            return None
        if wanted.path in self.alias:
            return (yield from self._aliased(wanted))
        rule = self._rule(wanted.path, self.rules.rules)
        if rule is not None:
            found = yield from self._module(wanted, rule)
            if found is not None:
                return found
        elif self._rule(wanted.path, self.rules.shadowed) is not None:
            return Resolved(
                error=f"{wanted.path} matches a module rule that is ignored, because an earlier "
                "rule of the same type has no `fallthrough: true`"
            )
        if wanted.path.startswith(_RUNTIME):
            return Resolved(path=wanted.path, external=True)
        return (yield from self._builtin(wanted))

    def _rule(self, path: str, rules: tuple[Rule, ...]) -> Rule | None:
        return next(
            (
                rule
                for rule in rules
                if any(matches(glob, path, globstar=False) for glob in rule.globs)
            ),
            None,
        )

    def _aliased(self, wanted: Import) -> Resolution:
        target = self.alias[wanted.path]
        found = yield attrs.evolve(wanted, path=target, resolve_dir=str(self.root))
        if not found.path:
            return Resolved(error=f"the alias of {wanted.path} leads to {target}: not found")
        return Resolved(path=found.path, external=found.external)

    def _module(self, wanted: Import, rule: Rule) -> Resolution:
        cleaned = wanted.path.partition("?")[0]
        path = os.path.normpath(Path(wanted.resolve_dir) / cleaned)
        if path in self.additional:
            return Resolved(
                path=f"./{self.additional[path].name}", namespace=_MODULE, external=True
            )
        if rule.is_javascript:
            return None
        found = yield attrs.evolve(wanted, path=cleaned)
        try:
            content = Path(found.path or path).read_bytes()
        except OSError as error:
            return Resolved(error=f"{wanted.path} cannot be read: {error.strerror}")
        module = Module(name=self._name(cleaned, content), kind=rule.kind, content=content)
        self.modules.append(module)
        return Resolved(path=module.name, namespace=_MODULE, external=True)

    def _name(self, cleaned: str, content: bytes) -> str:
        # The name is the content's; SHA-1 because Wrangler's names are made so.
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        path = Path(cleaned)
        if not self.preserve_file_names:
            return f"./{digest}-{path.name}"
        if path.is_absolute():
            return f"./{digest}/{path.name}"
        return cleaned

    def _builtin(self, wanted: Import) -> Resolution:
        bare = wanted.path.removeprefix("node:")
        prefixed = f"node:{bare}"
        if self.mode is NodeMode.FULL and (bare in BUILTINS or wanted.path == prefixed):
            if wanted.kind == "require-call":
                return Resolved(path=prefixed, namespace=_SHIM)
            return Resolved(path=prefixed, external=True)
        if wanted.path != prefixed:
            return None
        if self.mode is NodeMode.ASYNC_LOCAL_STORAGE and bare == "async_hooks":
            return Resolved(path=prefixed, external=True)
        found = yield wanted
        if found.path:
            return Resolved(path=found.path, external=found.external)
        if self.mode is not NodeMode.PREFIXED:
            self.node_imports.setdefault(wanted.path, set()).add(wanted.importer)
        return Resolved(path=prefixed, external=True)
