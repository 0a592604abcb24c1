"""Receiving wallets on the real LNbits: one after the other, and no sat lost between them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from app import advance
from app.operator.key_rotation import check_secret, rotate
from app.plant import books_of, receiving_of
from app.settings import Settings
from db import ledger, receiving_wallets
from db.engine import Database
from db.receiving_tables import WalletTransfer
from payments.bolt11 import decode
from payments.rail import Settled, Unavailable, Unknown
from payments.seal import BadSecret, Seal
from pricing.money import Msat
from statemachine.entries import Asset
from statemachine.transfer import TransferState
from tests.world.command import boltwork
from tests.world.house_fixtures import Instance
from tests.world.lnbits_server import Wallet
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import wall_clock
from tests.world.receiving_fixtures import OPENING, OPENS, PAYMENTS, Stage, until_row


async def wallets(instance: Instance) -> list[dict[str, Any]]:
    """Return the rows of the wallets."""
    return await instance.built.db.read_all("SELECT * FROM receiving_wallet ORDER BY number")


MOVED = "SELECT * FROM wallet_transfer WHERE outcome = 'settled'"
SECOND = "SELECT * FROM receiving_wallet WHERE number = 2 AND identity IS NOT NULL"


async def test_a_full_wallet_has_a_successor_and_what_it_held_is_moved(stage: Stage) -> None:
    """Two jobs on two wallets: each invoice on its own, refunds paid, the books right."""
    async with stage.running() as instance:
        first = await stage.buys(instance)
        await until_row(instance, SECOND)
        await until_row(instance, MOVED)
        second = await instance.create("more")
        rows = await instance.built.db.read_all("SELECT id, wallet FROM invoice")
        made_on = {row["id"]: row["wallet"] for row in rows}
        [one, two] = [row["identity"] for row in await wallets(instance)]
        assert made_on[f"{first['jobId']}:eval"] == made_on[f"{first['jobId']}:work"] == one
        assert made_on[f"{second['jobId']}:eval"] == two == instance.built.rail.wallet
        assert await stage.server.balance_msat(stage.account.first) == 0
        await stage.takes_refund(instance, first)
        [attempt] = await instance.built.db.read_all("SELECT called_by FROM payout_attempt")
        assert attempt["called_by"] == two
        await stage.is_right(instance)


async def test_the_books_are_compared_across_all_wallets(stage: Stage) -> None:
    """The review knows every wallet, in a process that has opened none of them."""
    async with stage.running() as instance:
        other = books_of(instance.built)
        assert "first time" in (await other.compare()).said
        await stage.buys(instance)
        await until_row(instance, MOVED)
        await stage.buys(instance, "more")
    async with stage.running(most=1_000) as later:
        compared = await books_of(later.built).compare()
        assert compared.finding is None and "to the msat" in compared.said, compared


async def test_an_invoice_of_a_retired_wallet_is_paid_heard_and_moved(stage: Stage) -> None:
    """Paid after its wallet had a successor: the push tells of it, and the money follows."""
    async with stage.running(most=1) as instance:
        made = await instance.create("late")
        await until_row(instance, SECOND)
        async with asyncio.timeout(PATIENCE_S):
            while not instance.built.rail.push_is_up:
                await asyncio.sleep(0.02)
        payment_hash = decode(made["evalInvoice"]["paymentRequest"]).payment_hash
        # Whoever asks is told nothing: only the push can have told of it.
        stage.proxy.inject("503", "GET", f"{PAYMENTS}/{payment_hash}", times=1_000)
        await stage.pays(made["evalInvoice"])
        job = await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
        stage.proxy.clear()
        await until_row(instance, MOVED)
        await stage.pays(job["workInvoice"])
        await instance.until(made["jobId"], "complete")
        await stage.is_right(instance)


async def test_of_two_processes_one_opens_the_next_wallet_and_both_use_it(stage: Stage) -> None:
    """Ten turns at once in two processes: one wallet more in LNbits, the same one for both."""
    async with stage.running(most=1, SWEEP_S=60) as one, stage.running(most=1, SWEEP_S=60) as two:
        await one.create("hello")
        before = len(await stage.server.wallets_of(stage.account))
        each = [receiving_of(one.built), receiving_of(two.built)]
        await asyncio.gather(*(each[n % 2].turn() for n in range(10)))
        await asyncio.gather(*(receiving.refresh() for receiving in each))
        assert len(await stage.server.wallets_of(stage.account)) == before + 1
        assert [row["number"] for row in await wallets(one)] == [1, 2]
        assert one.built.rail.wallet == two.built.rail.wallet != one.built.rail.identity
        made = await two.create("there")
        assert decode(made["evalInvoice"]["paymentRequest"])


async def test_an_opening_whose_answer_is_lost_is_tried_again(stage: Stage) -> None:
    """What LNbits opened then is empty and nobody's; invoices go on on the old wallet meanwhile."""
    stage.proxy.inject("answer lost", *OPENS)
    async with stage.running(most=1, SWEEP_S=60) as instance:
        await instance.create("hello")
        receiving = receiving_of(instance.built)
        await receiving.turn()
        assert isinstance(await receiving.open_next(), Unavailable)  # it may yet be opened
        await instance.create("still")
        assert instance.built.rail.wallet == instance.built.rail.identity
        stage.ahead = timedelta(minutes=2)
        await receiving.turn()
        assert instance.built.rail.wallet != instance.built.rail.identity
        assert (await wallets(instance))[1]["identity"] == instance.built.rail.wallet


