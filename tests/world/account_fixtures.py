"""What somebody with an account does over HTTP: signs in, pays in, takes out, and looks."""

from typing import Any

import httpx2

from db.audit import audit
from payments.siwe import personal_digest
from payments.usdc.address import address_of_key
from payments.usdc.authorization import signature_of
from pricing.money import MicroUsdc
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently
from tests.world.usdc_fixtures import Payer, header


async def signed_in(at: Instance, name: str = "agent") -> dict[str, str]:
    """Open an account; return the headers of its holder."""
    body = {"username": name, "password": "secret"}
    answer = await at.post("/api/auth/login", body)
    at.http.cookies.clear()
    return {"Authorization": f"Bearer {answer.cookies['session']}"}


async def standing(at: Instance, holder: dict[str, str]) -> dict[str, Any]:
    """Return what an account has."""
    answer = await at.http.get("/api/account", headers=holder)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def has(at: Instance, holder: dict[str, str], sats: int) -> None:
    """Wait until an account has so much."""
    async for look in patiently("the balance is never that"):
        look.saw = shown = await standing(at, holder)
        if shown["balanceSats"] == sats:
            return


async def paid_in(at: Instance, holder: dict[str, str], sats: int, **more: Any) -> dict[str, Any]:
    """Ask for a deposit, and pay it."""
    answer = await at.post("/api/account/deposits", {"amountSats": sats}, headers=holder)
    assert answer.status_code == 201, answer.text
    invoice: dict[str, Any] = answer.json()["invoice"]
    assert invoice["amountSats"] == sats
    await at.pay(invoice, **more)
    return invoice


async def buyers_invoice(at: Instance, sats: int) -> str:
    """Return an invoice of a wallet that is not ours."""
    answer = await at.post("/api/dev/stub/invoice", {"amountSats": sats})
    return str(answer.json()["paymentRequest"])


async def withdraw(at: Instance, holder: dict[str, str], **body: Any) -> httpx2.Response:
    """Ask for a withdrawal."""
    return await at.post("/api/account/withdrawals", body, headers=holder)


async def gone(at: Instance, holder: dict[str, str]) -> None:
    """Wait until all that was taken out has arrived."""
    async for look in patiently("it does not arrive"):
        look.saw = shown = (await standing(at, holder))["withdrawals"]
        if not shown:
            return


def paying(at: Instance, payer: Payer, amount_microusdc: int) -> dict[str, str]:
    """Return the header of a signed order of this amount."""
    usdc = at.built.usdc
    assert usdc is not None
    offer, now_s = usdc.offer(MicroUsdc(amount_microusdc)), int(at.built.clock().timestamp())
    order = payer.pays(offer, now_s, valid_before_s=now_s + offer.window_s)
    return {"PAYMENT-SIGNATURE": header(order)}


async def on_chain(at: Instance, payer: Payer) -> int:
    """Return what a payer has on the chain."""
    usdc = at.built.usdc
    assert usdc is not None
    balance = await usdc.ledger.balance_microusdc(payer.address)
    assert isinstance(balance, int)
    return balance


async def message_for(at: Instance, key: bytes, **out: Any) -> str:
    """Return a message for the holder of a key to sign: to sign in, or to approve what is taken
    out.
    """
    asked = {"address": address_of_key(key), **out}
    answer = await at.http.get("/api/auth/nonce", params=asked)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"])


def signed(message: str, key: bytes) -> dict[str, str]:
    """Return a message with its signature."""
    return {"message": message, "signature": signature_of(key, personal_digest(message))}


async def right(at: Instance) -> None:
    """Find nothing wrong with the books."""
    assert [finding.line for finding in await audit(at.built.db)] == []
