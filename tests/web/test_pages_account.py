"""An account's page: signing in, the balance and its ways in and out, keys, what was spent on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.async_api import Page

from payments.lnurl import decode
from payments.siwe import personal_digest
from payments.usdc.address import address_of_key
from payments.usdc.authorization import signature_of
from payments.usdc.stub_chain import FAUCET
from pricing.money import Msat
from tests.world.account_fixtures import paying, right
from tests.world.batch_doors import batch, sold_by
from tests.world.house_fixtures import Instance
from tests.world.lightning_wallet import key_of, scan_of
from tests.world.notice_server import NoticeServer
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_fixtures import Payer

pytestmark = pytest.mark.one_instance
Come = Callable[..., Awaitable[Visitor]]
NAME, PASSWORD = "somebody", "a password of theirs"
BROWSERS = bytes(range(1, 33))  # the key of a browser's wallet
WALLET, OTHER = (ec.derive_private_key(key, ec.SECP256K1()) for key in (11, 12))


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance that makes pictures at once, and pays out 5,000 sats a day without more."""
    async with sold_by(
        database_url, tmp_path, ScriptedMaker(), PROOF_SATS_PER_DAY=5_000, PROOF_USDC_PER_DAY="1"
    ) as running:
        yield running


async def signed_in(visitor: Visitor) -> str:
    """Open an account with a name and a password, or sign in; return the recovery code if new."""
    page = visitor.page
    await page.goto("/account")
    await page.fill("#username", NAME)
    await page.fill("#password", PASSWORD)
    await page.click("[data-login]")
    code = ""
    if await page.locator("[data-recovery]").count():
        code = await page.inner_text("[data-recovery]")
        await page.click("text=I have kept it")
    await visitor.headline("Your balance")
    return code


async def topped_up(visitor: Visitor, sats: str) -> None:
    """Pay into the account by the code of an invoice."""
    page = visitor.page
    await page.fill("#amount", sats)
    await page.click("[data-topup]")
    assert "LIGHTNING:LN" in await visitor.code()
    await page.click("[data-stub-pay]")
    async for look in patiently("the balance is never that", pause_s=0.1):
        await page.goto("/account")
        look.saw = shown = await page.inner_text("[data-balance]")
        if shown == sats:
            break


async def test_an_account_is_used_with_forms_alone(house: Instance, visit: Come) -> None:
    """Signed in, topped up, spent, taken out and left, without a script."""
    visitor = await visit(house.url, java_script_enabled=False)
    page = visitor.page
    await signed_in(visitor)
    await topped_up(visitor, "10,000")
    async with NoticeServer().running() as server:
        body = batch("a red boat", "a blue one", notify={"url": server.url})
        bought = await page.request.post("/api/jobs", data=body)
        assert bought.status == 201, await bought.text()
        await server.until(1)
        await _sent_again(page, server)
    async for _ in patiently("nothing is made", pause_s=0.1):
        await page.goto("/account")
        if await page.locator(".gallery img").count() == 2:
            break
    left = int((await page.inner_text("[data-balance]")).replace(",", ""))
    spent = await page.inner_text("[data-spent]")
    assert 0 < float(spent) <= 10_000 - left < float(spent) + 1
    assert await page.locator(".plot rect").count() == 1
    assert await page.get_attribute(".gallery img >> nth=0", "alt") in ("a red boat", "a blue one")
    picture = await page.request.get(await page.get_attribute(".gallery img >> nth=0", "src") or "")
    assert picture.headers["content-type"] == "image/png"
    assert house.built.stub is not None
    mine = await house.built.stub.buyer_invoice(Msat(100_000), "mine", 600)
    await page.fill("#payee", mine.bolt11)
    await page.click("[data-withdraw]")
    async for _ in patiently("it does not arrive", pause_s=0.1):
        await page.goto("/account")
        if not await page.locator("#refunds").count():
            break
    assert await page.inner_text("[data-balance]") == f"{left - 100:,}"
    await page.click("[data-leave]")
    await page.locator("#username").wait_for()
    await signed_in(visitor)
    await right(house)


async def _sent_again(page: Page, server: NoticeServer) -> None:
    """Find a notice among the deliveries, and have it sent again: from there, and from its log."""
    async for _ in patiently("it is never delivered", pause_s=0.1):
        await page.goto("/account")
        if "Delivered" in await page.inner_text("#notices"):
            break
    assert "batch.completed" in await page.inner_text("#notices")
    await page.click("#notices >> text=Send again")
    await page.locator("[role=status]", has_text="being sent again").wait_for()
    await server.until(2)
    await page.click("text=Send again")
    first, *others = await server.until(3)
    assert {each.headers["webhook-id"] for each in others} == {first.headers["webhook-id"]}


