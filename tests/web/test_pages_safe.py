"""What the pages withstand: text that wants to be a script, other sites, and judges of access."""

from collections.abc import AsyncIterator, Awaitable, Callable
from html.parser import HTMLParser

import httpx2
import pytest
from starlette.routing import Route

from app.http.guides import NAMES
from app.web import PAGES
from app.web.page import POLICY
from app.web.prose import rendered
from tests.world.account_walk import account_pages
from tests.world.contract import CONTRACT
from tests.world.house_fixtures import Instance, instance_of
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.studio_fixtures import ordered

Come = Callable[..., Awaitable[Visitor]]
TOKEN = "the token of an operator"
ATTACK = (
    '<script>alert(1)</script> <img src=x onerror="alert(2)"> [click](javascript:alert(3))'
    " ![pixel](http://203.0.113.7/p.png) <style>*{display:none}</style> </textarea>"
    ' <svg onload=alert(4)> "><b data-xss>bold</b> <http://203.0.113.7/seen>'
    " <form action=//203.0.113.7><button>go</button>"
)

# To look at a part of a long page, axe walks all of it: the rest of it is taken away.
FIRST_PART = """(() => {
    for (const each of [...document.querySelectorAll('.op')].slice(4)) each.remove();
    return [...document.querySelectorAll('.toc, .op')];
})()"""


