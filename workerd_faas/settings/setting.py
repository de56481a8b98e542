"""What one setting is."""

from collections.abc import Callable
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Setting:
    """
    One name that the daemon reads.

    Attributes:
        meaning: One sentence for an operator, without a full stop.
        read: Text to value; raises `ValueError` saying what would be right.
        default: The text that counts when none is given.
        dev_default: The same with `--dev`, where it differs.
        default_words: What happens without a value, where that is no fixed text.
        example: A value that is right.
        required: The daemon does not start without it, except with `--dev`.
        secret: Never shown, no option of its own, and `<name>_FILE` may name a file that holds it.
    """

    group: str
    name: str
    meaning: str
    read: Callable[[str], Any]
    example: str
    default: str | None = None
    dev_default: str | None = None
    default_words: str = ""
    required: bool = False
    secret: bool = False

    @property
    def file_name(self) -> str:
        """
        The name of the variant that names a file.
        """
        return f"{self.name}_FILE"

    @property
    def option(self) -> str:
        """
        The option of `twistd workerd-faas`, without dashes before it. Other users of the machine
        can see a command line, so that a secret has the option of its file variant only.
        """
        return (self.file_name if self.secret else self.name).lower().replace("_", "-")

    @property
    def variable(self) -> str:
        """
        The environment variable that `option` stands for.
        """
        return self.file_name if self.secret else self.name

    def default_for(self, dev: bool) -> str | None:
        """
        The text that counts when none is given.
        """
        return self.dev_default if dev and self.dev_default is not None else self.default

    @property
    def default_shown(self) -> str:
        """
        The default as documentation says it.
        """
        words = self.default_words or self.default or ("required" if self.required else "none")
        return words + (f"; with --dev: {self.dev_default}" if self.dev_default else "")
