"""The pages of those who lend machines, and the operator's view of them, in a real browser."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import advance
from app.keys import api_keys
from app.keys.api_keys import Prefix
from db.audit import audit
from db.workers import NewWorker
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lending_fixtures import AT, Lender, buys, lends, painted
from tests.world.page_fixtures import NARROW, WIDE, Visitor
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_maker import ScriptedMaker

Come = Callable[..., Awaitable[Visitor]]
TOKEN = "the token of an operator"
SETTINGS: dict[str, Any] = {"WORKERS": "true", "OPERATOR_TOKEN": TOKEN}
MACHINE = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
async def network(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance whose pictures are made by workers of the network alone: one for all tests."""
    folder, nobody = tmp_path_factory.mktemp("network"), ScriptedMaker(at_once=0)
    async with instance_of(database_url_of_file, folder, executors=[nobody], **SETTINGS) as running:
        yield running
        nobody.go.set()


async def earns(at: Instance, name: str) -> Lender:
    """Lend a machine that makes two pictures."""
    lender = await lends(at, name)
    await buys(at, f"a boat of {name}", f"a tree of {name}")
    for colour in ("red", "blue"):
        assert (await lender.brings(await lender.one(), painted(colour))).status_code == 200
    return lender


async def opened(visitor: Visitor, token: str) -> None:
    """Open a worker's page with its token."""
    await visitor.page.goto("/workers/me")
    await visitor.page.fill("#token", token)
    await visitor.page.click("[data-unlock]")
    await visitor.page.locator("#part-sums").wait_for()


def sats(amount_msat: int) -> str:
    """Return msat as the pages write them."""
    whole, rest = divmod(amount_msat, 1_000)
    return f"{whole:,}" + (f".{rest:03d}" if rest else "")


async def test_the_network_is_seen_at_a_glance(
    database_url: str, tmp_path: Path, visit: Come, axe: str
) -> None:
    """How to begin, before anybody is there; then who is, what waits, and what the market pays."""
    nobody = ScriptedMaker(at_once=0)
    async with instance_of(database_url, tmp_path, executors=[nobody], **SETTINGS) as at:
        visitor = await visit(at.url)
        page = visitor.page
        await page.goto("/")
        await page.click("footer >> text=Lend a machine")
        await visitor.headline("Lend a machine")
        assert "You would be the first" in await page.inner_text("main")
        commands = await page.inner_text("#start pre")
        assert f"boltwork lend --url {at.url} --to " in commands
        assert await page.get_attribute("#start [data-copy]", "data-copy") == commands
        lender = await lends(at)
        await buys(at, "a boat", "a tree")
        lease = await lender.one()
        earned = (await lender.brings(lease, painted())).json()["earned"]["msat"]
        async for _ in patiently("the page never tells of the worker", pause_s=0.2):
            if "data-here>1<" in await (await page.request.get("/workers")).text():
                break
        await page.reload()
        tiles = [await page.inner_text(f"[data-{each}]") for each in ("here", "waiting", "made")]
        assert tiles == ["1", "1", "1"]
        [row] = await page.locator("main section >> nth=1 >> tbody tr").all_inner_texts()
        model, workers, waiting, _, _, pay = row.split("\t")
        assert (model, workers, waiting) == ("scene-1", "1", "1")
        assert pay == f"{sats(earned)} sats"
        assert "scene-1" in await page.inner_text("#pays-title ~ div")
        for fact in ("20 items", "7 days old", "ban a worker", "3 times within an hour"):
            assert fact in await page.inner_text("main")
        await visitor.judged(axe, "workers")
        nobody.go.set()


