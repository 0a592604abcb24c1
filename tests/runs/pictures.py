"""Takes the pictures of the README: `scripts/pictures`, or `scripts/pictures lent` for one of its
three parts (owned, toured, lent).

Two days of a made-up house, its clock moved by hand; the browser and the pages are real.
"""

import asyncio
import sys
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from app.agents.agent import Broke, Progress, Rejected, Result, unwatched
from pricing.rates import Usage
from tests.runs.own_postgres import own_postgres
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lending_fixtures import ASKS, AT, buys, lends, painted
from tests.world.notice_server import NoticeServer
from tests.world.page_fixtures import ARGUMENTS, NARROW, SCHEMES, WIDE
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
TOKEN = "the token of an operator"
PARTS = ("owned", "toured", "lent")
MACHINES = (("attic", 24), ("laptop", 0), ("rig 7", 16))  # that are lent, with their VRAM in GB
MADE = 8  # pieces that the account of the pictures has
COLOURS = 96  # a picture; more can't be told apart
ASKED = "Explain hold invoices to somebody who knows TCP, in four lines."
PAINTED = "A red fox in the snow, at dawn."
ANSWER = """A hold invoice is a **half-open connection for money**.

1. The payment arrives and waits, as after a `SYN`: it is locked along its whole route.
2. The receiver may *settle* it (`ACK`: the preimage is shown, everybody is paid)
3. or *cancel* it (`RST`: the locks fall away, and nobody has lost anything).
4. If neither comes, a timeout returns it, hop by hop.

So delivery can be checked **before** the money is taken, not after.
"""


