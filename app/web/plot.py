"""A plot as SVG, made on the server: bars of how jobs ended in each hour, a mark at how many began.

It holds shapes and numbers only; colours are the style sheet's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup, escape

from db.overview import Tally

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 28
ENDS = ("complete", "rejected", "failed", "unpaid")
STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in one hour."""

    at: datetime
    counts: dict[str, int]

    @property
    def ended(self) -> int:
        """How many came to an end."""
        return sum(self.counts.get(end, 0) for end in ENDS)


def hours_of(rows: Sequence[Tally], first: datetime, hours: int) -> list[Hour]:
    """Return every hour, also those in which nothing happened."""
    counted: dict[datetime, dict[str, int]] = {}
    for row in rows:
        counted.setdefault(row.hour, {})[row.what] = row.n
    every = [first + timedelta(hours=number) for number in range(hours)]
    return [Hour(at, counted.get(at, {})) for at in every]


def plot(hours: Sequence[Hour]) -> Markup:
    """Return the plot. What it shows stands in a table beside it, for whoever can't see it."""
    top = ceiling(max([max(h.ended, h.counts.get("begun", 0)) for h in hours], default=0))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    slot = inner_width / max(1, len(hours))

    def y(count: float) -> float:
        return round(TOP + inner_height * (1 - count / top), 1)

    shapes = []
    for part in range(5):
        count = top * part // 4
        if top % 4 and part not in (0, 4):
            continue
        shapes.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(count)}" y2="{y(count)}"/>'
            f'<text x="{LEFT - 8}" y="{y(count) + 4}" text-anchor="end">{count:,}</text>'
        )
    marks = []
    for number, hour in enumerate(hours):
        x, base = LEFT + number * slot, 0
        for end in ENDS:
            count = hour.counts.get(end, 0)
            if count:
                shapes.append(
                    f'<rect class="{end}" x="{x + slot * 0.15:.1f}" width="{slot * 0.7:.1f}"'
                    f' y="{y(base + count)}" height="{round(y(base) - y(base + count), 1)}"/>'
                )
            base += count
        if begun := hour.counts.get("begun"):
            marks.append(f"M{x + slot * 0.05:.1f} {y(begun)}h{slot * 0.9:.1f}")
        if hour.at.hour % 6 == 0:
            label = hour.at.strftime("%H:%M" if hour.at.hour else "%d %b")
            shapes.append(
                f'<text x="{x + slot / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )
    shapes.append(f'<path class="begun" d="{"".join(marks)}"/>')
    opening = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
    return Markup(opening + "".join(shapes) + "</svg>")


def ceiling(most: int) -> int:
    """Return a round number that nothing goes beyond, and that quarters well."""
    size = 1
    while True:
        for step in STEPS:
            if 4 * step * size >= most:
                return 4 * step * size
        size *= 10
