"""What is never used is forgotten: requests to connect a wallet, accounts, who has made an item."""

import json
import secrets
from base64 import urlsafe_b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import advance
from app.advance.connecting import Asked
from db import connect_requests, user_balances
from db.audit import audit
from db.invoices import MadeInvoice
from payments.rail import Opened
from payments.usdc.address import keccak
from pricing.money import Msat
from statemachine.connect import ConnectKind, ConnectState
from statemachine.entries import Asset
from tests.world.account_fixtures import has as has_sats
from tests.world.account_fixtures import message_for, paid_in, signed_in
from tests.world.account_fixtures import signed as signed_message
from tests.world.batch_doors import batch, bought, ended, sold_by
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.deposit_fixtures import asked
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S
from tests.world.purging import purge, rows_of, taken_in
from tests.world.scripted_maker import ScriptedMaker
from tests.world.session_fixtures import books_are_right
from tests.world.usdc_doors import asked_in, signed
from tests.world.usdc_fixtures import Payer


@pytest.mark.parametrize("kind", ["usdc", "lightning"])
async def test_a_wallet_that_was_never_connected_leaves_nothing(
    timed: Instance, clock: Clock, kind: str
) -> None:
    """Its request, its account, and the key that nobody was shown: a day after it lapsed, or over
    Lightning once nobody asks about its invoice any more."""
    built, before = timed.built, await rows_of(timed)
    if kind == "usdc":
        await asked(built)
    else:
        await _asked_over_lightning(timed)
    clock.forward(hours=3)
    await purge(timed)
    assert (await rows_of(timed))["user_account"] == 1
    assert built.usdc is not None
    clock.forward(hours=24)
    network = built.usdc.network.caip2
    lapse, at = advance.connecting.lapse, clock() - timedelta(hours=24)
    await built.shell.do(lapse, ConnectKind.USDC, network, at, 9)  # as the chain is read
    await purge(timed)
    if kind == "lightning":
        assert (await rows_of(timed))["user_account"] == 1, "a late payment would be its"
        for _ in range(2):
            clock.forward(days=8)
            await purge(timed)
            await taken_in(timed)
    assert await rows_of(timed) == before
    assert await audit(built.db) == []


async def _asked_over_lightning(at: Instance) -> tuple[Asked, MadeInvoice]:
    """Ask for a payment over Lightning that opens an account."""
    built = at.built
    new = Asked(secrets.token_hex(16), secrets.token_hex(16), built.clock() + timedelta(hours=1))
    opened = await built.rail.create_invoice(new.id, Msat(5_000), "a wallet", 3_600)
    assert isinstance(opened, Opened)

    async def ask_lightning(act: advance.Act) -> MadeInvoice:
        return await advance.connecting.ask_lightning(act, new, 1, opened)

    return new, await built.shell.do(ask_lightning)


async def test_a_wallet_is_connected_however_late_its_invoice_is_paid(
    timed: Instance, clock: Clock
) -> None:
    """The payment itself says whose it is: days later its account has the amount all the same."""
    request, invoice = await _asked_over_lightning(timed)
    clock.forward(days=3)
    await purge(timed)
    await timed.post(f"/api/dev/stub/pay/{invoice.payment_hash}", {"late": True})
    clock.forward(hours=7)
    await taken_in(timed)
    row = await connect_requests.get(timed.built.db, request.id)
    assert row is not None and row.state is ConnectState.PAID
    has = await user_balances.balances(timed.built.db, request.account_id)
    assert has[Asset.MSAT] == 5_000
    clock.forward(days=30)
    await purge(timed)
    assert await connect_requests.get(timed.built.db, request.id) is not None
    await books_are_right(timed)