class Writer(ScriptedAgent):
    """Answers with something to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.usage = Usage(58, 210)

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """Give the prepared answer."""
        result = await super().work(request, max_output_tokens, progress)
        return Result(ANSWER, self.usage) if isinstance(result, Result) else result


class Clock:
    """Two days ago, and moved from there."""

    def __init__(self) -> None:
        noon = datetime.now(UTC).replace(minute=12, second=0, microsecond=0)
        self.now = noon - timedelta(hours=47)

    def __call__(self) -> datetime:
        return self.now


async def live(house: Instance, clock: Clock) -> None:
    """Sell some jobs in each of two days' hours, most of them in the afternoon."""
    for hour in range(48):
        for number in range(1 + (hour * 7 % 5 + (3 if 13 <= clock.now.hour <= 20 else 0)) // 2):
            kind = "REJECT this" if (hour + number) % 9 == 4 else "Say hello."
            kind = "BREAK-WORK" if (hour + 3 * number) % 23 == 7 else kind
            made = await house.create(kind)
            if (hour + 2 * number) % 11 == 3:
                await house.post(f"/api/jobs/{made['jobId']}/cancel")
                continue
            await house.pay(made["evalInvoice"])
            job = await house.until(made["jobId"], "awaiting_work_payment", "rejected")
            if job["state"] == "rejected":
                continue
            job = await house.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
            await house.pay(job["workInvoice"])
            await house.until(made["jobId"], "complete", "failed")
        if hour < 47:
            clock.now += timedelta(hours=1)
    await house.http.get("/api/readyz")


async def picture(page: Page, name: str, *, whole: bool = True) -> None:
    """Take a page at both widths and in both colour schemes."""
    for size in (WIDE, NARROW):
        for scheme in SCHEMES:
            await page.set_viewport_size(size)
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            path = FOLDER / f"{name}-{size['width']}-{scheme}.png"
            await page.screenshot(path=path, full_page=whole)
            with Image.open(path) as taken:
                taken.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    await page.set_viewport_size(WIDE)


async def owned(browser: Browser, url: str, hooks: str) -> None:
    """Go through the pages as somebody with an account does: runs a tool, casts a spell, looks."""
    page = await (await browser.new_context(base_url=url)).new_page()
    page.set_default_timeout(PATIENCE_S * 1_000)
    await page.goto("/account")
    await page.fill("#username", "juna")
    await page.fill("#password", "the password of a picture")
    await page.click("[data-login]")
    await page.click("text=I have kept it")
    await page.fill("#amount", "20,000")
    await page.click("[data-topup]")
    await page.click("[data-stub-pay]")
    await page.locator("[data-balance]", has_text="20,000").wait_for()
    for path, body in bought_by(hooks):
        answer = await page.request.post(path, data=body)
        assert answer.status in (201, 202), await answer.text()
    await page.goto("/tools/text-to-image")
    await page.fill("#prompt", PAINTED)
    await page.locator(".amount").wait_for()
    await picture(page, "tool")
    await page.goto("/spells/postcard")
    await page.click("text=Get an invoice")
    await page.click("[data-stub-pay]")
    await page.locator("h1", has_text="Done").wait_for()
    await page.wait_for_load_state("networkidle")
    await picture(page, "cast")
    await page.goto("/account")
    while await page.locator("#made figure").count() < MADE:
        await page.reload()
    await page.wait_for_load_state("networkidle")
    await picture(page, "account")


def bought_by(hooks: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is bought from the account of the pictures, and where."""
    scenes = (PAINTED, "A lighthouse on a cliff at night", "A small boat on a calm lake")
    defaults = {"model": "scene-1", "width": 512, "height": 384}
    images = [{"prompt": scene} for scene in scenes]
    yield "/api/jobs", {"defaults": defaults, "images": images, "notify": {"url": hooks}}
    inputs = {"text": "https://boltwork.example.org"}
    told = {"mode": "webhook", "url": hooks}
    yield "/api/v1/generations/execute", {"toolId": "qr-code", "inputs": inputs, "delivery": told}
    inputs = {"prompt": ASKED}
    yield "/api/v1/generations/execute", {"toolId": "agent", "inputs": inputs}
    context = {"parameterOverrides": {"greeting": "Greetings from Lisbon"}}
    yield "/api/v1/spells/cast", {"slug": "postcard", "context": context}


async def tour(browser: Browser, url: str) -> None:
    """Go through the pages as a buyer, a holder and an operator do."""
    page = await (await browser.new_context(base_url=url)).new_page()
    page.set_default_timeout(PATIENCE_S * 1_000)
    await page.goto("/")
    await picture(page, "home")
    await page.fill("#request", ASKED)
    await page.click("text=Get an invoice")
    await page.locator("h1", has_text="Pay the evaluation fee").wait_for()
    await page.click("[data-stub-pay]")
    await page.locator("h1", has_text="Pay for the work").wait_for()
    await picture(page, "checkout")
    await page.click("[data-stub-pay]")
    await page.locator("h1", has_text="Done").wait_for()
    await picture(page, "result")
    await page.goto("/studio")
    await page.fill("#prompt", PAINTED)
    await picture(page, "studio")
    await page.click(".second-column .first")
    await page.click("[data-stub-pay]")
    await page.locator("h1", has_text="Done").wait_for()
    await page.wait_for_load_state("networkidle")
    await picture(page, "gallery")
    await page.goto("/#session")
    await page.click("text=Open a session")
    await page.click("[data-stub-pay]")
    await page.locator("h1", has_text="Your balance").wait_for()
    await page.fill("#request", ASKED)
    await page.click("text=Ask and pay")
    await page.locator("h1", has_text="Done").wait_for()
    await page.click("text=Back to the session")
    await picture(page, "session")
    await page.goto("/docs")
    await picture(page, "docs", whole=False)  # nobody looks at all of it at once
    await page.goto("/operator")
    await page.fill("#token", TOKEN)
    await page.click("main button")
    await page.locator(".tiles").wait_for()
    await picture(page, "operator")


async def lend(house: Instance, clock: Clock) -> str:
    """Have machines lent, and make what is bought; return the token of the first."""
    lenders = [await lends(house, name) for name, _ in MACHINES]
    for number in range(9):
        clock.now += timedelta(minutes=23)
        await buys(house, *(f"{PAINTED} Number {number}" for _ in range(2)))
        for lender, (_, vram_gb) in zip(lenders[: 1 + number % 3], MACHINES, strict=False):
            [lease, *_] = (await lender.claim(vramGb=vram_gb))["leases"]
            clock.now += timedelta(seconds=4 + number)
            await lender.brings(lease, painted("teal"))
    await lenders[2].asks("PATCH", f"{AT}/me", json={"state": "paused"})
    for lender, (_, vram_gb) in zip(lenders, MACHINES, strict=True):
        await lender.asks("POST", f"{AT}/me/payouts", json={"amountSats": 3})
        await lender.asks("POST", f"{AT}/claims", json=ASKS | {"vramGb": vram_gb})
    await buys(house, PAINTED, PAINTED, PAINTED)
    return lenders[0].token


async def seen_lent(browser: Browser, url: str, token: str) -> None:
    """Look at the network, at a worker as who lends it does, and at all of them as the operator."""
    page = await (await browser.new_context(base_url=url)).new_page()
    await page.goto("/workers")
    await picture(page, "workers")
    await page.goto("/workers/me")
    await page.fill("#token", token)
    await page.click("[data-unlock]")
    await page.locator("#part-sums").wait_for()
    await picture(page, "worker")
    await page.goto("/operator/workers")
    await page.fill("#token", TOKEN)
    await page.click("main button")
    await page.goto("/operator/workers")
    await picture(page, "operator-workers")


async def sold(browser: Browser, url: str, folder: Path, parts: Collection[str]) -> None:
    """Take the pages of a house that makes everything itself."""
    clock = Clock()
    async with (
        NoticeServer().running() as hooks,
        instance_of(
            url, folder, agent=Writer(), clock=clock, OPERATOR_TOKEN=TOKEN, RECONCILE_S=2
        ) as house,
    ):
        if "owned" in parts:
            await owned(browser, house.url, hooks.url)
        if "toured" in parts:
            await live(house, clock)
            await tour(browser, house.url)


async def lent(browser: Browser, url: str, folder: Path) -> None:
    """Take the pages of one whose pictures are made by machines that others lend."""
    clock, nobody = Clock(), ScriptedMaker(at_once=0)
    settings: dict[str, Any] = {"OPERATOR_TOKEN": TOKEN, "WORKERS": "true"}
    async with instance_of(url, folder, clock=clock, executors=[nobody], **settings) as house:
        await seen_lent(browser, house.url, await lend(house, clock))


async def main(chromium: str, parts: Collection[str]) -> None:
    """Run the house, and take the pictures of these parts."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with own_postgres("pictures") as (url, folder):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS])
            if {"owned", "toured"} & set(parts):
                await sold(browser, url, folder, parts)
            if "lent" in parts:
                await lent(browser, url, folder)
            await browser.close()


if __name__ == "__main__":
    asked = sys.argv[2:] or PARTS
    asyncio.run(main(sys.argv[1] if sys.argv[1:] else "/usr/bin/chromium", asked))
