"""Reading an upload: the parts of the form become code and what is said about it. Pure."""

import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.model import PARTS, Binding, Module, ModuleKind
from workerd_faas.domain.modules import normalise_module_name
from workerd_faas.wire.content_types import CONTENT_TYPE_OF, kind_of
from workerd_faas.wire.metadata import Metadata, parse_metadata

METADATA_PART: Final = "metadata"


@attrs.frozen(kw_only=True)
class Upload:
    """
    A checked upload. `modules` includes source maps; `metadata.main_module` is normalised, and
    empty when there is a site only.
    """

    metadata: Metadata
    modules: tuple[Module, ...]

    @property
    def size(self) -> int:
        """
        Bytes of code, source maps not counted.
        """
        return sum(len(m.content) for m in self.modules if m.kind is not ModuleKind.SOURCE_MAP)


def read_upload(parts: Sequence[tuple[str, str | None, bytes]], limits: UploadLimits) -> Upload:
    """
    Args:
        parts: Name, content type and content of each part of the form; one is `metadata`.

    Raises:
        Problem: saying which part is wrong and what would be right.
    """
    documents = [content for name, _, content in parts if name == METADATA_PART]
    if not documents:
        raise Problem(
            kind=Kind.INVALID_METADATA,
            message="The upload has no part named 'metadata' with the JSON that describes it.",
        )
    metadata = parse_metadata(
        documents[0],
        max_bytes=limits.metadata,
        max_depth=limits.metadata_depth,
        max_flags=limits.flags,
    )
    kinds = _kinds_of_parts(metadata.bindings)
    modules = _modules([part for part in parts if part[0] != METADATA_PART], kinds, limits)
    if not metadata.main_module:
        _check_no_modules(modules)
        return Upload(metadata=metadata, modules=())
    main = normalise_module_name(metadata.main_module)
    _check_main(main, {module.name: module for module in modules}, metadata.is_script)
    if any(flag.startswith("python_workers") for flag in metadata.compatibility_flags):
        raise _no_python()
    _check_parts(metadata.bindings, {module.name for module in modules})
    return Upload(metadata=attrs.evolve(metadata, main_module=main), modules=modules)


def merge_bindings(metadata: Metadata, newest: Sequence[Binding]) -> tuple[Binding, ...]:
    """
    The bindings of the new version: those sent, and those taken over from the newest version.

    Raises:
        Problem: `INHERIT_MISSING` when one to inherit is not there.
    """
    sent = {binding.name for binding in metadata.bindings} | set(metadata.inherit)
    by_name: Mapping[str, Binding] = {binding.name: binding for binding in newest}
    taken = []
    for name in metadata.inherit:
        if name not in by_name:
            raise Problem(kind=Kind.INHERIT_MISSING, message=f"inherit binding '{name}' is invalid")
        taken.append(by_name[name])
    kept = [b for b in newest if b.kind in metadata.keep and b.name not in sent]
    for binding in (*taken, *kept):
        if binding.kind in PARTS:
            raise Problem(
                kind=Kind.UNSUPPORTED,
                message=f"The binding {binding.name!r} is a part of the version before: send it "
                "again.",
            )
    return (*metadata.bindings, *taken, *kept)


def check_env_size(bindings: Sequence[Binding], limits: UploadLimits) -> None:
    """
    Raises:
        Problem: `SCRIPT_TOO_LARGE` when the bindings are more than a function can be given.
    """
    env = {binding.name: binding.value for binding in bindings}
    size = len(json.dumps(env, ensure_ascii=False).encode())
    if size > limits.env:
        raise Problem(
            kind=Kind.SCRIPT_TOO_LARGE,
            message=f"The bindings take {size} bytes; {limits.env} are allowed.",
        )


def _kinds_of_parts(bindings: Sequence[Binding]) -> Mapping[str, ModuleKind]:
    """
    What the modules are that bindings name, whatever their content types say.
    """
    kinds: dict[str, ModuleKind] = {}
    for binding in bindings:
        if binding.kind in PARTS:
            kind = PARTS[binding.kind]
            if kinds.setdefault(binding.value["part"], kind) is not kind:
                raise _part_problem(binding, "is bound as something else already")
    return kinds


