"""`scripts/simulate`: live worlds, count what went wrong in them, and find what should not have.

Exits with 1 and the seed when an invariant of the books was broken.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import sqlalchemy
import structlog

from db.embedded import EmbeddedPostgres
from db.migrate import migrate
from tests.simulation.database import prepare
from tests.simulation.lent import world_of_lenders
from tests.simulation.model import Violation
from tests.simulation.weather import WITH_LENDERS
from tests.simulation.world import Report, World

# Counted, and nothing wrong with them.
NO_FAULTS = ("buyer: ", "maker: has an item", "database: another goes first")


def main() -> None:
    """Read the command line, and live."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="another seed, another history")
    parser.add_argument("--steps", type=int, default=20_000, help="how long a world has faults")
    parser.add_argument("--worlds", type=int, default=1, help="how many seeds, one after another")
    parser.add_argument(
        "--lenders", action="store_true", help="only who buys pictures, and who lends machines"
    )
    parser.add_argument("--trace", action="store_true", help="write every step to standard error")
    asked = parser.parse_args()
    first = asked.seed if asked.seed is not None else int(time.time())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory(prefix="boltwork-simulation-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "data", fast_for_tests=True) as cluster:
            template = cluster.start()
            migrate(template)
            prepare(template)
            for seed in range(first, first + asked.worlds):
                live(template, seed, asked.steps, trace=asked.trace, lenders=asked.lenders)


def live(template: str, seed: int, steps: int, *, trace: bool, lenders: bool) -> None:
    """Live one world on a database of its own, and print what it came to."""
    url = sqlalchemy.make_url(template)
    admin = url.set(database="postgres").render_as_string(hide_password=False)
    name = f"world_{seed}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.database}".encode())
    where = url.set(database=name).render_as_string(hide_password=False)
    if lenders:
        world = world_of_lenders(seed, where)
    else:
        world = World(seed, where, people=True, faults=WITH_LENDERS)
    if trace:
        world.tell = lambda line: print(line, file=sys.stderr)
    began_s = time.perf_counter()
    try:
        report = asyncio.run(world.live(steps))
    except Violation as wrong:
        words = f"--seed {seed} --steps {steps}{' --lenders' if lenders else ''}"
        print(f"{wrong}\n\nTo see it again: scripts/simulate {words}")
        sys.exit(1)
    show(report, time.perf_counter() - began_s)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def show(report: Report, took_s: float) -> None:
    """Print what a world came to."""
    print(
        f"seed {report.seed}: {report.steps} steps in {took_s:.1f} s,"
        f" {report.steps / took_s:.0f} a second, {report.lasted} of its"
        f" own; no violation; history {report.history:08x}"
    )
    print("  jobs: " + ", ".join(f"{n} {state}" for state, n in report.states.most_common()))
    print("  sessions: " + ", ".join(f"{n} {what}" for what, n in report.sessions.most_common()))
    print("  market: " + ", ".join(f"{n} {what}" for what, n in report.market.most_common()))
    print("  purge: " + ", ".join(f"{n} {what}" for what, n in report.purged.most_common()))
    in_usdc = {what: n for what, n in report.sums.items() if what.startswith("microUSDC")}
    sats = {what: n // 1_000 for what, n in report.sums.items() if what not in in_usdc}
    print("  sats: " + ", ".join(f"{n} {what}" for what, n in sats.items()))
    print("  USDC: " + ", ".join(f"{n} {what}" for what, n in in_usdc.items()))
    faults = sum(n for fault, n in report.faults.items() if not fault.startswith(NO_FAULTS))
    print(f"  faults: {faults}, with crashes at {len(report.places)} places")
    for fault, count in sorted(report.faults.items()):
        print(f"    {count:6} {fault}", flush=True)


if __name__ == "__main__":
    main()
