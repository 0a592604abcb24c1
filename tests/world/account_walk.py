"""The pages of an account, one after another, for the judges of tests/web/test_pages_safe.py."""

from collections.abc import AsyncIterator

from tests.world.batch_doors import batch
from tests.world.page_fixtures import Visitor
from tests.world.patience import patiently

ATTACK = '<script>alert(1)</script> "><b data-xss>bold</b> <img src=x onerror="alert(2)">'


async def account_pages(visitor: Visitor) -> AsyncIterator[str]:
    """Bring a visitor to every kind of page of an account, one after another; yield its name."""
    page = visitor.page
    await page.goto("/account")
    yield "sign in"
    await page.fill("#username", "somebody")
    await page.fill("#password", "a password")
    await page.click("[data-login]")
    code = await page.inner_text("[data-recovery]")
    yield "recovery code"
    await page.click("text=I have kept it")
    await visitor.headline("Your balance")
    yield "empty account"
    await page.fill("#amount", "10,000")
    await page.click("[data-topup]")
    await page.locator("#pay").wait_for()
    yield "top-up"
    await page.click("[data-stub-pay]")
    await page.locator("[data-balance]", has_text="10,000").wait_for()
    body = batch("one", "two", f"three {ATTACK}", notify={"url": "http://127.0.0.1:9/nobody"})
    bought = await page.request.post("/api/jobs", data=body)
    assert bought.status == 201, await bought.text()
    async for _ in patiently("nothing is made", pause_s=0.2):
        await page.goto("/account")
        if await page.locator(".gallery img").count() == 3:
            break
    await page.click("text=Show as tables")
    await page.click("[data-make-key]")
    await page.locator("[data-key]").wait_for()
    yield "account"
    await page.fill("#sats", "0")
    await page.click("[data-withdraw]")
    await page.locator("#problem").wait_for()
    yield "refused withdrawal"
    await page.fill("#sats", "5,001")
    await page.click("[data-withdraw]")
    await page.fill("#recovery_code", "0" * 32)
    await page.click("[data-prove]")
    await page.locator("#proof #problem", has_text="code").wait_for()
    yield "refused proof"
    await page.fill("#recovery_code", code)
    await page.click("[data-prove]")
    await page.locator("#refunds .qr").wait_for()
    yield "withdrawal"
    await page.click("#notices th a")
    await visitor.headline("Webhook deliveries")
    yield "deliveries"
    await page.goto("/account")
    await page.click("[data-join]")
    await page.locator("#join").wait_for()
    yield "joining a wallet"