async def test_a_large_withdrawal_is_confirmed_by_the_wallet(house: Instance, visit: Come) -> None:
    """A Lightning wallet signs the code that is shown; a browser's wallet a message."""
    visitor = await visit(house.url)
    page = visitor.page
    await page.goto("/account")
    await scan_of(house, (await visitor.code()).removeprefix("LIGHTNING:"), WALLET)
    await visitor.headline("Your balance")
    await topped_up(visitor, "10,000")
    await page.fill("#sats", "6,000")
    await page.click("[data-withdraw]")
    link = (await visitor.code("#sign .qr")).removeprefix("LIGHTNING:")
    assert "action=auth" in (decode(link) or "")
    assert await scan_of(house, link, WALLET) == {"status": "OK"}
    await page.locator("#refunds .qr").wait_for()
    assert await page.inner_text("[data-balance]") == "4,000"
    other = await visit(house.url)
    page = other.page
    await with_ethereum(page)
    await page.goto("/account")
    await page.click("[data-siwe]")
    await other.headline("Your balance")
    await topped_up(other, "7,000")
    await page.fill("#sats", "7,000")
    await page.click("[data-withdraw]")
    await page.click("#proof [data-siwe]")
    await page.locator("#refunds .qr").wait_for()
    assert await page.inner_text("[data-balance]") == "0"
    await right(house)


async def test_a_wallet_signs_in_by_the_code_that_is_shown(instance: Instance, visit: Come) -> None:
    """The page is let in by itself once the wallet has signed; so is one without a script, when it
    is asked to look.
    """
    for options in ({}, {"java_script_enabled": False}):
        visitor = await visit(instance.url, **options)
        page = visitor.page
        await page.goto("/account")
        link = (await visitor.code()).removeprefix("LIGHTNING:")
        if options:
            await page.click("[data-scanned]")
            assert "No wallet has signed" in await page.inner_text("[data-scan-says]")
            assert (await visitor.code()).removeprefix("LIGHTNING:") == link
        assert await scan_of(instance, link, WALLET) == {"status": "OK"}
        if options:
            await page.click("[data-scanned]")
        await visitor.headline("Your balance")
        assert key_of(WALLET)[:6] in await page.inner_text("#ways")


async def test_a_lightning_wallet_joins_an_account(instance: Instance, visit: Come) -> None:
    """By the code on its page; it opens the same account then."""
    visitor = await visit(instance.url)
    page = visitor.page
    await signed_in(visitor)
    await page.click("[data-join]")
    link = (await visitor.code("#join .qr")).removeprefix("LIGHTNING:")
    assert "action=link" in (decode(link) or "")
    assert await scan_of(instance, link, OTHER) == {"status": "OK"}
    await page.locator("#ways", has_text="Lightning wallet").wait_for()


async def test_usdc_goes_out_to_the_wallet_that_opens_the_account(
    house: Instance, visit: Come
) -> None:
    """And to no other; more than a day's amount is confirmed first, as sats are."""
    visitor, payer = await visit(house.url), Payer()
    page = visitor.page
    await with_ethereum(page)
    await page.goto("/account")
    await page.click("[data-siwe]")
    await visitor.headline("Your balance")
    assert not await page.locator("#out-usdc").count()
    paid = paying(house, payer, 2_500_000)
    told = await page.request.post(
        "/api/account/deposits", data={"amountUsdc": "2.5"}, headers=paid
    )
    assert told.status == 201, await told.text()
    for amount, said in (("1.2345678", "six places"), ("0,5", "six places"),
                         ("0.001", "0.01 USDC at the least")):  # fmt: skip
        await page.goto("/account")  # away from what was said of the one before
        await page.fill("#usdc", amount)
        await page.click("[data-withdraw-usdc]")
        await page.locator("#problem", has_text=said).wait_for()
    await page.fill("#usdc", "0.5")
    await page.click("[data-withdraw-usdc]")
    await page.locator("[data-usdc-balance]", has_text="2.000000").wait_for()
    await page.fill("#usdc", "1.5")
    await page.click("[data-withdraw-usdc]")
    mine = address_of_key(BROWSERS)
    assert f"1.5 USDC to {mine[:20]}…{mine[-8:]}" in await page.inner_text("#proof")
    await page.click("#proof [data-siwe]")
    await page.locator("[data-usdc-balance]", has_text="0.500000").wait_for()
    async for _ in patiently("it does not arrive", pause_s=0.1):
        await page.goto("/account")
        if not await page.locator("#refunds").count():
            break
    assert house.built.usdc is not None
    assert await house.built.usdc.ledger.balance_microusdc(mine) == FAUCET + 2_000_000
    await right(house)