def _check_parts(bindings: Sequence[Binding], modules: Collection[str]) -> None:
    for binding in bindings:
        if binding.kind in PARTS and binding.value["part"] not in modules:
            raise _part_problem(binding, "is not in the upload")


def _part_problem(binding: Binding, what: str) -> Problem:
    return Problem(
        kind=Kind.INVALID_METADATA,
        message=f"The part {binding.value['part'][:120]!r} of the binding {binding.name!r} {what}.",
    )


def _modules(
    parts: Sequence[tuple[str, str | None, bytes]],
    kinds: Mapping[str, ModuleKind],
    limits: UploadLimits,
) -> tuple[Module, ...]:
    if len(parts) > limits.modules:
        raise Problem(
            kind=Kind.SCRIPT_TOO_LARGE,
            message=f"The upload has {len(parts)} modules; {limits.modules} are allowed.",
        )
    spelled: dict[str, str] = {}
    modules = []
    for sent_name, content_type, content in parts:
        name = normalise_module_name(sent_name)
        # One name in two spellings of Unicode looks the same to people, and is one file on some
        # systems.
        composed = unicodedata.normalize("NFC", name)
        if composed in spelled:
            raise Problem(
                kind=Kind.INVALID_MODULE,
                message=f"The modules {spelled[composed]!a} and {sent_name!a} are the same path.",
            )
        spelled[composed] = sent_name
        kind = kinds.get(name) or _kind(name, content_type)
        modules.append(Module(name=name, kind=kind, content=content))
    _check_sizes(modules, limits)
    return tuple(modules)


def _kind(name: str, content_type: str | None) -> ModuleKind:
    kind = kind_of(name, content_type)
    if kind is None:
        what = (
            "has no content type and an extension that says nothing"
            if content_type is None
            else f"has the content type {content_type[:80]!r}"
        )
        known = ", ".join(CONTENT_TYPE_OF.values())
        raise Problem(
            kind=Kind.INVALID_MODULE, message=f"The module {name!r} {what}: use one of {known}."
        )
    return kind


def _check_sizes(modules: Sequence[Module], limits: UploadLimits) -> None:
    maps = sum(len(m.content) for m in modules if m.kind is ModuleKind.SOURCE_MAP)
    code = sum(len(m.content) for m in modules) - maps
    for what, size in (("code takes", code), ("source maps take", maps)):
        if size > limits.code:
            raise Problem(
                kind=Kind.SCRIPT_TOO_LARGE,
                message=f"The uploaded {what} {size} bytes; {limits.code} are allowed.",
            )


def _check_no_modules(modules: Sequence[Module]) -> None:
    if modules:
        raise Problem(
            kind=Kind.INVALID_METADATA,
            message=f"The upload has the module {modules[0].name!r}, but the metadata names no "
            "'main_module'.",
        )


def _check_main(main: str, modules: Mapping[str, Module], is_script: bool) -> None:
    module = modules.get(main)
    if module is None:
        raise Problem(
            kind=Kind.INVALID_SCRIPT,
            message=f'Uncaught Error: No such module "{main}".\n'
            f"  The metadata names it as the main module, but the upload has no such part.",
        )
    if module.kind in {ModuleKind.PYTHON, ModuleKind.PYTHON_REQUIREMENT}:
        raise _no_python()
    wanted = ModuleKind.COMMONJS if is_script else ModuleKind.ESM
    if module.kind is not wanted:
        what = "'body_part' names a script" if is_script else "it must be an ES module"
        raise Problem(
            kind=Kind.INVALID_SCRIPT,
            message=f"The main module {main!r} was sent as {CONTENT_TYPE_OF[module.kind]}; "
            f"{what}: {CONTENT_TYPE_OF[wanted]}.",
        )


def _no_python() -> Problem:
    return Problem(
        kind=Kind.UNSUPPORTED,
        message="Python Workers need Pyodide, which is not part of the workerd binary: "
        "they are not supported yet.",
    )
