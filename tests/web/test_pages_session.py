"""A session's page: its holder spends, tops up and closes; others see the balance and no more."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from db.audit import audit
from pricing.money import Msat
from tests.world.house_fixtures import Instance
from tests.world.page_fixtures import Visitor, opened
from tests.world.patience import PATIENCE_S

pytestmark = pytest.mark.one_instance
Come = Callable[..., Awaitable[Visitor]]


async def test_a_session_is_spent_topped_up_and_closed(instance: Instance, visit: Come) -> None:
    """All with forms alone: asked from the balance, listed as spent, topped up, taken back."""
    visitor = await visit(instance.url, java_script_enabled=False)
    page = visitor.page
    session_id = await opened(visitor)
    assert await page.inner_text("[data-balance]") == "1,000"
    await page.fill("#request", "hello")
    await page.click("text=Ask and pay")
    await visitor.reloaded_until("Done")
    assert await page.inner_text("[data-result]") == "done: hello"
    await page.click("text=Back to the session")
    left = int(await page.inner_text("[data-balance]"))
    row = page.locator("#part-spent tbody tr")
    assert await row.locator("td").all_inner_texts() >= [""] and await row.count() == 1
    assert (await row.inner_text()).split("\t")[1:] == ["hello", "complete", str(1_000 - left)]
    await page.fill("#amount", "500")
    await page.click("text=Top up >> nth=-1")
    assert "Top-up" in await page.inner_text("#pay")
    await page.click("[data-stub-pay]")
    assert await page.inner_text("[data-balance]") == f"{left + 500:,}"
    await page.click("#close .button")
    await page.click("[data-sure]")
    await visitor.reloaded_until("Session closed")
    assert instance.built.stub is not None
    mine = await instance.built.stub.buyer_invoice(Msat((left + 500) * 1000), "mine", 600)
    await page.fill("#to", mine.bolt11)
    await page.click("#refunds .row .button >> nth=0")
    assert "It has arrived" in await page.inner_text("#refunds")
    assert page.url.startswith(f"{instance.url}/sessions/{session_id}")
    assert await audit(instance.built.db) == []


async def test_the_macaroon_is_shown_to_its_holder_and_kept_nowhere(
    instance: Instance, visit: Come
) -> None:
    """It stands in one answer, when it is asked for: in no address, storage or readable cookie."""
    visitor = await visit(instance.url)
    page = visitor.page
    session_id = await opened(visitor)
    assert await page.locator("[data-macaroon]").count() == 0
    await page.click("text=Show the macaroon")
    macaroon = (await page.text_content("[data-macaroon]") or "").strip()
    status = await instance.http.get(
        f"/api/sessions/{session_id}", headers={"Authorization": f"Bearer {macaroon}"}
    )
    assert status.json()["macaroon"] == macaroon
    kept = await page.evaluate(
        "JSON.stringify([location.href, document.cookie, localStorage, sessionStorage])"
    )
    cookies = await visitor.context.cookies()
    assert macaroon not in kept + str(cookies) and macaroon not in page.url
    [cookie] = cookies
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert cookie["path"] == f"/sessions/{session_id}"
    await page.goto(f"/sessions/{session_id}")
    assert await page.locator("[data-macaroon]").count() == 0

    other = await visit(instance.url)
    await other.page.goto(f"/sessions/{session_id}")
    assert await other.page.inner_text("[data-balance]") == "1,000"
    for text in ("Show the macaroon", "Top up", "Ask and pay", "Spent"):
        assert await other.page.locator(f"text={text}").count() == 0
    await other.page.fill("#macaroon", "AgEnonsense")
    await other.page.click("text=Unlock")
    await other.page.locator("[role=alert]").wait_for()
    await other.page.fill("#macaroon", macaroon)
    await other.page.click("text=Unlock")
    await other.page.locator("text=Show the macaroon").wait_for()
    await other.page.click("text=Sign out of this session")
    await other.page.locator("#macaroon").wait_for()


async def test_a_revoked_credential_closes_the_page_too(instance: Instance, visit: Come) -> None:
    """The cookie stands for the credential: when that is renewed, the page asks for the new one."""
    visitor = await visit(instance.url)
    session_id = await opened(visitor)
    await visitor.page.click("text=Show the macaroon")
    macaroon = (await visitor.page.text_content("[data-macaroon]") or "").strip()
    revoked = await instance.http.post(
        f"/api/sessions/{session_id}/revoke", headers={"Authorization": f"Bearer {macaroon}"}
    )
    assert revoked.status_code == 200
    await visitor.page.goto(f"/sessions/{session_id}")
    await visitor.page.locator("#macaroon").wait_for()


async def test_what_a_holder_does_takes_the_cookie_and_its_token(
    instance: Instance, visit: Come
) -> None:
    """Without both nothing is spent, shown or closed."""
    visitor = await visit(instance.url)
    session_id = await opened(visitor)
    [cookie] = await visitor.context.cookies()
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        for act in ("ask", "topup", "close", "macaroon", "refund", "lock"):
            path = f"/sessions/{session_id}/{act}"
            answer = await http.post(path, data={"request": "x", "amount": "500"})
            assert answer.status_code == 401, act
            ours = {"Cookie": f"{cookie['name']}={cookie['value']}"}
            answer = await http.post(path, data={"request": "x", "csrf": "0" * 64}, headers=ours)
            assert answer.status_code == 403, act
    assert (await instance.http.get(f"/api/sessions/{session_id}")).json()["balanceSats"] == 1_000


async def test_a_price_is_shown_before_asking(instance: Instance, visit: Come) -> None:
    """What a request would cost is asked for on the page; one beyond the limit is refused there,
    free of charge, and what was written stays.
    """
    visitor = await visit(instance.url)
    page = visitor.page
    await opened(visitor)
    assert "a question costs at most" in await page.inner_text("#max-hint")
    await page.fill("#request", "hello there")
    await page.click("text=What would it cost?")
    estimated = (await instance.post("/api/estimate", {"request": "hello there"})).json()
    said = await page.inner_text(".estimate")
    assert f"{estimated['totalSats']} sats at most in total" in said
    await page.fill("#maxSats", "nine")
    await page.click("text=Ask and pay")
    await page.locator("#maxSats:focus").wait_for()
    await page.fill("#maxSats", "9")
    await page.click("text=Ask and pay")
    await page.locator("form #problem").wait_for()
    assert "9" in await page.inner_text("#problem")
    assert await page.input_value("#request") == "hello there"
    assert await page.inner_text("[data-balance]") == "1,000"
    await page.fill("#maxSats", str(estimated["totalSats"]))
    await page.click("text=Ask and pay")
    await visitor.headline("Done")


async def test_closing_asks_once_more(instance: Instance, visit: Come) -> None:
    """Until its holder has said so twice a session stays open; a closed one says it once."""
    visitor = await visit(instance.url)
    page = visitor.page
    session_id = await opened(visitor)
    await page.fill("#close-to", "nobody")
    await page.click("#close .button")
    await page.locator("#close-to:focus").wait_for()
    await page.fill("#close-to", "")
    await page.click("#close .button")
    assert "can’t be opened again" in await page.inner_text("#close")
    await page.click("text=Keep it open")
    status = (await instance.http.get(f"/api/sessions/{session_id}")).json()
    assert status["state"] == "active"
    await page.click("#close .button")
    await page.click("[data-sure]")
    await visitor.headline("Session closed")
    told = await page.inner_text("main")
    assert told.lower().count("closed") == 1 and " over" not in told.lower()


async def test_whose_balance_it_is_is_said_to_its_holder_alone(
    instance: Instance, visit: Come
) -> None:
    """To others it is a balance."""
    visitor, stranger = await visit(instance.url), await visit(instance.url)
    session_id = await opened(visitor)
    assert await visitor.page.inner_text("h1") == "Your balance"
    await stranger.page.goto(f"/sessions/{session_id}")
    assert await stranger.page.inner_text("h1") == "Balance"
