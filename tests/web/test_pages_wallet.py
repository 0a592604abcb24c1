"""A wallet that lives in the browser (WebLN), and what the agent writes, as the page draws it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from db.audit import audit
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.page_fixtures import Visitor, order
from tests.world.scripted_agent import Writing

Come = Callable[..., Awaitable[Visitor]]
# An extension brings `window.webln`: an object whose every call goes to the wallet behind it.
PROVIDER = """
window.webln = {
  enable: () => window.walletHears("enable", ""),
  sendPayment: (invoice) => window.walletHears("sendPayment", invoice),
};
"""


class Wallet:
    """A wallet behind `window.webln`, that does what its owner says."""

    def __init__(self, lnbits: LnbitsServer) -> None:
        self.lnbits, self.heard = lnbits, list[tuple[str, str]]()
        self.refuses = ""  # the call that its owner does not allow

    async def into(self, page: Page) -> None:
        """Be reachable from a page."""
        await page.expose_function("walletHears", self._hears)

    async def _hears(self, call: str, invoice: str) -> dict[str, Any]:
        self.heard.append((call, invoice))
        if call == self.refuses:
            raise PermissionError("Its owner said <b>no</b>")
        if call == "enable":
            return {}
        return {"preimage": await self.lnbits.pay(self.lnbits.buyer, invoice)}


async def shown(page: Page) -> str:
    """Return the invoice that the page shows as text."""
    return (await page.locator("[data-invoice]").text_content() or "").strip()


async def test_a_wallet_in_the_browser_pays(
    lenient_on_lnbits: Instance, lnbits: LnbitsServer, visit: Come
) -> None:
    """It is asked to allow the page, then to pay exactly the invoice that is shown, on a real
    LNbits; the page goes on by itself, by keyboard too.
    """
    visitor, wallet = await visit(lenient_on_lnbits.url), Wallet(lnbits)
    page = visitor.page
    await wallet.into(page)
    await page.add_init_script(PROVIDER)
    await order(visitor, "hello")
    fee = await shown(page)
    await page.click("[data-webln]")
    await visitor.headline("Pay for the work")
    work = await shown(page)
    assert work != fee
    await page.focus("[data-webln]")
    await page.keyboard.press("Enter")
    await visitor.headline("Done")
    # What had the focus is gone: a reader goes on from the top, not from nowhere.
    assert await page.evaluate("document.activeElement.id") == "main"
    calls = [("enable", ""), ("sendPayment", fee), ("enable", ""), ("sendPayment", work)]
    assert wallet.heard == calls
    assert await audit(lenient_on_lnbits.built.db) == []


async def test_a_wallet_that_refuses_leaves_the_page_as_it_was(
    lenient_on_lnbits: Instance, lnbits: LnbitsServer, visit: Come
) -> None:
    """A sentence says so, with the wallet's reason as plain text, and it can be asked again."""
    visitor, wallet = await visit(lenient_on_lnbits.url), Wallet(lnbits)
    page = visitor.page
    await wallet.into(page)
    await page.add_init_script(PROVIDER)
    await order(visitor, "hello")
    for wallet.refuses in ("enable", "sendPayment"):
        await page.click("[data-webln]")
        said = page.locator("[data-webln-says]", has_text="did not pay")
        await said.wait_for()
        assert "Its owner said <b>no</b>" in await said.inner_text()
        assert await said.get_attribute("role") == "status"
        assert wallet.heard[-1][0] == wallet.refuses
    assert "LIGHTNING:LN" in await visitor.code()
    wallet.refuses = ""
    await page.click("[data-webln]")
    await visitor.headline("Pay for the work")


async def test_without_a_wallet_there_is_no_button_for_it(instance: Instance, visit: Come) -> None:
    """It comes when the wallet does, which may be later than the page."""
    visitor = await visit(instance.url)
    await order(visitor, "hello")
    button = visitor.page.locator("[data-webln]")
    assert await button.is_hidden()
    await visitor.page.evaluate("window.webln = {}; window.dispatchEvent(new Event('webln:ready'))")
    await button.wait_for(state="visible")


async def test_what_the_agent_writes_is_drawn_while_it_writes(
    database_url: str, tmp_path: Path, visit: Come
) -> None:
    """In order, in whole characters, as text and not as markup; then the result takes its place."""
    agent = Writing()
    async with instance_of(database_url, tmp_path, agent=agent) as instance:
        visitor = await visit(instance.url)
        draft = visitor.page.locator("[data-draft]")
        job = await instance.to_work_invoice("hello")
        await instance.pay(job["workInvoice"])
        await visitor.page.goto(f"/jobs/{job['jobId']}")
        text = ""
        for word in ("Grüße 🙂🙂, ", "<b>two</b> ", "🙂 three"):
            agent.words.put_nowait(word)
            text += word
            await visitor.page.locator("[data-draft]", has_text=text).wait_for()
        assert await draft.text_content() == text
        assert "sats so far" in await visitor.page.inner_text("[data-draft-cost]")
        agent.words.put_nowait("BREAK")
        agent.words.put_nowait("again")
        await visitor.page.get_by_text("again", exact=True).wait_for()
        assert await draft.text_content() == "again"
        agent.words.put_nowait("")
        await visitor.headline("Done")
        assert await draft.count() == 0
        assert await visitor.page.inner_text("[data-result]") == "again"
