"""What came of holding what a rail says it has against the books."""

from dataclasses import dataclass

from db.audit import Finding


@dataclass(frozen=True, slots=True)
class Comparison:
    """One rail, compared."""

    said: str
    is_done: bool  # False: the rail did not tell, or the books did not stand still
    finding: Finding | None = None
    beyond: int | None = None  # what it has beyond the books just now, in its smallest unit
