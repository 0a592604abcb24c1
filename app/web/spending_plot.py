"""What an account has spent, as SVG: a bar a day, in parts by what it was spent on.

It holds shapes and numbers only; colours are the style sheet's. A table beside it says the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup, escape

from app.trade.histories import History
from app.web import words
from app.web.plot import BOTTOM, HEIGHT, TOP, WIDTH, ceiling
from statemachine.entries import Asset

MOST_TOOLS = 5  # that have a colour of their own
OTHERS = "others"
_LEFT, _RIGHT = 20, 74  # the scale is on the right: that is seen first where not all has room
_LABELS = 10  # days that are named below the bars


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in one asset: by the day, in the order of the tools."""

    asset: Asset
    total: int
    tools: Sequence[tuple[str, int]]  # the dearest first
    days: Sequence[tuple[date, dict[str, int]]]

    @property
    def unit(self) -> str:
        """What it is counted in."""
        return "sats" if self.asset is Asset.MSAT else "USDC"

    @property
    def named(self) -> list[str]:
        """The tools that have a colour of their own, and the others where there are more."""
        names = [tool for tool, _ in self.tools]
        return names if len(names) <= MOST_TOOLS else [*names[: MOST_TOOLS - 1], OTHERS]


def spent_in(history: History, asset: Asset) -> Spent:
    """Return what was spent in one asset, over every day of a time."""
    days: dict[date, dict[str, int]] = {day: {} for day in history.dates}
    tools: dict[str, int] = {}
    for row in history.tools:
        if row.asset is asset:
            days[row.day][row.tool] = days[row.day].get(row.tool, 0) + row.amount
            tools[row.tool] = tools.get(row.tool, 0) + row.amount
    dearest = sorted(tools.items(), key=lambda tool: (-tool[1], tool[0]))
    return Spent(asset, sum(tools.values()), dearest, list(days.items()))


def plot(spent: Spent) -> Markup:
    """Return the plot."""
    most = max((sum(parts.values()) for _, parts in spent.days), default=0)
    top, left, right = ceiling(most), _LEFT, WIDTH - _RIGHT
    inner_width, inner_height = right - left, HEIGHT - TOP - BOTTOM
    slot = inner_width / max(1, len(spent.days))

    def y(value: int) -> float:
        return round(TOP + inner_height * (1 - value / top), 1)

    shapes = []
    for part in range(5):
        value = top * part // 4
        label = words.in_asset(value, spent.asset)
        shapes.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text x="{right + 8}" y="{y(value) + 4}">{escape(label)}</text>'
        )
    every = max(1, -(-len(spent.days) // _LABELS))
    for number, (day, parts) in enumerate(spent.days):
        x, base = left + number * slot, 0
        for place, value in _stacked(spent, parts):
            shapes.append(
                f'<rect class="tool-{place}" x="{x + slot * 0.15:.1f}" width="{slot * 0.7:.1f}"'
                f' y="{y(base + value)}" height="{round(y(base) - y(base + value), 1)}"/>'
            )
            base += value
        if number % every == 0:
            shapes.append(
                f'<text x="{x + slot / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
                f"{escape(f'{day.day} {day:%b}')}</text>"
            )
    opening = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
    return Markup(opening + "".join(shapes) + "</svg>")


def _stacked(spent: Spent, parts: dict[str, int]) -> list[tuple[int, int]]:
    """Return the parts of one bar from below: which colour, and how much."""
    names = spent.named
    stacked = [(place, parts.get(name, 0)) for place, name in enumerate(names) if name != OTHERS]
    others = sum(value for tool, value in parts.items() if tool not in names)
    if others:
        stacked.append((len(names) - 1, others))
    return [(place, value) for place, value in stacked if value]
