"""User codes of the device flow (RFC 8628 section 6.1): easy to read out and to type."""

import re
from typing import Final

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels, so that no words come up, and without letters that look like digits."""

LENGTH: Final = 8
ENTROPY_BYTES: Final = 16


def write_user_code(entropy: bytes) -> str:
    """
    A code of `LENGTH` letters.

    Args:
        entropy: `ENTROPY_BYTES` bytes that nobody can guess: enough for no letter to be likelier.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a user code takes {ENTROPY_BYTES} bytes of entropy")
    number, letters = int.from_bytes(entropy, "big"), []
    for _ in range(LENGTH):
        number, remainder = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[remainder])
    return "".join(letters)


def read_user_code(text: str) -> str | None:
    """
    The code that somebody typed, in either case and with whatever between its letters; None if it
    cannot be one.
    """
    code = re.sub(r"[^A-Z]", "", text.upper()) if len(text) <= 4 * LENGTH else ""
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else None


def shown_user_code(code: str) -> str:
    """
    With a dash in the middle.
    """
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"
