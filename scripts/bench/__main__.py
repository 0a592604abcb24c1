"""Measures Boltwork beside a ceiling, in one run on one machine: `scripts/bench/run [--seconds N]
[--json FILE]`. A target that is missed is told, and is no failure: the exit code is 0.
"""

import argparse
import json
import tempfile
from pathlib import Path

from . import polls
from .slices import Row, compare
from .stand import Stand
from .table import as_json, show


def main() -> None:
    """Measure every row, print the table and, if asked, write it as JSON."""
    options = _options()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="boltwork-bench-") as folder:
        Path(folder).chmod(0o711)  # as root, Postgres is another user and must get in
        with Stand(Path(folder)) as stand:
            rows += [compare(pair, stand, options.seconds) for pair in polls.pairs(stand)]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(as_json(rows), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench/run", description=__doc__)
    parser.add_argument("--seconds", type=int, default=24, help="load for each row (24)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
