"""Reading an upload."""

import json
from typing import Any

import pytest

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.model import Binding, BindingKind, Module, ModuleKind
from workerd_faas.usecases.upload import (
    Upload,
    check_env_size,
    merge_bindings,
    read_upload,
)

ESM = "application/javascript+module"
LIMITS = UploadLimits(code=100, env=100, modules=5)


def read(*modules: tuple[str, str | None, bytes], **metadata: Any) -> Upload:
    """
    An upload of these modules whose main one is `index.js` unless told.
    """
    document = {"main_module": "index.js", **metadata}
    return read_upload([("metadata", None, json.dumps(document).encode()), *modules], LIMITS)


def problem(*modules: tuple[str, str | None, bytes], **metadata: Any) -> Problem:
    """
    What reading ends in.
    """
    with pytest.raises(Problem) as caught:
        read(*modules, **metadata)
    return caught.value


INDEX = ("index.js", ESM, b"export default {}")


def test_modules_keep_kind_and_bytes() -> None:
    """
    Every kind comes through by its content type, with its bytes, empty ones too.
    """
    upload = read(
        INDEX,
        ("./0a-x.wasm", "application/wasm", b"\0asm"),
        ("c.cjs", "application/javascript", b"x"),
        ("t", "text/plain", b""),
        ("d/e.bin", "application/octet-stream", bytes(20)),
        main_module="./index.js",
    )
    assert upload.metadata.main_module == "index.js"
    assert [(m.name, m.kind) for m in upload.modules] == [
        ("index.js", ModuleKind.ESM),
        ("0a-x.wasm", ModuleKind.WASM),
        ("c.cjs", ModuleKind.COMMONJS),
        ("t", ModuleKind.TEXT),
        ("d/e.bin", ModuleKind.DATA),
    ]
    assert upload.modules[1] == Module(name="0a-x.wasm", kind=ModuleKind.WASM, content=b"\0asm")


def test_the_extension_speaks_where_the_content_type_is_missing() -> None:
    """
    A part without a content type is what its extension says.
    """
    upload = read(("index.js", None, b""), ("a.SQL", None, b""), ("b.map", None, b""))
    assert [m.kind for m in upload.modules] == [
        ModuleKind.ESM,
        ModuleKind.TEXT,
        ModuleKind.SOURCE_MAP,
    ]


def test_a_part_that_says_nothing_is_refused() -> None:
    """
    Neither content type nor a telling extension: refused with what to use.
    """
    assert "application/javascript+module" in problem(INDEX, ("what", None, b"")).message
    assert "'image/png'" in problem(INDEX, ("a.png", "image/png", b"")).message


def test_two_spellings_of_one_path_are_refused() -> None:
    """
    `./a.js` and `a.js` are one module, so sending both is an error that names both.
    """
    found = problem(INDEX, ("a.js", ESM, b"1"), ("./a.js", ESM, b"2"))
    assert found.kind is Kind.INVALID_MODULE
    assert "'a.js'" in found.message
    assert "'./a.js'" in found.message


def test_two_spellings_of_unicode_are_one_name() -> None:
    """
    A composed and a decomposed letter are refused as one path, and told apart in the message.
    """
    found = problem(INDEX, ("caf\u00e9.js", ESM, b""), ("cafe\u0301.js", ESM, b""))
    assert found.kind is Kind.INVALID_MODULE
    assert "'caf\\xe9.js' and 'cafe\\u0301.js'" in found.message


def test_a_missing_main_module_is_an_invalid_script() -> None:
    """
    The main module must be among the parts.
    """
    found = problem(INDEX, main_module="other.js")
    assert found.kind is Kind.INVALID_SCRIPT
    assert 'No such module "other.js"' in found.message


def test_a_main_module_of_another_kind_is_refused() -> None:
    """
    CommonJS, data and Python cannot be the main module.
    """
    assert problem(("index.js", "application/javascript", b"")).kind is Kind.INVALID_SCRIPT
    assert problem(("index.js", "application/octet-stream", b"")).kind is Kind.INVALID_SCRIPT
    assert problem(("index.js", "text/x-python", b"")).kind is Kind.UNSUPPORTED


def test_the_flag_of_python_workers_is_refused_by_what_it_means() -> None:
    """
    Also with a main module in JavaScript, for which workerd has an internal error only.
    """
    for flag in ("python_workers", "python_workers_20250116"):
        found = problem(INDEX, compatibility_flags=[flag])
        assert found.kind is Kind.UNSUPPORTED
        assert "Python Workers" in found.message


def test_metadata_must_be_there_and_is_no_module() -> None:
    """
    An upload without a metadata part is refused; a module called metadata.json is a module.
    """
    with pytest.raises(Problem, match="no part named 'metadata'"):
        read_upload([INDEX], LIMITS)
    upload = read(INDEX, ("metadata.json", "application/json", b'{"main_module":"evil.js"}'))
    assert upload.metadata.main_module == "index.js"


def test_sizes_and_counts_are_bounded() -> None:
    """
    Too much code, too large source maps and too many modules are refused with the numbers.
    """
    found = problem(INDEX, ("b", "application/octet-stream", bytes(90)))
    assert found.kind is Kind.SCRIPT_TOO_LARGE
    assert "107 bytes; 100 are allowed" in found.message
    assert problem(INDEX, ("i.map", None, bytes(101))).kind is Kind.SCRIPT_TOO_LARGE
    assert read(INDEX, ("i.map", None, bytes(100))).size == len(INDEX[2])
    many = [(f"m{n}.js", ESM, b"") for n in range(5)]
    assert "6 modules" in problem(INDEX, *many).message


def binding(name: str, value: Any, kind: BindingKind = BindingKind.PLAIN_TEXT) -> Binding:
    """
    A binding, plain text unless told.
    """
    return Binding(name=name, kind=kind, value=value)


def test_inherited_and_kept_bindings_come_from_the_newest_version() -> None:
    """
    `inherit` takes one over, `keep_bindings` all of a kind, and what is sent wins.
    """
    newest = [binding("A", "old"), binding("B", "b"), binding("C", 1, BindingKind.JSON)]
    upload = read(
        INDEX,
        bindings=[{"name": "A", "text": "new"}, {"name": "C", "type": "inherit"}],
        keep_bindings=["plain_text"],
    )
    assert merge_bindings(upload.metadata, newest) == (
        binding("A", "new"),
        binding("C", 1, BindingKind.JSON),
        binding("B", "b"),
    )


def test_inheriting_what_is_not_there_is_an_error() -> None:
    """
    The message is the one that Wrangler understands.
    """
    upload = read(INDEX, bindings=[{"name": "GONE", "type": "inherit"}])
    with pytest.raises(Problem) as caught:
        merge_bindings(upload.metadata, [])
    assert caught.value.kind is Kind.INHERIT_MISSING
    assert caught.value.message == "inherit binding 'GONE' is invalid"


def test_env_is_bounded() -> None:
    """
    More than the loader takes in `env` is refused.
    """
    check_env_size([binding("A", "x" * 80)], LIMITS)
    with pytest.raises(Problem) as caught:
        check_env_size([binding("A", "x" * 100)], LIMITS)
    assert caught.value.kind is Kind.SCRIPT_TOO_LARGE
