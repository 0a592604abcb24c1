"""A browser's own wallet pays the studio in USDC (EIP-1193, x402); its account alone sees it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from playwright.async_api import Page

from db.audit import audit
from payments.usdc.authorization import Authorization, sign
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.stub_chain import FAUCET
from pricing.money import MicroUsdc
from tests.world.house_fixtures import Instance
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S
from tests.world.studio_fixtures import maker, studio
from tests.world.usdc_fixtures import Payer

__all__ = ["maker", "studio"]

Come = Callable[..., Awaitable[Visitor]]
# An extension brings `window.ethereum`: an object whose every call goes to the wallet behind it.
PROVIDER = """
window.ethereum = {
  request: ({ method, params }) => window.walletHears(method, JSON.stringify(params ?? [])),
};
"""


class Wallet:
    """A wallet behind `window.ethereum`, that signs what it is asked to, or refuses."""

    def __init__(self) -> None:
        self.payer, self.heard, self.refuses = Payer(), list[str](), ""
        self.signed: dict[str, Any] = {}

    async def into(self, page: Page) -> None:
        """Be reachable from a page."""
        await page.expose_function("walletHears", self._hears)
        await page.add_init_script(PROVIDER)

    async def _hears(self, method: str, params: str) -> Any:
        self.heard.append(method)
        if method == self.refuses:
            raise PermissionError("Its owner said <b>no</b>")
        match method:
            case "eth_requestAccounts":
                return [self.payer.address]
            case "eth_signTypedData_v4":
                address, text = json.loads(params)
                assert address == self.payer.address
                self.signed = json.loads(text)
                return sign(self.payer.key, self._order(self.signed), BASE_SEPOLIA)
        return None

    def _order(self, asked: dict[str, Any]) -> Authorization:
        """Return the order that the page asks to have signed, as the contract knows it."""
        assert asked["primaryType"] == "TransferWithAuthorization"
        assert asked["domain"] == {
            "name": BASE_SEPOLIA.token_name,
            "version": BASE_SEPOLIA.token_version,
            "chainId": BASE_SEPOLIA.chain_id,
            "verifyingContract": BASE_SEPOLIA.token,
        }
        said = asked["message"]
        assert list(said) == [field["name"] for field in asked["types"][asked["primaryType"]]]
        return Authorization(
            self.payer.address,
            said["to"],
            MicroUsdc(int(said["value"])),
            int(said["validAfter"]),
            int(said["validBefore"]),
            said["nonce"],
        )


async def test_pictures_are_paid_in_usdc_by_a_wallet_in_the_browser(
    studio: Instance, visit: Come
) -> None:
    """It signs one order for the price of what the form holds, and moves that much, once; the
    page of what it bought is seen by this browser, and by nobody who has the address alone.
    """
    visitor, wallet = await visit(studio.url), Wallet()
    page = visitor.page
    await wallet.into(page)
    await page.goto("/studio")
    await page.fill("#prompt", "SOME cats — größer")
    await page.fill("#count", "8")
    wallet.refuses = "eth_signTypedData_v4"
    await page.click("[data-usdc]")
    said = page.locator("[data-usdc-says]", has_text="not paid in USDC")
    await said.wait_for()
    assert "Its owner said <b>no</b>" in await said.inner_text()
    wallet.refuses = ""
    await page.click("[data-usdc]")
    await visitor.headline("Done")
    assert wallet.signed["message"]["value"] == "32000"
    assert "0.032000 USDC" in await page.inner_text("#part-price")
    assert "0.016000 USDC: payment for what" in await page.inner_text("#refunds")
    assert await page.locator("#refunds form, #refunds .qr").count() == 0
    batch_id = page.url.rpartition("/")[2]
    file = await page.locator(".gallery img").first.get_attribute("src") or ""
    assert file.startswith(f"/jobs/{batch_id}/items/")
    async with httpx2.AsyncClient(base_url=studio.url, timeout=PATIENCE_S) as stranger:
        for path in (f"/jobs/{batch_id}", file, f"/jobs/{batch_id}/files.zip"):
            assert (await stranger.get(path)).status_code == 404
            wrong = {"Cookie": f"session={'0' * 64}"}
            assert (await stranger.get(path, headers=wrong)).status_code == 404
        for path in ("cancel", "refund", "pay"):
            assert (await stranger.post(f"/jobs/{batch_id}/{path}")).status_code == 404
    assert studio.built.usdc is not None
    left = await studio.built.usdc.ledger.balance_microusdc(wallet.payer.address)
    assert left in (FAUCET - 32_000, FAUCET - 16_000)  # before and after the refund
    assert await audit(studio.built.db) == []


async def test_without_a_wallet_nothing_is_said_of_usdc(studio: Instance, visit: Come) -> None:
    """The button comes when a wallet makes itself known."""
    visitor = await visit(studio.url)
    page = visitor.page
    await page.goto("/studio")
    assert await page.locator("[data-usdc]").is_hidden()
    await page.evaluate(
        "window.dispatchEvent(new CustomEvent('eip6963:announceProvider',"
        " { detail: { provider: { request: async () => [] } } }))"
    )
    await page.locator("[data-usdc]").wait_for()
