"""Measures Boltwork beside its ceilings and peers, in one run on one machine:
`scripts/bench/run [--only NAME…] [--seconds N] [--quick] [--json FILE]`. A target that is missed is
told, and is no failure: the exit code is 0, unless something could not be measured at all.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

from . import (
    accounts,
    batches,
    casts,
    creates,
    debits,
    growth,
    jobs,
    lent,
    logins,
    macaroons,
    months,
    notices,
    paid,
    polls,
    starts,
    streams,
)
from .rows import Failed, Row
from .slices import QUICK, Pace
from .stand import Stand
from .table import as_json, show

FAMILIES: dict[str, Callable[[Stand, Pace], Iterable[Row]]] = {
    "poll": polls.rows,
    "create": creates.rows,
    "paid": paid.rows,
    "debit": debits.rows,
    "macaroon": macaroons.rows,
    "growth": growth.rows,
    "jobs": jobs.rows,
    "stream": streams.rows,
    "batch": batches.rows,
    "lend": lent.rows,
    "notice": notices.rows,
    "login": logins.rows,
    "account": accounts.rows,
    "cast": casts.rows,
    "start": starts.rows,
    "months": months.rows,
}
AT_LENGTH = ("months",)  # takes much time and disk: measured where it is asked for by name


def main() -> None:
    """Measure what is asked for, print the table and, if asked, write it as JSON."""
    options = _options()
    pace = QUICK if options.quick else Pace()
    if options.seconds:
        pace = dataclasses.replace(pace, seconds=options.seconds)
    rows: list[Row] = []
    failed: list[Failed] = []
    with tempfile.TemporaryDirectory(prefix="boltwork-bench-") as folder:
        Path(folder).chmod(0o711)  # as root, Postgres is another user and must get in
        with Stand(Path(folder)) as stand:
            for family in options.only or [name for name in FAMILIES if name not in AT_LENGTH]:
                began = monotonic()
                try:
                    with stand.apart():
                        for row in FAMILIES[family](stand, pace):
                            rows.append(row)  # kept, even if the next one can't be measured
                except Exception as broken:  # the other families are measured all the same
                    failed.append(Failed(family, f"{type(broken).__name__}: {broken}"))
                print(f"{family}: {monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    show(rows, failed)
    if options.json:
        options.json.write_text(json.dumps(as_json(rows, failed, pace), indent=2) + "\n")
    sys.exit(1 if failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench/run", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=FAMILIES, metavar="NAME", help=f"of {', '.join(FAMILIES)}"
    )
    parser.add_argument("--seconds", type=float, help="load for each row (24; 1.2 with --quick)")
    parser.add_argument("--quick", action="store_true", help="every row for a moment")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
