"""What the pages say when something ends, lapses or is refused: the truth, and how to go on."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.web.words import for_people
from pricing.rates import Usage
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import NARROW, Visitor, opened, order
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance
Come = Callable[..., Awaitable[Visitor]]
SAID = "[role=status][data-say]"


async def test_what_was_not_paid_in_time_is_said_and_can_be_asked_again(
    database_url: str, tmp_path: Path, visit: Come
) -> None:
    """Of a job nothing is to be taken back; a session never opened; the request is not lost."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as instance:
        visitor, holder = await visit(instance.url), await visit(instance.url)
        await order(visitor, "write\na haiku")
        await holder.page.goto("/")
        await holder.page.click("text=Open a session")
        await holder.headline("Pay the deposit")
        clock.forward(hours=2)
        await visitor.headline("Cancelled")
        assert "before it was paid" in await visitor.page.inner_text(SAID)
        assert await visitor.page.locator("#refunds").count() == 0
        await visitor.page.click("text=Edit and ask again")
        await visitor.page.locator(".estimate").wait_for()
        assert await visitor.page.input_value("#request") == "write\na haiku"
        await holder.reloaded_until("Session closed")
        assert "never opened" in await holder.page.inner_text(SAID)


async def test_a_job_that_was_read_says_so(instance: Instance, visit: Come) -> None:
    """Cancelled before the work was paid for: the reading was, and nothing else."""
    visitor = await visit(instance.url)
    job = await instance.to_work_invoice("hello")
    await visitor.page.goto(f"/jobs/{job['jobId']}")
    await visitor.page.click("text=Cancel this job")
    await visitor.headline("Cancelled")
    assert "The evaluation fee of 5 sats is kept" in await visitor.page.inner_text(SAID)


async def test_a_low_balance_asks_for_a_top_up(
    instance: Instance, scripted_agent: ScriptedAgent, visit: Come
) -> None:
    """A paused session offers that first; what somebody was writing meanwhile is kept."""
    scripted_agent.usage = Usage(50, 1_000)
    visitor = await visit(instance.url)
    page = visitor.page
    await page.goto("/")
    await page.fill("#amount", "100")
    await page.click("text=Open a session")
    await page.click("[data-stub-pay]")
    await visitor.reloaded_until("Your balance")
    session = page.url.partition("#")[0]
    await page.fill("#amount", "100")
    await page.click(
        "text=Top up >> nth=-1"
    )  # its invoice is open, so the page looks again and again
    await page.fill("#request", "a long thought")
    writer = await visitor.context.new_page()
    await writer.goto(session)
    while await writer.locator("#request").count():
        await writer.fill("#request", "hello")
        await writer.click("text=Ask and pay")
        await writer.locator("h1", has_text="Done").wait_for()
        await writer.goto(session)
    await writer.fill("#amount", "7")
    await writer.click("text=Top up >> nth=-1")
    assert "from 100 to 10,000" in await writer.inner_text("[role=alert]")
    await page.bring_to_front()
    await visitor.headline("Low balance")
    assert await page.input_value("#request") == "a long thought"


async def test_what_was_sent_back_is_said(instance: Instance, visit: Come) -> None:
    """A session that is over says whether its rest still waits, and a stranger not whose."""
    visitor, stranger = await visit(instance.url), await visit(instance.url)
    session_id = await opened(visitor)
    page = visitor.page
    await page.click("#close .button")
    await page.click("[data-sure]")
    await visitor.reloaded_until("Session closed")
    assert "waiting to be refunded" in await page.inner_text(SAID)
    await stranger.page.goto(f"/sessions/{session_id}")
    assert "1,000 sats are waiting for the holder" in await stranger.page.inner_text(
        "#part-refunds"
    )
    made = await instance.post("/api/dev/stub/invoice", {"amountSats": 1_000})
    await page.fill("#to", made.json()["paymentRequest"])
    await page.click("#refunds .row .button >> nth=0")
    await page.locator("#refunds .ok").wait_for()
    await page.goto(f"/sessions/{session_id}")
    assert "has been refunded" in await page.inner_text(SAID)
    assert await page.inner_text("#refunds h2") == "Refunded"


@pytest.mark.parametrize("scripted", [True, False])
async def test_a_problem_is_what_is_seen_first(
    instance: Instance, visit: Come, scripted: bool
) -> None:
    """On a small screen too, with or without a script: it stands at its field, which has the focus
    and what was written."""
    visitor = await visit(instance.url, java_script_enabled=scripted)
    page = visitor.page
    await page.set_viewport_size({"width": NARROW["width"], "height": NARROW["height"]})
    for field, button in (("#maxSats", "Get an invoice"), ("#amount", "Open a session")):
        await page.goto("/")
        await page.fill("#request", "hello")
        await page.click("summary >> nth=0")
        await page.fill(field, "0")
        await page.click(f"text={button}")
        await page.locator(f"{field}:focus").wait_for()
        assert await page.get_attribute(field, "aria-invalid") == "true"
        for part in ("#problem", field):
            box = await page.locator(part).bounding_box()
            assert box is not None and box["y"] >= 0
            assert box["y"] + box["height"] <= NARROW["height"]
        assert await page.input_value(field) == "0"


async def test_no_page_speaks_of_calls(instance: Instance, visit: Come) -> None:
    """What is said to programs is not said to people."""
    visitor = await visit(instance.url)
    for path in ("jobs", "sessions"):
        await visitor.page.goto(f"/{path}/{'0' * 32}")
        told = await visitor.page.inner_text("main")
        assert "with this id." in told and "/api/" not in told
    said = "It has ended. Open another with POST /api/sessions. Ask v. 2. See GET /api/x."
    assert for_people(said) == "It has ended. Ask v. 2."
