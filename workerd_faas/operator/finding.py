"""What an examination finds."""

import enum
from collections.abc import Sequence

import attrs


class Level(enum.Enum):
    """
    How bad a finding is.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@attrs.frozen
class Finding:
    """
    One thing that was looked at.

    Attributes:
        subject: What was looked at, a few words.
        level: How it is.
        detail: What was found, and if it is not right, what would be.
    """

    subject: str
    level: Level
    detail: str

    def as_json(self) -> dict[str, str]:
        """
        For `--json`.
        """
        return {"subject": self.subject, "level": self.level.value, "detail": self.detail}


def ok(subject: str, detail: str) -> Finding:
    """
    It is as it should be.
    """
    return Finding(subject, Level.OK, detail)


def warning(subject: str, detail: str) -> Finding:
    """
    The daemon works, but somebody should know.
    """
    return Finding(subject, Level.WARNING, detail)


def failed(subject: str, detail: str) -> Finding:
    """
    The daemon will not work, or not all of it.
    """
    return Finding(subject, Level.FAILED, detail)


def table(findings: Sequence[Finding]) -> str:
    """
    The findings, a line each.
    """
    width = max((len(finding.subject) for finding in findings), default=0)
    return "\n".join(
        f"{finding.level.value:<7}  {finding.subject:<{width}}  {finding.detail}"
        for finding in findings
    )
