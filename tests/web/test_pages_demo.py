"""The free demo on the first page: a question that is answered well, and a limit that says when."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.agents.agent import EASY_QUESTION, Result
from app.agents.local import LocalAgent
from app.main import utc_now
from app.web.words import time_until
from pricing.oracle import Oracle
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import Visitor

Come = Callable[..., Awaitable[Visitor]]


async def test_the_question_on_the_page_is_one_the_small_model_can_answer(
    local_agent: LocalAgent, instance: Instance, visit: Come
) -> None:
    """It is written there, so that one click shows a right answer, and the page says whose."""
    answer = await local_agent.work(EASY_QUESTION, 64)
    assert isinstance(answer, Result) and "Paris" in answer.text and not answer.cut
    visitor = await visit(instance.url)
    await visitor.page.goto("/")
    assert await visitor.page.input_value("#demo-request") == EASY_QUESTION
    said = await visitor.page.inner_text("#demo")
    assert "a very small model on this server, answers" in said
    await visitor.page.click("#demo button")
    await visitor.page.locator("#answer .prose", has_text="France").wait_for()


@pytest.mark.parametrize("scripted", [True, False])
async def test_a_used_up_demo_says_when_and_what_next(
    database_url: str, tmp_path: Path, visit: Come, scripted: bool
) -> None:
    """In minutes, at the question, with a way to buy meanwhile; and it is true."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock, DEMO_PER_HOUR=1) as instance:
        await instance.http.get("/api/demo", params={"request": "hello"})
        clock.forward(minutes=20)
        visitor = await visit(instance.url, java_script_enabled=scripted)
        page = visitor.page
        await page.goto("/")
        await page.fill("#demo-request", "what is rain?")
        await page.click("#demo button")
        problem = page.locator("#demo #problem")
        await problem.wait_for()
        assert "Try again in 40 minutes. Or buy a job now." in await problem.inner_text()
        box = await problem.bounding_box()
        assert box is not None and 0 < box["y"] < 900
        assert await page.input_value("#demo-request") == "what is rain?"
        clock.forward(minutes=41)
        await page.click("#demo button")
        await page.locator("#answer .prose", has_text="rain").wait_for()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (timedelta(seconds=5), "in a minute"),
        (timedelta(seconds=61), "in 2 minutes"),
        (timedelta(minutes=90), "in 90 minutes"),
        (timedelta(minutes=91), "in 2 hours"),
        (timedelta(hours=24), "tomorrow"),
    ],
)
def test_a_wait_is_said_in_its_own_unit(after: timedelta, words: str) -> None:
    """Rounded up: whoever comes then is not refused again for being early."""
    assert time_until(int(after.total_seconds())) == words


async def test_without_a_price_a_page_says_what_it_means(
    database_url: str, tmp_path: Path, visit: Come
) -> None:
    """Nothing can be bought, the form keeps what was written, and no seconds are counted."""
    oracle = Oracle((), clock=utc_now, fallback_microusd=None, development_microusd=None)
    async with instance_of(database_url, tmp_path, oracle=oracle) as instance:
        visitor = await visit(instance.url)
        page = visitor.page
        await page.goto("/")
        assert "bitcoin price isn’t available" in await page.inner_text("#main")
        await page.fill("#request", "hello")
        await page.click("text=Get an invoice")
        problem = page.locator("#problem:focus")
        await problem.wait_for()
        said = await problem.inner_text()
        assert "Try again in a minute." in said and "seconds" not in said
        assert await page.input_value("#request") == "hello"