async def test_an_account_that_never_had_a_thing_is_forgotten(
    timed: Instance, clock: Clock
) -> None:
    """Once the last login has expired, where a wallet opens it; where a name does, after months.
    What has money, or had any, is not."""
    before = await rows_of(timed)
    holder = await signed_in(timed, "rich")
    await paid_in(timed, holder, 100)
    await has_sats(timed, holder, 100)
    await signed_in(timed, "poor")
    key = keccak(b"a wallet that is never used")
    answer = await timed.post("/api/auth/siwe", signed_message(await message_for(timed, key), key))
    assert answer.status_code == 200, answer.text
    timed.http.cookies.clear()
    for days, accounts in ((9, 2), (60, 2), (40, 1)):
        clock.forward(days=days)
        await purge(timed)
        rows = await rows_of(timed)
        assert (rows["user_account"], rows["identity"]) == (accounts, accounts), days
    assert rows["login"] == before["login"]
    again = await timed.post("/api/auth/login", {"username": "poor", "password": "another"})
    assert again.json()["created"] is True
    await books_are_right(timed)


async def test_who_has_made_an_item_is_forgotten_and_what_was_sold_is_not(
    database_url: str, tmp_path: Path, clock: Clock
) -> None:
    """A day after its file was deleted no lease is left; a month after its end nothing of what was
    asked for. Its receipt, its counts and its costs are the same for ever."""
    async with sold_by(database_url, tmp_path, ScriptedMaker(), clock=clock) as shop:
        body = {"images": [{"prompt": "a cat"}] * 3}
        asked_for = asked_in(await shop.post("/api/jobs", body))
        paid = await shop.post("/api/jobs", body, headers=signed(shop, Payer("one"), asked_for))
        made = paid.json()
        await ended(shop, made["jobId"], token=made["sessionToken"])
        others = await bought(shop, batch("a dog"))
        await ended(shop, others)
        bearer = {"Authorization": f"Bearer {made['sessionToken']}"}
        path = f"/api/jobs/{made['jobId']}"
        shown = (await shop.http.get(path, headers=bearer)).json()
        clock.forward(hours=47)
        await purge(shop)
        assert (await rows_of(shop))["lease"] == 4
        clock.forward(hours=2)
        await purge(shop)
        rows = await rows_of(shop)
        assert (rows["lease"], rows["item"], rows["batch"]) == (0, 4, 2)
        after = (await shop.http.get(path, headers=bearer)).json()
        assert after["job"] == shown["job"]
        receipt = await shop.http.get(f"{path}/receipt", headers=bearer)
        assert len(_told(receipt)["items"]) == 3
        assert await audit(shop.built.db) == []
        await _asked_is_forgotten(shop, clock, others)


async def _asked_is_forgotten(shop: Instance, clock: Clock, batch_id: str) -> None:
    """Look at a batch on the last day on which what it asked for is kept, and on the next."""
    path = f"/api/jobs/{batch_id}"
    clock.forward(days=27)
    await purge(shop)
    before, receipt = await shop.http.get(path), await shop.http.get(f"{path}/receipt")
    assert before.json()["images"][0]["prompt"] == "a dog" and "deleted" not in before.json()
    clock.forward(days=1)
    await purge(shop)
    seen = {"If-None-Match": before.headers["etag"]}
    after = await shop.http.get(path, headers=seen)
    generation = await shop.http.get(f"/v1/generations/{batch_id}")
    for answer in (after, generation):
        assert "no longer kept" in answer.json()["deleted"] and "a dog" not in answer.text
    assert after.json()["job"] == before.json()["job"]
    refused(await shop.http.get(after.json()["images"][0]["url"]), 410, "has been deleted")
    kept = _told(await shop.http.get(f"{path}/receipt"))
    assert {**kept, "issuedAt": ""} == {**_told(receipt), "issuedAt": ""}
    rows = await shop.built.db.read_all("SELECT asked FROM item")
    assert len(rows) == 4 and rows[0]["asked"].keys() == {"model", "width", "height", "duration_ms"}
    async with httpx2.AsyncClient(base_url=shop.url, timeout=PATIENCE_S) as http:
        page = await http.get(f"/jobs/{batch_id}")
    assert "no longer kept" in page.text and "<span>Deleted</span>" in page.text
    assert "a dog" not in page.text
    assert await audit(shop.built.db) == []


def _told(receipt: httpx2.Response) -> dict[str, Any]:
    """Return what a receipt tells."""
    _, told, _ = receipt.json()["receipt"].split(".")
    said: dict[str, Any] = json.loads(urlsafe_b64decode(told + "=="))
    return said