async def test_a_worker_is_seen_with_its_token_alone(
    network: Instance, visit: Come, axe: str
) -> None:
    """Its pay, its last items, its facts are the API's; the token is in no address, storage, page
    or cookie that can be read."""
    lender = await earns(network, "attic <b data-xss>")
    visitor = await visit(network.url)
    page = visitor.page
    await page.goto("/workers/me")
    await visitor.judged(axe, "worker's door")
    await page.fill("#token", lender.token[:-1] + "!")
    await page.click("[data-unlock]")
    await page.locator("#problem", has_text="No worker has this token").wait_for()
    await opened(visitor, lender.token)
    me = await lender.me()
    pay = me["earnings"]["msat"]
    for name in ("free", "held", "sending", "paid", "earned"):
        shown = (await page.inner_text(f"[data-{name}]")).removesuffix(" sats")
        assert shown == sats(pay[name]), name
    assert await page.inner_text("h1") == "attic <b data-xss>"
    assert await page.locator("[data-xss]").count() == 0
    assert await page.locator("#part-paid tbody tr").count() == 2
    assert "Nothing is waiting for what it makes: scene-1" in await page.inner_text("#part-idle")
    assert "2 by now" in await page.inner_text("#part-sums")
    kept = await page.evaluate(
        "JSON.stringify([location.href, document.cookie, localStorage, sessionStorage])"
    )
    [cookie] = await visitor.context.cookies()
    seen = kept + str(cookie) + await page.content()
    assert lender.token not in seen and me["token"] in seen
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert cookie["path"] == "/workers/me"
    await visitor.judged(axe, "worker")
    await page.click("[data-lock]")
    await page.locator("#token").wait_for()