@pytest.fixture(scope="module")
async def house(
    database_url_of_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance with an operator, on the stub rail."""
    async with instance_of(
        database_url_of_file,
        tmp_path_factory.mktemp("house"),
        agent=ScriptedAgent(),
        executors=[ScriptedMaker()],
        OPERATOR_TOKEN=TOKEN,
        PROOF_SATS_PER_DAY=5_000,
    ) as running:
        yield running


class Finds(HTMLParser):
    """Collects what must not be in a page of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = dict(attrs)
        if tag == "script" and "src" not in given:
            self.wrong.append("an inline script")
        if tag in ("style", "iframe", "object", "embed", "base"):
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.wrong.append(f"{tag} {name}={value}")
            where = value or ""
            local = where.startswith(("/", "#", "lightning:")) and where[:2] != "//"
            if name in ("src", "href", "action", "formaction", "poster") and not local:
                self.wrong.append(f"{tag} {name}={value}")


async def every_page(visitor: Visitor) -> AsyncIterator[str]:
    """Bring a visitor to every kind of page, one after another; yield its name."""
    page = visitor.page
    await page.goto("/")
    yield "home"
    await page.fill("#amount", "0")
    await page.click("text=Open a session")
    await page.locator("#problem").wait_for()
    yield "problem"
    await page.fill("#request", "hello")
    await page.click("text=Get an invoice")
    await page.click("text=Cancel this job")
    await visitor.headline("Cancelled")
    yield "ended"
    await page.click("text=Edit and ask again")
    await page.locator(".estimate").wait_for()
    yield "estimate"
    await page.click("text=Get an invoice")
    await visitor.headline("Pay the evaluation fee")
    yield "fee"
    await page.click("[data-stub-pay]")
    await visitor.headline("Pay for the work")
    await page.click("summary >> nth=0")
    yield "work"
    await page.click("[data-stub-pay]")
    await visitor.headline("Done")
    await page.click("#refunds summary")
    yield "result"
    await page.fill("#to", "nobody")
    await page.click("#refunds .row .button >> nth=0")
    await page.locator("#to:focus").wait_for()
    yield "refused refund"
    await page.click("[data-stub-refund]")
    await page.locator("#refunds .ok").wait_for()
    yield "refunded"
    await page.goto("/demo?request=hi")
    yield "demo"
    await page.goto("/jobs/nothing")
    yield "refused"
    await page.goto("/nowhere")
    yield "unknown"
    async for name in studio_pages(visitor):
        yield name
    async for name in session_pages(visitor):
        yield name
    async for name in account_pages(visitor):
        yield name
    async for name in operator_pages(visitor):
        yield name


async def studio_pages(visitor: Visitor) -> AsyncIterator[str]:
    """The same for the pages of a batch."""
    page = visitor.page
    await page.goto("/studio?kind=video")
    yield "films"
    await ordered(visitor, f"SOME {ATTACK}", 3)
    yield "unpaid batch"
    await page.click("[data-stub-pay]")
    await visitor.headline("Done")
    assert await page.inner_text("[data-request]") == f"SOME {ATTACK}"
    assert await page.locator("[data-xss], main script, main style").count() == 0
    yield "gallery"


async def session_pages(visitor: Visitor) -> AsyncIterator[str]:
    """The same for the pages of a session."""
    page = visitor.page
    await page.goto("/#session")
    await page.click("text=Open a session")
    await visitor.headline("Pay the deposit")
    yield "deposit"
    await page.click("[data-stub-pay]")
    await visitor.headline("Your balance")
    await page.click("text=Show the macaroon")
    yield "session"
    await page.fill("#request", "hello")
    await page.click("text=What would it cost?")
    await page.locator(".estimate").wait_for()
    await page.fill("#amount", "7")
    await page.click("text=Top up >> nth=-1")
    await page.locator("#problem").wait_for()
    yield "refused top-up"
    await page.click("#close .button")
    await page.locator("[data-sure]").wait_for()
    yield "closing"
    await page.click("[data-sure]")
    await visitor.headline("Session closed")
    yield "closed"


async def operator_pages(visitor: Visitor) -> AsyncIterator[str]:
    """The same for the pages of an operator."""
    page = visitor.page
    await page.goto("/operator")
    yield "door"
    await page.fill("#token", TOKEN)
    await page.click("main button")
    await page.locator(".tiles").wait_for()
    await page.click("text=Show as a table")
    yield "operator"
    await page.click("text=Trial balance")
    await visitor.headline("Trial balance")
    yield "books"


async def test_every_page_can_be_used_by_everybody(house: Instance, visit: Come, axe: str) -> None:
    """axe-core finds no violation, light or dark, and 360 px are enough; no page holds a script,
    a style or an address of another host; what people write is text alone.
    """
    visitor = await visit(house.url)
    async for name in every_page(visitor):
        await visitor.judged(axe, name)
        finds = Finds()
        finds.feed(await visitor.page.evaluate("document.documentElement.outerHTML"))
        assert finds.wrong == [], name
        assert await visitor.page.locator("main script, main style, [data-xss]").count() == 0


async def test_the_contract_can_be_read_by_everybody(
    house: Instance, visit: Come, axe: str
) -> None:
    """It too, long as it is; its colours are those of its first part. And so can its guides."""
    visitor = await visit(house.url)
    await visitor.page.goto("/docs")
    finds = Finds()
    finds.feed(await visitor.page.evaluate("document.documentElement.outerHTML"))
    await visitor.judged(axe, "docs", dark=FIRST_PART)
    for name in NAMES:
        await visitor.page.goto(f"/docs/{name}")
        finds.feed(await visitor.page.evaluate("document.documentElement.outerHTML"))
        if name in ("session", "lend"):  # all languages, and what only some servers are shown
            await visitor.judged(axe, name)
    assert finds.wrong == []


async def test_every_answer_is_strict(house: Instance) -> None:
    """Also errors have the policy, tell no referrer, can't be framed and are not kept."""
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        for route in PAGES:
            assert isinstance(route, Route)
            path = str(route.path).replace("{id}", "0" * 32).replace("{name}", "nothing.js")
            methods = route.methods or set()
            for method in methods & {"GET", "HEAD", "POST"}:
                answer = await http.request(method, path)
                if "text/html" not in answer.headers.get("content-type", ""):
                    assert path == "/favicon.ico" or answer.status_code == 303, path
                    continue
                assert answer.headers["content-security-policy"] == POLICY
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["x-frame-options"] == "DENY"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["cache-control"] == "no-store"
                assert "unsafe" not in POLICY and "'none'" in POLICY


async def test_what_people_write_stays_text(house: Instance, visit: Come) -> None:
    """In the request, the result's Markdown, a reason, a form that comes back, and a session."""
    visitor = await visit(house.url)
    page = visitor.page
    for words, state in ((ATTACK, "complete"), (f"REJECT {ATTACK}", "rejected")):
        made = await house.create(words)
        await house.pay(made["evalInvoice"])
        job = await house.until(made["jobId"], "awaiting_work_payment", "rejected")
        if state == "complete":
            job = await house.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
            await house.pay(job["workInvoice"])
            await house.until(made["jobId"], "complete")
        await page.goto(f"/jobs/{made['jobId']}")
        assert await page.inner_text("[data-request]") == words
        assert await page.locator("[data-xss], main img, main style, main script").count() == 0
        assert await page.locator("[data-result] form, [data-result] svg").count() == 0
        hrefs = await page.eval_on_selector_all("main a", "all => all.map(a => a.protocol)")
        assert "javascript:" not in hrefs
    await page.goto("/")
    await page.fill("#request", ATTACK)
    await page.click("text=What would it cost?")
    assert await page.input_value("#request") == ATTACK
    await page.goto(f"/demo?request={ATTACK.replace('#', '')}")
    assert await page.locator("[data-xss], main img, main script, main svg").count() == 0


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# One\n\n### Two", "<h3>One</h3>\n<h4>Two</h4>\n"),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](data:text/html,1)", "<p>[x](data:text/html,1)</p>\n"),
        (
            "[x](https://example.org)",
            '<p><a href="https://example.org" rel="noopener noreferrer nofollow ugc">x</a></p>\n',
        ),
        ("```\n<i>\n```", '<pre tabindex="0"><code>&lt;i&gt;\n</code></pre>\n'),
        ("    a & b", '<pre tabindex="0"><code>a &amp; b\n</code></pre>\n'),
        ("![x](https://example.org/p.png)", None),
    ],
)
def test_markdown_becomes_harmless_html(markdown: str, html: str | None) -> None:
    """Headings go on below the page's own, HTML stays text, and nothing is loaded."""
    made = str(rendered(markdown))
    assert made == html or (html is None and "<img" not in made)


