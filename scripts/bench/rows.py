"""A measured row: its sides, and what its figures are held to. A missed target is told."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Want:
    """A figure (rate, cpu, p50, p99, or a name of the row's own) and what is aimed at.

    Without a target it is only told.
    """

    what: str
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What a figure came to."""

    says: str
    value: float
    want: Want
    quartiles: tuple[float, float] | None = None  # of the kept pairs

    @property
    def passes(self) -> bool | None:
        """Whether it is what was aimed at; None when nothing was."""
        if self.want.least is not None:
            return self.value >= self.want.least
        if self.want.most is not None:
            return self.value <= self.want.most
        return None


@dataclass(frozen=True)
class Side:
    """One server, as one line. None: this row does not measure that."""

    rate: float | None = None
    cpu_us: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    more: dict[str, float] = field(default_factory=dict)  # what only this row has, with its unit


@dataclass(frozen=True)
class Row:
    """A measured row."""

    name: str
    sides: dict[str, Side]
    verdicts: tuple[Verdict, ...]
    kept: int
    measured: int
    foreign: float  # share of the machine that others used
    note: str = ""


@dataclass(frozen=True)
class Failed:
    """A family of rows that could not be measured, and why."""

    family: str
    reason: str