async def test_a_key_is_shown_once_and_revoked(instance: Instance, visit: Come) -> None:
    """It is in the answer that made it, and in no other; it opens the account until then."""
    visitor = await visit(instance.url)
    page = visitor.page
    await signed_in(visitor)
    await page.fill("#name", "my server")
    await page.fill("#limit", "500")
    await page.click("[data-make-key]")
    key = (await page.text_content("[data-key]") or "").strip()
    assert key.startswith("sk_live_bw_")
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        me = (await http.get("/api/v1/user/me", headers={"x-api-key": key})).json()
        assert me["apiKey"]["spendingLimitSats"] == 500
        await page.goto("/account")
        assert key not in await page.content()
        assert "my server" in await page.inner_text("#keys")
        await page.click("text=Revoke")
        await visitor.headline("Your balance")
        assert "my server" not in await page.inner_text("#keys")
        gone = await http.get("/api/v1/user/me", headers={"x-api-key": key})
        assert gone.status_code == 401


async def test_a_browsers_wallet_signs_in(instance: Instance, visit: Come) -> None:
    """It is asked for a signature of our message, and no more; a look after the code that was
    shown beside it, which nobody has signed, comes late and changes nothing."""
    visitor = await visit(instance.url)
    page = visitor.page
    await with_ethereum(page)
    await page.goto("/account")
    code: dict[str, str | float | bool] = {
        name: await page.input_value(f"[name={name}]") for name in ("k1", "secret")
    }
    await page.click("[data-siwe]")
    await visitor.headline("Your balance")
    assert (await page.request.post("/account/lightning", form=code)).ok
    await page.goto("/account")
    await visitor.headline("Your balance")
    assert "Browser wallet" in await page.inner_text("#ways")


async def with_ethereum(page: Page) -> None:
    """Give a browser a wallet."""
    await page.expose_function("signs", _signs)
    await page.add_init_script(
        "window.ethereum = {request: ({method, params}) => window.signs(method, params || [])}"
    )


def _signs(method: str, params: list[Any]) -> Any:
    key = BROWSERS
    if method == "eth_requestAccounts":
        return [address_of_key(key)]
    assert method == "personal_sign"
    return signature_of(key, personal_digest(bytes.fromhex(params[0][2:]).decode()))


async def test_forms_are_taken_from_our_own_page_alone(instance: Instance, visit: Come) -> None:
    """Without the cookie and its token nothing is paid out, made, or joined."""
    visitor = await visit(instance.url)
    await signed_in(visitor)
    cookies = await visitor.context.cookies()
    [cookie] = [each for each in cookies if each["name"] == "session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    acts = ("topup", "withdraw", "notices", "refund", "keys", "keys/revoke", "join", "logout")
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        ours = {"Cookie": f"session={cookie['value']}"}
        told = await asyncio.gather(
            *(http.post(f"/account/{act}", data={"amount": "5"}) for act in acts),
            *(http.post(f"/account/{act}", data={"csrf": "0" * 64}, headers=ours) for act in acts),
        )
    assert [each.status_code for each in told] == [401] * len(acts) + [403] * len(acts)


async def test_a_wrong_password_is_said_at_its_form(instance: Instance, visit: Come) -> None:
    """And bad amounts at theirs."""
    visitor = await visit(instance.url)
    page = visitor.page
    await signed_in(visitor)
    for field, value, button in (
        ("#amount", "0", "[data-topup]"),
        ("#sats", "a lot", "[data-withdraw]"),
        ("#sats", "", ""),
        ("#payee", "nobody", "[data-withdraw]"),
        ("#limit", "-1", "[data-make-key]"),
    ):
        await page.fill(field, value)
        if not button:
            continue
        await page.click(button)
        await page.locator(f"{field}[aria-invalid=true]").wait_for()
    await page.click("[data-leave]")
    await page.fill("#username", NAME)
    await page.fill("#password", "another one")
    await page.click("[data-login]")
    assert "isn’t right" in (await page.inner_text("#problem")).replace("'", "’")
