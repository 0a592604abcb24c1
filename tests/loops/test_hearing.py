"""What the rail tells of is booked once, by whichever process comes first, and holds up nobody."""

from pathlib import Path

import psycopg

from app.loops.hearing import HEARS
from tests.world.house_fixtures import instance_of


async def test_a_payment_that_another_process_books_holds_up_no_other(
    database_url: str, tmp_path: Path
) -> None:
    """What another has in hand is passed over, and looked at again: it may have died over it."""
    async with instance_of(database_url, tmp_path) as instance:
        elsewhere = [await instance.create(f"job {number}") for number in range(HEARS + 1)]
        ours = await instance.create("ours")
        with psycopg.connect(database_url) as other:
            for made in elsewhere:
                other.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                    [made["evalInvoice"]["paymentHash"]],
                )
                await instance.pay(made["evalInvoice"])
            await instance.pay(ours["evalInvoice"])
            await instance.until(ours["jobId"], "awaiting_work_payment", field="workInvoice")
            for made in elsewhere:
                assert (await instance.job(made["jobId"]))["state"] == "awaiting_eval_payment"
            other.rollback()  # so does Postgres, when a process dies
        for made in elsewhere:
            await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
