"""The measured rows, as a table for people and as JSON for machines."""

import os
import platform
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from .load import CONNECTIONS
from .slices import DISTURBED, SLICE_S, Row, Side


def show(rows: list[Row]) -> None:
    """Print the table: for each row ours, the ceiling, and the ratio."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "rate/s", "CPU µs", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, style="bold")
        table.add_row("  Boltwork", *_side(row.ours))
        table.add_row("  ceiling", *_side(row.ceiling))
        table.add_row("  ratio", f"{row.rate_ratio:.2f}", f"{row.cpu_ratio:.2f}")
    console = Console(highlight=False)
    console.print(table)
    for row in rows:
        low, high = row.rate_ratio_quartiles
        console.print(
            f"{'PASS' if row.passes else 'MISS'}  {row.name}: {row.rate_ratio:.2f} of the ceiling"
            f" (half of the pairs {low:.2f} to {high:.2f}), target {row.rate_target};"
            f" {row.kept} of {row.measured} pairs kept,"
            f" {row.foreign:.0%} of the machine was others'",
            soft_wrap=True,
        )
    if any(row.foreign > DISTURBED for row in rows):
        console.print("The machine was never quiet: trust the ratios, and not the rates.")


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Return everything that was measured, as plain values."""
    return {
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
        },
        "connections": CONNECTIONS,
        "slice_s": SLICE_S,
        "disturbed": DISTURBED,
        "rows": [asdict(row) | {"passes": row.passes} for row in rows],
    }


def _side(side: Side) -> tuple[str, str, str, str]:
    return (
        f"{side.rate:.0f}",
        f"{side.cpu_us:.0f}",
        f"{side.p50_ms:.1f}",
        f"{side.p99_ms:.1f}",
    )
