"""A session's page: its holder spends, tops up and closes; others see the balance and no more."""

from collections.abc import Awaitable, Callable

import httpx2

from db.audit import audit
from pricing.money import Msat
from tests.house_fixtures import Instance
from tests.page_fixtures import Visitor

Come = Callable[..., Awaitable[Visitor]]


async def opened(visitor: Visitor) -> str:
    """Open a session on the first page and pay for it; return its id."""
    page = visitor.page
    await page.goto("/")
    await page.fill("#amount", "1,000")
    await page.click("text=Open a session")
    await visitor.headline("Pay the deposit")
    assert "LIGHTNING:LN" in await visitor.code()
    await page.click("[data-stub-pay]")
    await visitor.reloaded_until("Your balance")
    return page.url.rpartition("/")[2]


async def test_a_session_is_spent_topped_up_and_closed(instance: Instance, visit: Come) -> None:
    """All with forms alone: asked from the balance, listed as spent, topped up, taken back."""
    visitor = await visit(instance.url, java_script_enabled=False)
    page = visitor.page
    session_id = await opened(visitor)
    assert await page.inner_text("[data-balance]") == "1,000"
    await page.fill("#request", "hello")
    await page.click("text=Ask, from the balance")
    await visitor.reloaded_until("Done")
    assert await page.inner_text("[data-result]") == "done: hello"
    await page.click("text=Its session")
    left = int(await page.inner_text("[data-balance]"))
    row = page.locator("#part-spent tbody tr")
    assert await row.locator("td").all_inner_texts() >= [""] and await row.count() == 1
    assert (await row.inner_text()).split("\t")[1:] == ["hello", "complete", str(1_000 - left)]
    await page.fill("#amount", "500")
    await page.click("text=Top up")
    assert "The top-up" in await page.inner_text("#pay")
    await page.click("[data-stub-pay]")
    assert await page.inner_text("[data-balance]") == f"{left + 500:,}"
    await page.click("text=Close >> nth=-1")
    await visitor.reloaded_until("This session is over")
    assert instance.parts.stub is not None
    mine = await instance.parts.stub.buyer_invoice(Msat((left + 500) * 1000), "mine", 600)
    await page.fill("#to", mine.bolt11)
    await page.click("#refunds button.button >> nth=-1")
    assert "It has arrived" in await page.inner_text("#refunds")
    assert page.url.startswith(f"{instance.url}/sessions/{session_id}")
    assert await audit(instance.parts.db) == []


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
    for text in ("Show the macaroon", "Top up", "Ask, from the balance", "Spent"):
        assert await other.page.locator(f"text={text}").count() == 0
    await other.page.fill("#macaroon", "AgEnonsense")
    await other.page.click("text=Open it here")
    await other.page.locator("[role=alert]").wait_for()
    await other.page.fill("#macaroon", macaroon)
    await other.page.click("text=Open it here")
    await other.page.locator("text=Show the macaroon").wait_for()
    await other.page.click("text=Forget it in this browser")
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
    async with httpx2.AsyncClient(base_url=instance.url) as http:
        for act in ("ask", "topup", "close", "macaroon", "refund", "lock"):
            path = f"/sessions/{session_id}/{act}"
            answer = await http.post(path, data={"request": "x", "amount": "500"})
            assert answer.status_code == 401, act
            ours = {"Cookie": f"{cookie['name']}={cookie['value']}"}
            answer = await http.post(path, data={"request": "x", "csrf": "0" * 64}, headers=ours)
            assert answer.status_code == 403, act
    assert (await instance.http.get(f"/api/sessions/{session_id}")).json()["balanceSats"] == 1_000
