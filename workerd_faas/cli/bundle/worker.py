"""What a bundler makes of a project: the modules of an upload."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from workerd_faas.cli.failure import project_failure
from workerd_faas.domain.model import Module, ModuleKind


@attrs.frozen(kw_only=True)
class Worker:
    """
    A built Worker.

    Attributes:
        main: The main module; a CommonJS module stands for a service-worker script.
        modules: All others but source maps.
        source_maps: Name of a module to its source map, whose sources are relative to the
            project. Used to name positions in error messages, uploaded if `upload_maps`.
        bundler: What made it, for people.
    """

    main: Module
    modules: tuple[Module, ...] = ()
    source_maps: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)
    upload_maps: bool = True
    bundler: str
    warnings: tuple[str, ...] = ()

    @property
    def main_key(self) -> str:
        """
        The key of the metadata that names the main module.
        """
        return "body_part" if self.main.kind is ModuleKind.COMMONJS else "main_module"

    def uploaded(self) -> tuple[Module, ...]:
        """
        Everything that is sent, the main module first.
        """
        maps = (
            Module(name=f"{name}.map", kind=ModuleKind.SOURCE_MAP, content=content)
            for name, content in sorted(self.source_maps.items())
        )
        return (self.main, *self.modules, *(maps if self.upload_maps else ()))

    def code(self) -> list[bytes]:
        """
        The contents that count as code.
        """
        return [self.main.content, *(module.content for module in self.modules)]


def distinct(modules: list[Module]) -> tuple[Module, ...]:
    """
    One module a name; of several the last, as in Wrangler.
    """
    return tuple({module.name: module for module in modules}.values())


def check_entry(main: Path | None, shown: str, *, must_exist: bool = True) -> Path:
    """
    The entry point, if it is one that we can deploy.

    Args:
        shown: What to call it.
        must_exist: False before a build command has run.

    Raises:
        Failure: there is none, or it is Python.
    """
    if main is None:
        raise project_failure(
            "There is no entry point.",
            hint='give one (`wrkst deploy src/index.ts`) or add "main": "src/index.ts" to '
            "wrangler.jsonc; `wrkst init` makes a new project",
        )
    if main.suffix == ".py":
        raise project_failure(
            f"{shown}: Python Workers are not supported.",
            hint="write the function in JavaScript or TypeScript, or compile it to WebAssembly",
        )
    if must_exist and not main.is_file():
        raise project_failure(f"The entry point {shown} does not exist.")
    return main
