"""What the doctor says of a part of an installation: how it is, and how to mend it."""

from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console


class Level(StrEnum):
    """How a part is: a warning is well enough to run on."""

    OK = "ok"
    WARN = "warn"
    WRONG = "wrong"


_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.WRONG: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, and how it is."""

    part: str
    level: Level
    said: str
    mend: str = ""

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        return f"{self.level:5} {self.part}: {self.said}" + (
            f" -> {self.mend}" if self.mend else ""
        )

    @property
    def told(self) -> dict[str, str]:
        """The finding as JSON."""
        told = {"part": self.part, "level": self.level.value, "said": self.said}
        return told | ({"next": self.mend} if self.mend else {})


def ok(part: str, said: str) -> Finding:
    """Return a part that is well."""
    return Finding(part, Level.OK, said)


def warn(part: str, said: str, mend: str) -> Finding:
    """Return a part that is well enough to run on."""
    return Finding(part, Level.WARN, said, mend)


def wrong(part: str, said: str, mend: str) -> Finding:
    """Return a part that must be mended."""
    return Finding(part, Level.WRONG, said, mend)


def is_wrong(findings: list[Finding]) -> bool:
    """Say whether anything must be mended."""
    return any(finding.level is Level.WRONG for finding in findings)


def show(findings: list[Finding]) -> None:
    """Print the findings, a line each."""
    console = Console(highlight=False)
    for finding in findings:
        style = _STYLES[finding.level]
        console.print(finding.line, style=style, soft_wrap=True, markup=False)
    count = sum(finding.level is Level.WRONG for finding in findings)
    print(f"{count} wrong." if count else "Nothing is wrong.")
