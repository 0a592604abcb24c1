"""The measured rows, as a table for people and as JSON for machines."""

import os
import platform
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from .rows import Failed, Row, Side, Verdict
from .slices import DISTURBED, Pace

WORDS = {True: "PASS", False: "MISS", None: "    "}


def show(rows: list[Row], failed: list[Failed]) -> None:
    """Print the table: for each row its sides, and each figure beside its target."""
    console = Console(highlight=False, soft_wrap=True, width=120)
    table = Table(box=None, pad_edge=False)
    for column in ("", "rate/s", "CPU µs", "p50 ms", "p99 ms", ""):
        table.add_column(column, justify="right" if "s" in column else "left", no_wrap=True)
    for row in rows:
        table.add_row(row.name, style="bold")
        for name, side in row.sides.items():
            table.add_row(f"  {name}", *_figures(side))
    console.print(table)
    console.print()
    for row in rows:
        for verdict in row.verdicts:
            console.print(f"{WORDS[verdict.passes]}  {row.name}: {_sentence(verdict)}")
        console.print(
            f"      {row.kept} of {row.measured} kept,"
            f" {row.foreign:.0%} of the machine was others'" + (f". {row.note}" if row.note else "")
        )
    for each in failed:
        console.print(f"NOT MEASURED  {each.family}: {each.reason}")
    if any(row.foreign > DISTURBED for row in rows):
        console.print("The machine was not quiet: trust the ratios, and not the rates.")


def as_json(rows: list[Row], failed: list[Failed], pace: Pace) -> dict[str, Any]:
    """Return everything that was measured, as plain values."""
    return {
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
        },
        "pace": asdict(pace),
        "disturbed": DISTURBED,
        "rows": [_plain(row) for row in rows],
        "not_measured": [asdict(each) for each in failed],
    }


def _plain(row: Row) -> dict[str, Any]:
    verdicts = [asdict(each) | {"passes": each.passes} for each in row.verdicts]
    return asdict(row) | {"verdicts": verdicts}


def _sentence(verdict: Verdict) -> str:
    said = f"{verdict.says} {_number(verdict.value)}"
    if verdict.quartiles is not None:
        said += f" (half of the pairs {' to '.join(map(_number, verdict.quartiles))})"
    for sign, aim in (("≥", verdict.want.least), ("≤", verdict.want.most)):
        if aim is not None:
            said += f", target {sign} {aim:g}"
    return said


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _figures(side: Side) -> tuple[str, ...]:
    rate = "" if side.rate is None else f"{side.rate:.{0 if side.rate >= 100 else 1}f}"
    cpu = "" if side.cpu_us is None else f"{side.cpu_us:.0f}"
    times = ["" if each is None else f"{each:.1f}" for each in (side.p50_ms, side.p99_ms)]
    return rate, cpu, *times, "  ".join(f"{key} {_number(n)}" for key, n in side.more.items())
