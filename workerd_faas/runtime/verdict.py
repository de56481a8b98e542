"""What the upload check makes of a check cell's answer or end. Pure."""

import json
import re
from typing import Final
from urllib.parse import unquote

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import CheckReport, Code, ModuleKind
from workerd_faas.domain.modules import RESERVED_PREFIX
from workerd_faas.runtime.autopsy import MEMORY_WORDS
from workerd_faas.runtime.cell import Cause, Death

_MESSAGE_CHARACTERS: Final = 8000
_HANDLERS: Final = 500
_HANDLER_CHARACTERS: Final = 200

_MODULE_URL: Final = re.compile(r"file:///bundle/([^\s:()]*)")
_EXPERIMENTAL: Final = re.compile(r"The compatibility flag (\S+) is experimental")


def invalid(message: str) -> Problem:
    """
    The problem of code that does not load.
    """
    return Problem(kind=Kind.INVALID_SCRIPT, message=message)


def check_main_module(code: Code) -> None:
    """
    What can be said without loading anything.

    Raises:
        Problem: `INVALID_SCRIPT`: there is no main module, or it is neither an ES module nor a
            service-worker script (which is kept as a CommonJS module).
    """
    for module in code.modules:
        if module.name == code.main_module and module.kind is not ModuleKind.SOURCE_MAP:
            if module.kind in (ModuleKind.ESM, ModuleKind.COMMONJS):
                return
            raise invalid(f'Uncaught Error: The main module "{module.name}" is no ES module.')
    raise invalid(f'Uncaught Error: No such module "{code.main_module}".')


def report(body: bytes) -> CheckReport:
    """
    The report that `js/check.js` answered with. What it says of handlers comes from the uploaded
    code itself, so it is only held to a form.

    Raises:
        Problem: `INVALID_SCRIPT`, with what workerd said.
        ValueError: the answer is not one of `js/check.js`.
    """
    answer = json.loads(body)
    if "error" in answer:
        raise invalid(runtime_message(str(answer["error"])))
    handlers = _handlers(answer["handlers"])
    if not handlers:
        raise invalid("The uploaded script has no registered event handlers.")
    return CheckReport(handlers=handlers, startup_ms=int(answer["startup_ms"]))


def _handlers(text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list):
        raise invalid("The exports of the main module could not be listed.")
    short = [n for n in names if isinstance(n, str) and len(n) <= _HANDLER_CHARACTERS]
    return tuple(dict.fromkeys(short[:_HANDLERS]))


def runtime_message(text: str) -> str:
    """
    workerd's message without the lines that speak of our own module, and with modules by the names
    that they were uploaded under: from compatibility date 2026-11-17 on workerd has URLs for them.
    """
    text = text.removeprefix("Failed to start Worker:\n")
    text = _MODULE_URL.sub(lambda match: unquote(match[1]), text)
    experimental = _EXPERIMENTAL.match(text)
    if experimental is not None:
        return f"The compatibility flag {experimental[1]} is experimental: it is not offered here."
    lines = [line for line in text.split("\n") if RESERVED_PREFIX not in line]
    shown = "\n".join(lines).strip() or "The script does not load."
    return shown if len(shown) <= _MESSAGE_CHARACTERS else shown[:_MESSAGE_CHARACTERS] + "…"


def fatal(death: Death, seconds: float) -> Problem:
    """
    The problem of code that took its check cell with it.

    Args:
        seconds: The bound that `Cause.OVER_LIMIT` stands for.
    """
    if death.cause is Cause.OVER_LIMIT:
        return invalid(
            f"Script startup exceeded CPU time limit: it has {seconds:g} s to load its modules."
        )
    if any(MEMORY_WORDS.search(line) for line in death.last_words):
        return invalid("Script startup exceeded memory limit.")
    return invalid(f"Script startup crashed the runtime ({death.how}).")
