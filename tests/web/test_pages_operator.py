"""The operator's page: shut without the token, and all that an operator needs with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.agents.agent import Accepted, Broke, Rejected
from db import overview, standing
from db.promises import TryAgain
from pricing.money import Msat
from pricing.rates import Usage
from statemachine.promises import FetchInvoice, PayInvoice
from statemachine.public_id import public_id
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S
from tests.world.pay_server import PayServer, said
from tests.world.rail_fixtures import wall_clock
from tests.world.refund_fixtures import keep, owed, until_refund
from tests.world.scripted_agent import ScriptedAgent

Come = Callable[..., Awaitable[Visitor]]
TOKEN = "the token of an operator"
ENDS_SHOWN = ("failed", "complete")


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance with an operator, whose refunds may go to servers on this machine."""
    async with instance_of(
        database_url, tmp_path, OPERATOR_TOKEN=TOKEN, ALLOW_PRIVATE_DESTINATIONS=True
    ) as running:
        yield running


async def entered(visitor: Visitor) -> None:
    """Give the token."""
    await visitor.page.goto("/operator")
    await visitor.page.fill("#token", TOKEN)
    await visitor.page.click("main button")
    await visitor.page.locator(".tiles").wait_for()


@pytest.fixture
async def still(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same without a worker: promises are kept when a test says so."""
    async with instance_of(
        database_url,
        tmp_path,
        OPERATOR_TOKEN=TOKEN,
        ALLOW_PRIVATE_DESTINATIONS=True,
        worker=False,
    ) as running:
        yield running


async def invoice_of(still: Instance, amount_msat: int) -> str:
    """Have the stub's buyer make an invoice."""
    assert still.built.stub is not None
    return (await still.built.stub.buyer_invoice(Msat(amount_msat), "mine", 600)).bolt11


async def refused(still: Instance, payout_id: str) -> None:
    """Have a destination asked until it counts as failed."""
    for failures in range(3):
        with suppress(TryAgain):
            await keep(still, FetchInvoice(payout_id, failures))


async def test_without_a_token_it_shows_nothing(instance: Instance) -> None:
    """It says how to set one; no form and no header opens it."""
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer None"}):
            for path in ("/operator", "/operator/books"):
                answer = await http.get(path, headers=headers)
                assert answer.status_code == 503
                assert "OPERATOR_TOKEN=$(openssl" in answer.text and "tiles" not in answer.text
        answer = await http.post("/operator/login", data={"token": ""})
        assert answer.status_code == 503 and "set-cookie" not in answer.headers


async def test_the_token_opens_it(house: Instance, visit: Come) -> None:
    """By a form, for a cookie that no script and no other site has; by the header for machines."""
    visitor = await visit(house.url)
    await visitor.page.goto("/operator")
    assert await visitor.page.locator(".tiles").count() == 0
    await visitor.page.fill("#token", "a guess")
    await visitor.page.click("main button")
    await visitor.page.locator("text=This isn’t the operator token").wait_for()
    await entered(visitor)
    [cookie] = await visitor.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["path"] == "/operator" and TOKEN not in cookie["value"]
    await visitor.page.click("text=Sign out")
    await visitor.page.locator("#token").wait_for()
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        for shown, status in ((TOKEN, 200), ("x" * 24, 401), ("ü", 401)):
            headers = {b"Authorization": f"Bearer {shown}".encode()}
            assert (await http.get("/operator", headers=headers)).status_code == status
        forged = {"Cookie": f"boltwork_operator={cookie['value'][:-3]}abc"}
        assert (await http.get("/operator", headers=forged)).status_code == 401


async def test_guesses_are_counted(house: Instance) -> None:
    """Ten a minute for each address."""
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        codes = [
            (await http.post("/operator/login", data={"token": f"guess {n}"})).status_code
            for n in range(11)
        ]
    assert codes == [401] * 10 + [429]


async def test_it_tells_what_happened_and_what_is_owed(house: Instance, visit: Come) -> None:
    """Jobs by hour and end, revenue, what is owed: the same numbers as the books."""
    await house.to_end("hello")
    done = await house.to_end("again")
    await house.to_end("BREAK-WORK")
    made = await house.create("REJECT")
    await house.pay(made["evalInvoice"])
    await house.until(made["jobId"], "rejected")
    open_one = await house.create("later")
    await house.http.post(f"/api/jobs/{(await house.create('never'))['jobId']}/cancel")
    visitor = await visit(house.url)
    await entered(visitor)
    page = visitor.page
    await page.click("text=Show as a table")
    counts = (
        await page.locator("#jobs-title ~ details tbody tr").last.locator("td").all_inner_texts()
    )
    assert counts == ["6", "2", "1", "1", "1"]
    assert await page.locator(".plot rect").count() >= 4
    sheet = await overview.sheet(house.built.db)
    told = await page.inner_text("main")
    rail_msat = await house.built.rail.balance_msat()
    assert isinstance(rail_msat, int) and sheet.rail_msat == rail_msat
    refunds = [refund for job in [done] for refund in job["refunds"]]
    owed = 2 * refunds[0]["amountSats"] + 9
    assert sheet.waiting_msat == sheet.owed_msat > 0 and f"{sheet.owed_msat // 1000} sats" in told
    assert owed <= sheet.owed_msat // 1000
    assert "Jobs awaiting eval payment" in told.replace("\n", " ")
    assert open_one["jobId"] not in await page.content()  # its id opens the buyer's page
    await page.click("text=Trial balance")
    await visitor.headline("Trial balance")
    told = await page.inner_text("main")
    assert "sum to zero" in told and "revenue:eval" in told


async def test_a_stuck_payout_is_tried_again_and_sent_elsewhere(
    still: Instance, stranger: PayServer, visit: Come
) -> None:
    """What its destination refused three times is listed with why, and can be acted on.

    The rail is asked about what it was handed; what waits for its turn before it is left there.
    """
    stranger.raw["/pay"] = said({"status": "ERROR", "reason": "not <b>today</b>"})
    payout_id, job_id = await owed(still, stranger.url)
    await refused(still, payout_id)
    visitor = await visit(still.url)
    await entered(visitor)
    page = visitor.page
    row = page.locator("#payouts tbody tr")
    assert "not <b>today</b>" in await row.inner_text() and "stuck" in await row.inner_text()
    assert public_id(job_id)[:8] in await row.inner_text()
    assert job_id not in await page.content()  # its id opens the buyer's page
    await row.locator("text=Try again").click()
    await page.locator("text=no payout is on its way").wait_for()
    await refused(still, payout_id)
    await page.goto("/operator")
    await row.locator("input[name=to]").fill("nonsense")
    await row.locator("text=Redirect").click()
    await page.locator("[role=alert]").wait_for()
    stranger.raw.clear()
    stranger.make = partial(invoice_of, still)
    await row.locator("input[name=to]").fill(stranger.url)
    await row.locator("text=Redirect").click()
    await page.locator("text=no payout is on its way").wait_for()
    await keep(still, FetchInvoice(payout_id, 0))
    await page.goto("/operator")
    assert "in flight, 1 sent" in await row.inner_text()
    await row.locator("text=Ask the wallet").click()
    told = page.locator("[role=alert]")
    await told.wait_for()
    assert "waits for its turn" in await told.inner_text()
    stub = still.built.stub
    assert stub is not None
    await stub.script_fault("pay", "pending")
    await keep(still, PayInvoice(payout_id, 1))
    await stub.clear_faults()
    await row.locator("text=Ask the wallet").click()
    await until_refund(still, job_id, refundState="paid")


async def test_acting_takes_the_forms_own_token(house: Instance, visit: Come) -> None:
    """A cookie alone moves no money: another site's page can't make up the token."""
    visitor = await visit(house.url)
    await entered(visitor)
    [cookie] = await visitor.context.cookies()
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        ours = {"Cookie": f"{cookie['name']}={cookie['value']}"}
        form = {"act": "retry", "payout": "x"}
        assert (await http.post("/operator/payouts", data=form)).status_code == 401
        assert (await http.post("/operator/payouts", data=form, headers=ours)).status_code == 403
        machine = {"Authorization": f"Bearer {TOKEN}"}
        assert (await http.post("/operator/payouts", data=form, headers=machine)).status_code == 404


async def test_no_question_of_the_page_reads_every_job(house: Instance) -> None:
    """What it asks is answered from indexes over what is open, however many jobs are done."""
    plans = [
        ("ix_job_open", overview._OPEN),
        ("ix_payout_watched", standing._WATCHED),
        ("ix_payout_waiting", standing._WAITING),
    ]
    async with house.built.db.reads.connection() as connection:
        await connection.execute("SET enable_seqscan = off")
        for index, query in plans:
            values = {"before": wall_clock() - timedelta(hours=1), "most": 5}
            cursor = await connection.execute(f"EXPLAIN {query}".encode(), values)
            plan = "\n".join(str(row["QUERY PLAN"]) for row in await cursor.fetchall())
            assert index in plan, plan
        await connection.execute("RESET enable_seqscan")


class WastefulAgent(ScriptedAgent):
    """An agent that reads much, and says nothing of use."""

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """See Agent."""
        return Broke("The agent said nonsense.", retryable=False, usage=Usage(100_000, 5_000))


async def test_what_failed_work_has_cost_is_shown(
    database_url: str, tmp_path: Path, visit: Come
) -> None:
    """The page opens, and names what the house has paid its models for work that failed."""
    options: dict[str, Any] = {"agent": WastefulAgent(), "OPERATOR_TOKEN": TOKEN}
    async with instance_of(database_url, tmp_path, **options) as house:
        made = await house.create("hello")
        await house.pay(made["evalInvoice"])
        await house.until(made["jobId"], "failed")
        visitor = await visit(house.url)
        await entered(visitor)
        assert "Work that failed" in await visitor.page.inner_text("main")


async def test_what_is_given_away_is_not_earned(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent, visit: Come
) -> None:
    """Earned is what customers paid; free answers and failed work stand apart, with a total."""
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, OPERATOR_TOKEN=TOKEN
    ) as house:
        await house.to_end("hello")
        await house.http.get("/api/demo", params={"request": "hello"})
        sheet = await overview.sheet(house.built.db)
        paid = sheet.earned["revenue:eval"] + sheet.earned["revenue:work"]
        assert sheet.earned_msat == paid and sheet.given_msat == sheet.earned["revenue:free"] > 0
        assert sheet.rail_msat == sheet.earned_msat - sheet.spent_msat + sheet.owed_msat
        visitor = await visit(house.url)
        await entered(visitor)
        [tile] = await visitor.page.locator(".tiles div", has_text="Earned").all_inner_texts()
        given = f"{sheet.given_msat // 1000:,} given away"
        assert tile.split()[1] == f"{paid // 1000:,}" and given in tile
        said = await visitor.page.inner_text("#earned-title + dl + h3 + dl")
        assert "Free answers" in said and said.count("sats") == 2


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)`, as WCAG has it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


async def test_failed_jobs_are_seen_in_both_schemes(house: Instance, visit: Come) -> None:
    """They stand out from the page and, by brightness too, from those that were done; in red."""
    await house.to_end("hello")
    await house.to_end("BREAK-WORK")
    visitor = await visit(house.url)
    await entered(visitor)
    colour = "(name) => getComputedStyle(document.querySelector(`.plot ${name}`)).fill"
    for scheme in ("light", "dark"):
        await visitor.page.emulate_media(color_scheme=scheme)
        failed, done = [await visitor.page.evaluate(colour, f".{end}") for end in ENDS_SHOWN]
        paper = await visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert contrast(failed, paper) >= 3 and contrast(done, paper) >= 3, scheme
        assert contrast(failed, done) >= 1.8, scheme
        red, green, blue = (int(p) for p in failed.removeprefix("rgb(").rstrip(")").split(","))
        assert red > green + 50 and red > blue + 50, scheme


async def test_both_columns_are_used(house: Instance, visit: Come) -> None:
    """Whether refunds wait or not, no half of the page stays empty on a wide screen."""
    visitor = await visit(house.url)
    for _ in range(2):
        await entered(visitor)
        ends = [0.0, 0.0]
        for section in await visitor.page.locator(".halves section").all():
            box = await section.bounding_box()
            assert box is not None
            side = int(box["x"] > 600)
            ends[side] = max(ends[side], box["y"] + box["height"])
        assert min(ends) > 0 and abs(ends[0] - ends[1]) < 420
        await visitor.page.click("text=Sign out")
        await house.to_end("hello")
