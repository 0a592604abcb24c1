"""Backups: what is in one comes back, nothing is paid twice after that, and no copy is a backup."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from app.advance import Applied, Replayed
from app.operator.switching import turn
from app.plant import keeper_of, sending_of
from app.promises.courier import PAUSED_S
from app.promises.sending import Unpayable
from db import backup, payouts, switches
from db.backup import BackupFailed
from db.embedded import EmbeddedPostgres, EmbeddedPostgresError, packaged_binaries
from db.promises import TryAgain
from payments import bolt11
from payments.rail import Rail
from pricing.money import Msat
from statemachine.promises import PayInvoice
from tests.world.house_fixtures import Instance, instance_of
from tests.world.rail_fixtures import wall_clock
from tests.world.refund_fixtures import nothing_is_lost, until_refund

TOOLS = packaged_binaries()


@pytest.fixture
def another_database(postgres: str) -> Iterator[str]:
    """The URL of a database without a table, as a restore needs it."""
    template = sqlalchemy.make_url(postgres)
    admin = template.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    yield template.set(database="restored").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE restored WITH (FORCE)")


async def invoice_of(house: Instance, sats: int) -> bolt11.Invoice:
    """Return an invoice of the buyer's wallet."""
    assert house.built.stub is not None
    made = await house.built.stub.buyer_invoice(Msat(sats * 1000), "mine", 600)
    return bolt11.decode(made.bolt11)


async def owed(house: Instance) -> tuple[str, str]:
    """Return (payout, job): five sats, overpaid, that nobody has named a destination for."""
    made = await house.create("hello")
    await house.pay(made["evalInvoice"], amountSats=made["evalInvoice"]["amountSats"] + 5)
    await until_refund(house, made["jobId"], refundState="pending")
    return f"{made['jobId']}:eval:overpaid", made["jobId"]


async def paid_out_msat(rail: Rail, sats: int, before_msat: int) -> bool:
    """Say whether the rail has paid out so much since."""
    now_msat = await rail.balance_msat()
    assert isinstance(now_msat, int)
    return before_msat - now_msat == sats * 1000


async def test_a_payout_that_was_paid_after_the_backup_is_not_paid_again(
    database_url: str, another_database: str, tmp_path: Path
) -> None:
    """One was on its way in the backup and one was only owed; both are paid after it. Restored, the
    first is asked about at the rail, by its payment hash, and found paid; the second stands still,
    till the operator names its payment, and may name it again. The rail has paid each of them
    once."""
    file = tmp_path / "backup"
    async with instance_of(database_url, tmp_path, worker=False) as house:
        rail, sending = house.built.rail, sending_of(house.built)
        first, first_job = await owed(house)
        second, second_job = await owed(house)
        way = await invoice_of(house, 5)
        row = await payouts.get(house.built.db, first)
        assert row is not None and isinstance(await sending.send(row, way), Applied)
        await asyncio.to_thread(backup.dump, database_url, file, TOOLS)
        held_msat = await rail.balance_msat()
        assert isinstance(held_msat, int)
        await keeper_of(house.built).pay(first, 1)
        later = await invoice_of(house, 5)
        row = await payouts.get(house.built.db, second)
        assert row is not None and isinstance(
            await sending_of(house.built).send(row, later), Applied
        )
        await keeper_of(house.built).pay(second, 1)
        for job in (first_job, second_job):
            await until_refund(house, job, refundState="paid")
        assert await paid_out_msat(rail, 10, held_msat)

    await asyncio.to_thread(backup.restore, another_database, file, TOOLS)
    # A day later: the invoice on its way has expired, and could be taken for one never sent.
    late = lambda: wall_clock() + timedelta(days=1)  # noqa: E731
    async with instance_of(another_database, tmp_path, worker=False, clock=late) as house:
        rail, keeper = house.built.rail, keeper_of(house.built)
        for payout in (first, second):
            kept = await payouts.get(house.built.db, payout)
            assert kept is not None and kept.state != "paid"
        with pytest.raises(TryAgain) as held:
            await keeper.keep(PayInvoice(first, 1), 0)
        assert held.value.after_s == PAUSED_S
        row = await payouts.get(house.built.db, second)
        assert row is not None
        wrong = await sending_of(house.built).record(row, "00" * 32)
        assert isinstance(wrong, Unpayable) and "knows of no payment" in wrong.sentence
        assert isinstance(await sending_of(house.built).record(row, later.payment_hash), Applied)
        assert isinstance(await sending_of(house.built).record(row, later.payment_hash), Replayed)
        await turn(house.built.db, house.built.clock, switches.Name.PAYING_OUT, True)
        await keeper.keep(PayInvoice(first, 1), 0)
        for job in (first_job, second_job):
            await until_refund(house, job, refundState="paid")
        assert await paid_out_msat(rail, 10, held_msat)
        await nothing_is_lost(house, refunded_sats=10)


async def test_what_was_paid_to_us_after_the_backup_is_found(
    database_url: str, another_database: str, tmp_path: Path
) -> None:
    """A job whose invoice was paid after the backup goes on after the restore: the rail is asked
    about every open invoice."""
    file = tmp_path / "backup"
    async with instance_of(database_url, tmp_path, worker=False) as house:
        made = await house.create("hello")
        await asyncio.to_thread(backup.dump, database_url, file, TOOLS)
        await house.pay(made["evalInvoice"])
    await asyncio.to_thread(backup.restore, another_database, file, TOOLS)
    async with instance_of(another_database, tmp_path) as house:
        await house.until(made["jobId"], "awaiting_work_payment")


def test_a_backup_takes_the_place_of_nothing(database_url: str, tmp_path: Path) -> None:
    """A file that is there is not written over, a database with tables is not restored into, and
    what is no backup is refused; the file is ours alone, and no half of one is left."""
    file = tmp_path / "backup"
    backup.dump(database_url, file, TOOLS)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupFailed, match="there already"):
        backup.dump(database_url, file, TOOLS)
    with pytest.raises(BackupFailed, match="not empty"):
        backup.restore(database_url, file, TOOLS)
    with pytest.raises(BackupFailed, match="no backup"):
        backup.restore(database_url, tmp_path / "none", TOOLS)
    with pytest.raises(BackupFailed, match="pg_dump failed"):
        backup.dump(f"{database_url}_gone", tmp_path / "other", TOOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that the embedded Postgres, another user when we are root, may enter."""
    with tempfile.TemporaryDirectory(prefix="boltwork-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_a_copy_made_under_a_running_database_is_refused(ground: Path) -> None:
    """Copied while it runs, a data folder may hold half of a payment: started, it is refused with
    the way to a backup, whether the first one still runs or not. A copy of one at rest starts."""
    data, copy, cold = (ground / name for name in ("data", "copy", "cold"))
    with EmbeddedPostgres(data, refuge=ground / "refuge", fast_for_tests=True) as server:
        subprocess.run(["cp", "-a", data, copy], check=True)
        assert (copy / "postgres" / "postmaster.pid").exists()
        with pytest.raises(EmbeddedPostgresError, match="boltwork backup"):
            EmbeddedPostgres(copy, refuge=ground / "refuge", fast_for_tests=True).start()
        psycopg.connect(server.start()).close()
    with pytest.raises(EmbeddedPostgresError, match="made while a database ran there"):
        EmbeddedPostgres(copy, refuge=ground / "refuge", fast_for_tests=True).start()
    subprocess.run(["cp", "-a", data, cold], check=True)
    shutil.rmtree(data)
    with EmbeddedPostgres(cold, refuge=ground / "refuge", fast_for_tests=True) as server:
        psycopg.connect(server.start()).close()
