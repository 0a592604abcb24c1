"""A real browser for the tests of the pages, that looks at nothing but the server it is given."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    async_playwright,
)

from tests.world.client_install import installed_clients
from tests.world.patience import PATIENCE_S, patiently

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # which nobody is: what is not on this machine is not reached
    "--renderer-process-limit=1", "--disable-site-isolation-trials",  # one site has one process
)  # fmt: skip
WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for the whole run."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "these tests need a browser: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, made sure to be there."""
    return (installed_clients() / "node_modules/axe-core/axe.min.js").read_text()


@dataclass
class Visitor:
    """Somebody with a browser, and what went wrong there."""

    context: BrowserContext
    page: Page
    troubles: list[str] = field(default_factory=list)

    async def code(self, selector: str = ".qr") -> str:
        """Return what a wallet's camera reads from the first QR code that is shown."""
        picture = Image.open(BytesIO(await self.page.locator(selector).first.screenshot()))
        # Among the dots of one that is a matter of chance, a few may look like a line code.
        [found] = zxingcpp.read_barcodes(
            picture, zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
        )
        return found.text

    async def headline(self, text: str) -> None:
        """Wait until the page says so, whether it is loaded anew or not."""
        await self.page.locator("h1", has_text=text).wait_for()

    async def reloaded_until(self, text: str) -> None:
        """Look again until the page says so, as somebody without a script does.

        It is asked for outside of the browser first: that draws nothing.
        """
        here = self.page.url.partition("#")[0]
        async for _ in patiently(f"the page never says {text!r}", pause_s=0.1):
            if text in await self.page.inner_text("h1"):
                break
            html = await (await self.context.request.get(here)).text()
            if text in html.partition("<h1")[2].partition("</h1>")[0]:
                await self.page.goto(here)

    async def judged(self, axe: str, name: str, dark: str = "document") -> None:
        """Hold the page to axe-core in both colour schemes, and to 360 px."""
        # What is dark differs in colours only.
        schemes = {"light": ("document", "{}"), "dark": (dark, "{runOnly: ['color-contrast']}")}
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(f"(() => {{ {axe} }})()")  # to read it takes long
        await self.page.set_viewport_size(NARROW)
        wide = await self.page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= NARROW["width"], f"{name} is {wide} px wide on a small screen"
        await self.page.set_viewport_size(WIDE)
        for scheme in SCHEMES:
            what, rules = schemes[scheme]
            await self.page.emulate_media(color_scheme=scheme)
            asked = f"Object.assign({{resultTypes: ['violations']}}, {rules})"
            found = await self.page.evaluate(f"axe.run({what}, {asked})")
            told = [
                f"{each['id']}: {node['html'][:150]} {node['any'][:1]}"
                for each in found["violations"]
                for node in each["nodes"][:3]
            ]
            assert not told, f"{name}, {scheme}: {told}"


class Browsers:
    """What visitors sit at: one that somebody has left is the next one's, if it is for the same
    server. Its cookies are gone, and our pages keep nothing else; a start takes longer than a page.
    """

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self._left: list[tuple[str, dict[str, Any], BrowserContext]] = []

    @asynccontextmanager
    async def one(self, url: str, options: dict[str, Any]) -> AsyncIterator[BrowserContext]:
        """Give one with a single page, which is blank."""
        left = [each for each in self._left if each[:2] == (url, options)]
        if left:
            self._left.remove(left[0])
            context = left[0][2]
        else:
            await self._put_away(url)
            # What pulses is drawn sixty times a second, for as long as a page waits for the server.
            context = await self._chromium.new_context(
                base_url=url, viewport=WIDE, reduced_motion="reduce", **options
            )
            context.set_default_timeout(PATIENCE_S * 1_000)
            await context.new_page()
        yield context
        used = context.pages
        await context.new_page()  # first: its process ends with the last page
        for page in used:
            await page.close()
        await context.clear_cookies()
        self._left.append((url, options, context))

    async def _put_away(self, url: str) -> None:
        others = [each for each in self._left if each[0] != url]
        self._left = [each for each in self._left if each[0] == url]
        for _, _, context in others:
            await context.close()


@pytest.fixture(scope="session")
def browsers(chromium: Browser) -> Browsers:
    """Those of the whole run."""
    return Browsers(chromium)


@asynccontextmanager
async def visitor_of(browsers: Browsers, url: str, **options: Any) -> AsyncIterator[Visitor]:
    """Give somebody a browser of their own, that may ask this server and nobody else."""
    async with browsers.one(url, options) as context:
        visitor = Visitor(context, context.pages[0])

        def asked(request: Request) -> None:
            if not request.url.startswith((f"{url}/", "data:")):
                visitor.troubles.append(f"asked for {request.url}")

        def said(message: ConsoleMessage) -> None:
            if "Content Security" in message.text:
                visitor.troubles.append(message.text)

        context.on("request", asked)
        visitor.page.on("pageerror", lambda error: visitor.troubles.append(str(error)))
        visitor.page.on("console", said)
        visitor.page.on("dialog", lambda dialog: visitor.troubles.append(dialog.message))
        yield visitor
        context.remove_listener("request", asked)
    assert visitor.troubles == []


@pytest.fixture
async def visit(browsers: Browsers) -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """Give a test visitors of whatever server it runs; each must have had no trouble."""
    async with AsyncExitStack() as stack:

        async def come(url: str, **options: Any) -> Visitor:
            return await stack.enter_async_context(visitor_of(browsers, url, **options))

        yield come


async def order(visitor: Visitor, request: str) -> str:
    """Write a request on the first page, and return the id of the job that it becomes."""
    await visitor.page.goto("/")
    await visitor.page.fill("#request", request)
    await visitor.page.click("text=Get an invoice")
    await visitor.headline("Pay the evaluation fee")
    return visitor.page.url.rpartition("/")[2]


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