@pytest.mark.parametrize("fault", ["503", "401", "200 with HTML", "201 with nothing", "hang"])
async def test_while_none_can_be_opened_the_old_one_serves(stage: Stage, fault: str) -> None:
    """A token that is not taken, or an LNbits in trouble, stops no sale."""
    stage.proxy.inject(fault, *OPENS, times=100)
    if fault == "hang":
        stage.timeout_s = 6.0  # a busy LNbits makes the invoices in less
    async with stage.running(most=1, SWEEP_S=60) as instance:
        await instance.create("hello")
        await receiving_of(instance.built).turn()
        await instance.create("still")
        assert len(await wallets(instance)) == 2 and not await instance.built.db.read_one(SECOND)
        assert stage.opened() == 1


async def test_a_transfer_whose_answer_is_lost_is_not_made_twice(stage: Stage) -> None:
    """It is asked about, and the money is there once; until then nothing is compared."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        await stage.buys(instance)
        books = books_of(instance.built)
        await books.compare()
        stage.proxy.inject("answer lost", "POST", PAYMENTS, holding=b'"out":true')
        receiving = receiving_of(instance.built)
        assert await receiving.open_next() is None
        [live] = await instance.built.db.read_all("SELECT * FROM wallet_transfer")
        assert live["outcome"] == "live"
        compared = await books.compare()
        assert compared.finding is None and not compared.is_done and "on its way" in compared.said
        made = stage.proxy.calls["POST", PAYMENTS]
        await receiving.turn()
        assert stage.proxy.calls["POST", PAYMENTS] == made  # asked, and nothing begun anew
        [moved] = await instance.built.db.read_all("SELECT * FROM wallet_transfer")
        assert moved["outcome"] == "settled" and moved["fee_msat"] == 0
        assert "to the msat" in (await books.compare()).said
        await stage.is_right(instance)


async def test_a_large_sum_is_moved_in_parts(stage: Stage) -> None:
    """LNbits takes no payment above its own limit: the rest follows at a later look."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        await stage.buys(instance)
        held = await stage.server.balance_msat(stage.account.first)
        receiving = receiving_of(instance.built, most_sats=10)
        assert await receiving.open_next() is None
        assert await stage.server.balance_msat(stage.account.first) == held - 10_000
        stage.ahead = timedelta(minutes=6)
        await receiving.turn()
        assert await stage.server.balance_msat(stage.account.first) == held - 20_000
        await stage.is_right(instance)


