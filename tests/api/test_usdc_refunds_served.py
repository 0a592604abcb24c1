"""What an instance owes back in USDC reaches whoever paid, by itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from db.audit import audit
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from pricing.money import MicroUsdc
from tests.world.batch_doors import sold_by
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_fixtures import Payer, header

SOME = {"images": [{"prompt": "a cat"}, {"prompt": "REFUSE this"}, {"prompt": "a dog"}]}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance that sells images, beside a stub of the second rail."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as running:
        yield running


def paying(shop: Instance, payer: Payer, amount_microusdc: int) -> dict[str, str]:
    """Return the header of a signed order of this amount."""
    usdc = shop.built.usdc
    assert usdc is not None
    offer, now_s = usdc.offer(MicroUsdc(amount_microusdc)), int(shop.built.clock().timestamp())
    signed = payer.pays(offer, now_s, valid_before_s=now_s + offer.window_s)
    return {"PAYMENT-SIGNATURE": header(signed)}


async def has(shop: Instance, payer: Payer) -> int:
    """Return what a payer has on the chain."""
    usdc = shop.built.usdc
    assert usdc is not None
    balance = await usdc.ledger.balance_microusdc(payer.address)
    assert isinstance(balance, int)
    return balance


async def refunded(shop: Instance, batch_id: str, token: dict[str, str]) -> dict[str, Any]:
    """Wait until the one refund of a batch has arrived, and return it."""
    said: dict[str, Any] = {}
    async for look in patiently("it is not refunded", pause_s=0.05):
        answer = await shop.http.get(f"/api/jobs/{batch_id}?wait=5", headers=token)
        look.saw = said = answer.json()
        if said["refundState"] == "paid":
            break
    [owed] = said["refunds"]
    return dict(owed)


async def test_what_was_not_delivered_is_back_with_its_payer(shop: Instance) -> None:
    """One of three images is refused: its price is sent back on the chain, though the first answer
    of the facilitator is cut off. The API names the amount, its asset and the transaction; an
    invoice is not asked for, and none is paid."""
    payer = Payer()
    bought = await shop.post("/api/jobs", SOME, headers=paying(shop, payer, 75_000))
    assert bought.status_code == 201, bought.text
    stub = StubFacilitator(shop.built.settings.data / FILE, shop.built.clock)
    await stub.script_fault("settle", "cut")
    batch_id = bought.json()["jobId"]
    token = {"Authorization": f"Bearer {bought.json()['sessionToken']}"}
    owed = await refunded(shop, batch_id, token)
    assert (owed["reason"], owed["amountUsdc"]) == ("undelivered", "0.025000")
    assert owed["transaction"].startswith("0x") and owed["destination"] == "known"
    assert "amountSats" not in owed and "lnurlWithdraw" not in owed
    assert await has(shop, payer) == FAUCET - 50_000
    elsewhere = {"refundTo": "me@example.org"}
    claim = await shop.post(f"/api/jobs/{batch_id}/refund", elsewhere, headers=token)
    assert claim.status_code == 409 and "USDC" in claim.json()["error"]
    assert [finding.line for finding in await audit(shop.built.db)] == []
    await stub.close()