async def test_a_worker_is_changed_and_paid_on_its_page(network: Instance, visit: Come) -> None:
    """Paused, resumed, drained, paid, and paid to somewhere else: by forms alone."""
    lender = await earns(network, "cellar")
    visitor = await visit(network.url, java_script_enabled=False)
    page = visitor.page
    await opened(visitor, lender.token)
    for to, headline in (("paused", "Paused"), ("online", "Online"), ("draining", "Draining")):
        await page.click(f"[data-to={to}]")
        assert (await page.inner_text("[data-say]")).startswith(headline)
        assert (await lender.me())["state"] == to
    free = (await lender.me())["earnings"]["msat"]["free"]
    await page.fill("#sats", "0")
    await page.click("[data-pay-out]")
    assert "whole number of sats" in await page.inner_text("#problem")
    await page.fill("#sats", str(free // 1_000 + 1))
    await page.click("[data-pay-out]")
    assert await page.locator("#problem").count() == 1
    await page.fill("#sats", "1")
    await page.click("[data-pay-out]")
    [payout] = await page.locator("#payouts tbody tr").all_inner_texts()
    assert "you@example.org" in payout and payout.endswith("1 sats")
    assert (await lender.me())["earnings"]["msat"]["free"] == free - 1_000
    await page.fill("#to", "nobody")
    await page.click("[data-change]")
    assert await page.input_value("#to") == "nobody"
    await page.fill("#to", "me@example.com")
    await page.click("[data-change]")
    assert await page.locator("#problem").count() == 0
    assert "me@example.com" in await page.inner_text("[data-next]")
    assert await page.inner_text("[data-pay-to]") == "you@example.org"
    await page.click("[data-keep]")
    assert await page.locator("[data-next]").count() == 0
    assert "next" not in await lender.me()
    assert [finding.line for finding in await audit(network.built.db)] == []


async def test_what_a_lender_does_takes_the_cookie_and_its_token(
    network: Instance, visit: Come
) -> None:
    """Without both nothing is changed or sent; and a cookie that is not ours opens nothing."""
    lender = await lends(network, "shed")
    visitor = await visit(network.url)
    await opened(visitor, lender.token)
    [cookie] = await visitor.context.cookies()
    ours = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    forged = {"Cookie": f"{cookie['name']}={cookie['value'][:-3]}abc"}
    async with httpx2.AsyncClient(base_url=network.url, timeout=PATIENCE_S) as http:
        for act in ("state", "payouts", "destination", "lock"):
            form = {"to": "paused", "csrf": "0" * 64}
            for headers, status in (({}, 401), (forged, 401), (ours, 403)):
                answer = await http.post(f"/workers/me/{act}", data=form, headers=headers)
                assert answer.status_code == status, act
        shut = await http.get("/workers/me", headers=forged)
        assert "wk_" in shut.text and "shed" not in shut.text
    assert (await lender.me())["state"] == "online"


async def test_the_operator_bans_and_readmits(network: Instance, visit: Come, axe: str) -> None:
    """Each worker with its state and what it earned, on a phone too; the counts are in the overview
    too; a ban holds at once, and the worker's own page says it."""
    lender = await earns(network, "barn")
    visitor = await visit(network.url)
    page = visitor.page
    await page.goto("/operator/workers")
    await page.fill("#token", TOKEN)
    await page.click("main button")
    await page.click("text=List, ban and readmit")
    row = page.locator("#workers tbody tr", has_text="barn")
    me = await lender.me()
    shown = await row.inner_text()
    assert me["workerId"] in shown and f"{sats(me['earnings']['msat']['earned'])} sats" in shown
    await visitor.judged(axe, "operator's workers")
    bans = row.locator("button", has_text="Ban")
    await page.set_viewport_size(NARROW)
    box = await bans.bounding_box()
    assert box is not None and box["x"] + box["width"] <= NARROW["width"]
    await page.set_viewport_size(WIDE)
    await bans.click()
    await row.locator("text=Readmit").wait_for()
    answer = await lender.asks("POST", f"{AT}/claims", json={"models": ["x"], "maxPixels": 1})
    assert answer.status_code == 403
    assert int(await page.inner_text("dd[data-state=banned]")) >= 1
    theirs = await visit(network.url)
    await opened(theirs, lender.token)
    assert "has banned it" in await theirs.page.inner_text("#part-idle")
    await page.click("nav[aria-label=States] >> text=Online")
    assert await row.count() == 0
    await page.click("nav[aria-label=States] >> text=Banned")
    await row.locator("text=Readmit").click()
    await page.locator("h2", has_text="All").wait_for()
    assert (await lender.me())["state"] == "paused"


async def test_banning_takes_the_operators_token_and_the_forms(
    network: Instance, visit: Come
) -> None:
    """Nobody else sees the list; a cookie alone bans nobody, and who isn't there can't be."""
    lender = await lends(network, "loft")
    form = {"act": "ban", "worker": (await lender.me())["workerId"]}
    visitor = await visit(network.url)
    await visitor.page.goto("/operator")
    await visitor.page.fill("#token", TOKEN)
    await visitor.page.click("main button")
    await visitor.page.locator(".tiles").first.wait_for()
    [cookie] = await visitor.context.cookies()
    ours = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    async with httpx2.AsyncClient(base_url=network.url, timeout=PATIENCE_S) as http:
        shut = await http.get("/operator/workers")
        assert shut.status_code == 401 and "loft" not in shut.text
        assert (
            await http.get("/operator/workers?page=0&state=x", headers=MACHINE)
        ).status_code == 200
        assert (await http.post("/operator/workers", data=form)).status_code == 401
        assert (await http.post("/operator/workers", data=form, headers=ours)).status_code == 403
        for wrong, status in (({"act": "praise"}, 400), ({"worker": "x"}, 404)):
            answer = await http.post("/operator/workers", data=form | wrong, headers=MACHINE)
            assert answer.status_code == status
    assert (await lender.me())["state"] == "online"


async def test_where_no_machine_can_be_lent_the_pages_say_so(
    database_url: str, tmp_path: Path
) -> None:
    """No page leads there; who has a worker from before can still look at its pay."""
    async with (
        instance_of(database_url, tmp_path, OPERATOR_TOKEN=TOKEN) as at,
        httpx2.AsyncClient(base_url=at.url, timeout=PATIENCE_S, follow_redirects=True) as http,
    ):
        for path in ("/", "/operator"):
            assert 'href="/workers"' not in (await http.get(path, headers=MACHINE)).text
        said = (await http.get("/workers")).text
        assert "doesn’t work with the machines of others" in said and "pip install" not in said
        token = api_keys.new_key(Prefix.WK)
        kept, shown = api_keys.kept_of(token) or "", api_keys.shown(token)
        new = NewWorker("w" * 32, "a" * 32, "from before", kept, shown, "you@example.org")
        await at.built.shell.do(advance.workers.register, new)
        page = await http.post("/workers/me/unlock", data={"token": token})
        assert "from before" in page.text and "gives no work" in page.text
        assert "from before" in (await http.get("/operator/workers", headers=MACHINE)).text
