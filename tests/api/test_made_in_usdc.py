"""Runs of tools and casts of spells bought for USDC by the call (x402): what is not made is back
with its payer, the author has a share in USDC, and a resumption is bought in the same way.
"""

from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from db import ledger
from db.audit import audit
from payments.usdc.stub_chain import FAUCET
from pricing.money import author_share
from statemachine.entries import RAIL_USDC, Asset
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently
from tests.world.spell_fixtures import CHAIN, Stage, stage_on
from tests.world.usdc_doors import asked_in, signed, told_in
from tests.world.usdc_fixtures import Payer

EXECUTE, CAST = "/api/v1/generations/execute", "/api/v1/spells/cast"
RUN = {"toolId": "text-to-image", "inputs": {"prompt": "a quiet lake"}}


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server with tools and a spell, beside a stub of the second rail."""
    async with stage_on(database_url, tmp_path) as running:
        yield running


async def kept(at: Instance, payer: Payer) -> int:
    """Return what a payer has less on the chain; the books say so, too, and are right."""
    assert [finding.line for finding in await audit(at.built.db)] == []
    usdc = at.built.usdc
    assert usdc is not None
    balance = await usdc.ledger.balance_microusdc(payer.address)
    assert isinstance(balance, int)
    assert await ledger.balance(at.built.db, RAIL_USDC.name, Asset.MICROUSDC) == FAUCET - balance
    return FAUCET - balance


async def refunded(at: Instance, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """Wait until all that something owes has arrived, and return it."""
    said: dict[str, Any] = {}
    async for look in patiently("it is not refunded", pause_s=0.05):
        look.saw = said = (await at.http.get(path, headers=headers)).json()
        if said["refundState"] == "paid":
            break
    return said


async def test_a_run_is_bought_for_usdc(stage: Stage) -> None:
    """Once, however often its payment is shown; what is not made is back on the chain, or less than
    a cent of it on the balance of who paid."""
    at, payer = stage.at, Payer()
    asked = asked_in(await at.post(EXECUTE, RUN))
    price = int(asked["accepts"][0]["amount"])
    paying = signed(at, payer, asked)
    made = [await at.post(EXECUTE, RUN, headers=paying) for _ in range(2)]
    assert [answer.status_code for answer in made] == [202, 202], made[0].text
    assert told_in(made[0])["success"] and told_in(made[0])["amount"] == str(price)
    run = made[0].json()["generationId"]
    assert made[1].json()["generationId"] == run
    async for look in patiently("it does not end", pause_s=0):
        path = f"/api/v1/generations/status/{run}?wait=30"
        look.saw = said = (await at.http.get(path)).json()
        if said["status"] == "completed":
            break
    assert len(stage.painter.asked) == 1 and await kept(at, payer) == price
    stage.toolbox.refuses = {"kontext"}
    lost = {"toolId": "kontext", "inputs": {"input_image": _artifact(said), "input_prompt": "x"}}
    asked = asked_in(await at.post(EXECUTE, lost))
    told = await at.post(EXECUTE, lost, headers=signed(at, payer, asked))
    assert told.status_code == 202, told.text
    await refunded(at, f"/api/jobs/{told.json()['generationId']}", {})
    assert await kept(at, payer) == price


def _artifact(said: dict[str, Any]) -> str:
    return str(said["outputs"][0]["data"]["images"][0]["artifact"])


async def test_a_cast_is_bought_for_usdc_and_so_is_its_resumption(stage: Stage) -> None:
    """It is the payer's, by the token that the answer holds, and nobody else's. Two of five steps
    are charged and the rest is back; resumed, the other three are, and the author has thirty of
    each hundred and thirty."""
    spell: dict[str, Any] = deepcopy(CHAIN)
    spell["steps"][2]["tool"] = "kontext"  # dear enough to be sent back
    await stage.publish(spell)
    at, payer = stage.at, Payer()
    stage.toolbox.refuses = {"kontext"}
    body = {"slug": "five-steps"}
    asked = asked_in(await at.post(CAST, body))
    price, paying = int(asked["accepts"][0]["amount"]), signed(at, payer, asked)
    bought = await at.post(CAST, body, headers=paying)
    assert bought.status_code == 202, bought.text
    cast_id, mine = bought.json()["castId"], bearer(bought.json()["sessionToken"])
    again = await at.post(CAST, body, headers=paying)
    assert again.json()["castId"] == cast_id
    path = f"/api/v1/spells/casts/{cast_id}"
    assert (await at.http.get(path)).status_code == 404
    failed = await stage.ended(cast_id, mine)
    assert (failed["status"], failed["paidWith"]) == ("failed", "x402")
    await refunded(at, path, mine)
    first = await kept(at, payer)
    assert 0 < first < price - 40_000

    stage.toolbox.refuses = set()
    offered = await at.post(f"{path}/resume", {}, headers=mine)
    asked = asked_in(offered)
    assert int(asked["accepts"][0]["amount"]) == price - first
    resumed = await at.post(f"{path}/resume", {}, headers=mine | signed(at, payer, asked))
    assert (resumed.status_code, resumed.json().get("castId")) == (202, cast_id), resumed.text
    done = await stage.ended(cast_id, mine)
    assert done["status"] == "completed" and await kept(at, payer) == price
    assert done["stepGenerationIds"][:2] == failed["stepGenerationIds"][:2]
    rows = await at.built.db.read_all("SELECT share_amount FROM item WHERE state = 'completed'")
    theirs = (await at.http.get("/api/account", headers=stage.author)).json()["balanceUsdc"]
    assert theirs == sum(author_share(row["share_amount"], 30) for row in rows) / 1_000_000


def bearer(token: str) -> dict[str, str]:
    """Return what shows a login."""
    return {"Authorization": f"Bearer {token}"}