async def test_other_sites_can_send_nothing(house: Instance) -> None:
    """A form of another site is refused, whatever it knows; our own pages' forms are taken."""
    made = await house.create("hello")
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        for path in (f"/jobs/{made['jobId']}/cancel", "/jobs", "/sessions", "/operator/login"):
            for headers in (
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
                {"Origin": "https://example.org"},
            ):
                answer = await http.post(path, headers=headers, data={"request": "x"})
                assert answer.status_code == 403, (path, headers)
        theirs = {"Sec-Fetch-Site": "cross-site"}
        assert (await http.get("/demo?request=x", headers=theirs)).status_code == 403
        ours = {"Sec-Fetch-Site": "same-origin"}
        answer = await http.post(f"/jobs/{made['jobId']}/cancel", headers=ours)
        assert answer.status_code == 303


async def test_a_form_is_read_as_strictly_as_json(house: Instance) -> None:
    """Too long, not ASCII, a field twice, NUL: refused with a page that says so."""
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        for body, status in (
            (b"request=" + b"x" * 300_000, 413),
            (b"request=\xff", 400),
            (b"request=a&request=b", 400),
            (b"request=a%00b", 400),
            (b"request=" + b"x" * 20_001, 400),
            (b"request=%20", 400),
            (b"request=a&maxSats=1.5", 400),
        ):
            answer = await http.post("/jobs", content=body)
            assert answer.status_code == status, body[:40]
            assert "text/html" in answer.headers["content-type"]


async def test_the_contract_has_an_address_for_everything(house: Instance) -> None:
    """/docs shows each operation and each shape of openapi.yaml under its own name."""
    async with httpx2.AsyncClient(base_url=house.url, timeout=PATIENCE_S) as http:
        html = (await http.get("/docs")).text
    for method, path, operation in CONTRACT.operations():
        assert f'id="{operation["operationId"]}"' in html
        assert f">{method}</span>{path} " in html
    for name in CONTRACT.document["components"]["schemas"]:
        assert f'id="schema-{name}"' in html
