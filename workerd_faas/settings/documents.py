"""
The table of settings as documentation.

`python -m workerd_faas.settings.documents` in a checkout writes `config/env.example` and the table
in `docs/operators.md` anew; `tests/house` holds them equal to the table.
"""

import textwrap
from itertools import groupby
from pathlib import Path
from typing import Final

from workerd_faas.settings.table import SETTINGS

BEGIN: Final = "<!-- settings: written by python -m workerd_faas.settings.documents -->"
END: Final = "<!-- end of settings -->"

_HEAD: Final = """\
# Settings of workerd-faas: every one, with its default or an example.
# For systemd: /etc/workerd-faas/env (see config/workerd-faas.service).
# For Docker: env_file in compose.yaml. By hand: .env in the working directory, or --env-file.
# What the environment already says counts before this file. `workerd-faas check-config` checks it.
"""


def env_example() -> str:
    """
    An env file with what is required filled in by example, the rest commented out.
    """
    lines = [_HEAD]
    for group, settings in groupby(SETTINGS, key=lambda setting: setting.group):
        lines.append(f"\n# {group}\n")
        for setting in settings:
            lines.append("")
            comment = f"{setting.meaning} (default: {setting.default_shown})."
            lines += textwrap.wrap(comment, 98, initial_indent="# ", subsequent_indent="# ")
            if setting.secret:
                lines.append(f"# {setting.name} itself: {setting.example}")
                stem = setting.name.lower().replace("_", "-")
                off = "" if setting.required else "#"
                lines.append(f"{off}{setting.file_name}=/etc/workerd-faas/{stem}")
            elif setting.required:
                lines.append(f"{setting.name}={setting.example}")
            else:
                lines.append(f"#{setting.name}={setting.example}")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def markdown_table() -> str:
    """
    The settings as tables, one a group.
    """
    lines: list[str] = []
    for group, settings in groupby(SETTINGS, key=lambda setting: setting.group):
        lines += ["", f"### {group}", "", "| setting | meaning | default |", "| --- | --- | --- |"]
        for setting in settings:
            names = f"`{setting.name}`"
            if setting.secret:
                names += f" or `{setting.file_name}`"
            lines.append(f"| {names} | {setting.meaning}. | {setting.default_shown} |")
    return "\n".join([*lines, ""])


def with_table(document: str) -> str:
    """
    `document` with what stands between `BEGIN` and `END` replaced by the table.
    """
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{markdown_table()}\n{END}{after}"


def main() -> None:
    """
    Write both documents anew.
    """
    Path("config/env.example").write_text(env_example(), encoding="utf-8")
    operators = Path("docs/operators.md")
    operators.write_text(with_table(operators.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