async def test_a_transfer_for_which_no_invoice_is_made_is_told_and_tried_again(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The money stays where it is meanwhile."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        await stage.buys(instance)
        stage.proxy.inject("503", "POST", PAYMENTS, holding=b'"out":false')
        receiving = receiving_of(instance.built)
        assert await receiving.open_next() is None
        assert await instance.built.db.read_one("SELECT 1 AS n FROM wallet_transfer") is None
        assert "transfer_not_begun" in capsys.readouterr().out
        stage.ahead = timedelta(minutes=6)
        await receiving.turn()
        assert await stage.server.balance_msat(stage.account.first) == 0
        await stage.is_right(instance)


async def test_a_transfer_that_nobody_sent_is_sent(stage: Stage) -> None:
    """Whoever wrote it down died before it called: the next turn calls."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        await stage.buys(instance)
        stage.proxy.inject("reset", "POST", PAYMENTS, holding=b'"out":true')
        receiving = receiving_of(instance.built)
        assert await receiving.open_next() is None
        assert await instance.built.db.read_one("SELECT 1 AS n FROM wallet_transfer") is not None
        for _ in range(2):  # told twice, it pays once
            await instance.built.db.read_all(
                "UPDATE wallet_transfer SET outcome = 'live', ended_at = NULL RETURNING 1"
            )
            await receiving.turn()
        assert await stage.server.balance_msat(stage.account.first) == 0
        await stage.is_right(instance)


async def test_a_payout_is_asked_about_where_it_was_sent(stage: Stage) -> None:
    """Sent by one wallet, its answer lost, and found there when another one is in use."""
    async with stage.running(most=10) as instance:
        job = await stage.buys(instance)
        stage.proxy.inject("answer lost", "POST", PAYMENTS, holding=b'"out":true')
        sats = job["costLedger"]["refundAmountSats"]
        theirs = await stage.server.balance_msat(stage.server.buyer)
        invoice = await stage.server.create_invoice(stage.server.buyer, sats)
        claim = asyncio.create_task(
            instance.post(f"/api/jobs/{job['jobId']}/refund", {"invoice": invoice})
        )
        await until_row(instance, "SELECT 1 AS n FROM payout_attempt WHERE called_at IS NOT NULL")
        assert await receiving_of(instance.built).open_next() is None
        await claim
        await until_row(instance, "SELECT 1 AS n FROM payout WHERE state = 'paid'")
        assert await stage.server.balance_msat(stage.server.buyer) == theirs + sats * 1000
        await until_row(instance, MOVED)
        await stage.is_right(instance)


async def test_a_wallet_that_nobody_can_pay_any_more_is_closed(stage: Stage) -> None:
    """It is asked for its balance no longer; what was left below a sat still counts."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        await stage.buys(instance)
        await instance.create("not paid")
        receiving = receiving_of(instance.built)
        assert await receiving.open_next() is None
        stage.ahead = timedelta(hours=25)  # its last invoice expired, and was heard for, 23 h ago
        await receiving.turn()
        assert (await wallets(instance))[0]["closed_at"] is None
        stage.ahead = timedelta(hours=27)
        await until_row(instance, "SELECT 1 AS n FROM invoice WHERE state = 'expired'")
        await receiving.turn()
        [closed, used] = await wallets(instance)
        assert closed["closed_at"] is not None and closed["left_msat"] == 0
        assert used["closed_at"] is None
        await receiving.refresh()
        stage.proxy.calls.clear()
        assert isinstance(await instance.built.rail.balance_msat(), int)
        assert stage.proxy.calls["GET", OPENING] == 1  # the one in use


async def test_a_closed_wallet_is_deleted_in_lnbits_but_for_the_first(stage: Stage) -> None:
    """Deleted once; when the answer is lost or LNbits is away, again; and nobody misses it."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        receiving = receiving_of(instance.built)
        for _ in range(2):
            await stage.buys(instance)
            assert await receiving.open_next() is None
        stage.ahead = timedelta(hours=27)
        await receiving.turn()  # both are closed
        for fault, calls in (("503", 1), ("answer lost", 2), ("", 2)):
            if fault:
                stage.proxy.inject(fault, "DELETE")
            stage.ahead += timedelta(minutes=10)
            await receiving.turn()
            assert count(stage, "DELETE") == calls
        [first, second, third] = await wallets(instance)
        assert first["closed_at"] and not first["deleted_at"]
        assert second["deleted_at"] and not third["closed_at"]
        names = [wallet["name"] for wallet in await stage.server.wallets_of(stage.account)]
        assert "Boltwork 2" not in names and "Boltwork 3" in names
        await stage.is_right(instance)
        assert isinstance(await instance.built.rail.look_up_invoice("ab" * 32), Unknown)
        # What was left in it below a sat is still ours: some routes cost a part of one.
        before_msat = await instance.built.rail.balance_msat()
        await instance.built.db.read_all(
            "UPDATE receiving_wallet SET left_msat = 7 WHERE number = 2 RETURNING 1"
        )
        await receiving.refresh()
        after_msat = await instance.built.rail.balance_msat()
        assert isinstance(before_msat, int) and after_msat == before_msat + 7


async def test_a_closed_wallet_that_was_paid_after_all_is_not_deleted(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody pays into it by hand: it stays where its operator finds it, and that is said."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        receiving = receiving_of(instance.built)
        for _ in range(2):
            assert await receiving.open_next() is None
        stage.ahead = timedelta(hours=27)
        await receiving.turn()
        [second] = [
            Wallet(wallet["id"], wallet["adminkey"], wallet["inkey"])
            for wallet in await stage.server.wallets_of(stage.account)
            if wallet["name"] == "Boltwork 2"
        ]
        await stage.server.pay(stage.server.buyer, await stage.server.create_invoice(second, 3))
        await receiving.turn()
        assert count(stage, "DELETE") == 0
        assert "closed_wallet_was_paid" in capsys.readouterr().out


def count(stage: Stage, wanted: str) -> int:
    """Return how many calls of a method LNbits had."""
    return sum(n for (method, _), n in stage.proxy.calls.items() if method == wanted)


async def test_keys_of_wallets_are_closed_and_rotate_with_the_secret(stage: Stage) -> None:
    """No key lies open in a row; the secret can be changed, and another one opens nothing."""
    old, new = "an old secret of 32 characters or more", "a new secret of 32 characters or more"
    async with stage.running(most=10, SWEEP_S=60, BOLTWORK_SECRET=old) as instance:
        assert await receiving_of(instance.built).open_next() is None
        [_, second] = await wallets(instance)
        [key] = [
            wallet["adminkey"]
            for wallet in await stage.server.wallets_of(stage.account)
            if wallet["name"] == "Boltwork 2"
        ]
        assert key not in repr(second) and second["sealed"]
    db = Database(stage.database_url, 1)
    await db.open()
    await rotate(db, Seal((new, old)), wall_clock())
    assert await check_secret(db, Seal((new,))) == 3  # the keys of macaroons, receipts, a wallet
    with pytest.raises(BadSecret, match="receiving wallet"):
        await check_wallet_key(db, Seal((old,)))
    await db.close()
    async with stage.running(most=10, BOLTWORK_SECRET=new) as again:
        await again.create("hello")
        assert again.built.rail.wallet == second["identity"]


async def check_wallet_key(db: Database, seal: Seal) -> None:
    """Open what is kept, macaroon keys aside."""
    await db.read_all("DELETE FROM root_key RETURNING 1")
    await db.read_all("DELETE FROM signing_key RETURNING 1")
    await check_secret(db, seal)


async def test_what_a_transfer_costs_is_an_expense(stage: Stage) -> None:
    """An LNbits that takes a fee for payments between its own wallets: once, in the books."""
    async with stage.running(SWEEP_S=60) as instance:
        built, now = instance.built, wall_clock()
        await stage.buys(instance)
        transfer = WalletTransfer(
            payment_hash="ab" * 32, bolt11="lnbc", rail=built.rail.identity, from_wallet="a",
            to_wallet="b", amount_msat=5_000, outcome=TransferState.LIVE, expires_at=now,
            began_at=now,
        )  # fmt: skip
        assert await built.db.run("t", lambda tx: receiving_wallets.begin_transfer(tx, transfer))
        held = await ledger.balance(built.db, "rail:lightning", Asset.MSAT)
        settled = Settled("ab" * 32, Msat(5_000), "00" * 32, Msat(7))
        for _ in range(2):
            await built.shell.do(advance.transfers.settle, settled)
        assert await ledger.balance(built.db, "rail:lightning", Asset.MSAT) == held - 7
        assert await ledger.balance(built.db, "expense:routing", Asset.MSAT) == 7


# ------------------------------------------------------------------------------- the operator


async def test_the_command_shows_the_wallets_and_opens_the_next(stage: Stage) -> None:
    """Its lines name no key; without a token, or on the stub rail, it says what is missing."""
    async with stage.running(most=10, SWEEP_S=60) as instance:
        await instance.create("hello")
        there = {
            "DATABASE_URL": stage.database_url, "BOLTWORK_DATA": str(stage.folder),
            "LNBITS_URL": stage.proxy.url, "LNBITS_API_KEY": stage.account.first.adminkey,
        }  # fmt: skip
        refused = await asyncio.to_thread(boltwork, "receiving", "next", **there)
        assert refused.returncode == 1 and "LNBITS_TOKEN" in refused.stderr
        there["LNBITS_TOKEN"] = stage.account.token
        done = await asyncio.to_thread(boltwork, "receiving", "next", **there)
        assert done.returncode == 0 and "Wallet 2 receives" in done.stdout, done.stderr
        shown = await asyncio.to_thread(boltwork, "receiving", **there)
        lines = shown.stdout.splitlines()
        assert len(lines) == 2 and "retired" in lines[0] and "1 invoices" in lines[0]
        assert "in use" in lines[1] and stage.account.first.adminkey not in shown.stdout
    stub = {"DATABASE_URL": stage.database_url, "BOLTWORK_DATA": str(stage.folder)}
    single = await asyncio.to_thread(boltwork, "receiving", **stub)
    assert single.returncode == 1 and "one wallet" in single.stderr


def test_a_token_without_lnbits_is_refused() -> None:
    """It would be of no use."""
    with pytest.raises(ValidationError, match="LNBITS_TOKEN"):
        Settings.model_validate({"LNBITS_TOKEN": "t" * 20})
