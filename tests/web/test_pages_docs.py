"""The page of the contract: guides first, a command for every operation, short, and searched; and
the guides' own pages."""

import re
import shlex
from collections.abc import Awaitable, Callable
from html import unescape
from importlib.metadata import version
from typing import Any

import httpx2
import pytest
from markupsafe import escape

from app.http.guides import HERE, NAMES
from tests.world.contract import CONTRACT
from tests.world.guided import programs
from tests.world.house_fixtures import Instance
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S

pytestmark = pytest.mark.one_instance

Come = Callable[..., Awaitable[Visitor]]
DOCUMENT = CONTRACT.document
MOST_HIGH_PX = 700 * sum(len(operations) for operations in DOCUMENT["paths"].values())


def test_a_contract_has_somebody_to_ask_and_nothing_unused() -> None:
    """It names a contact, a license and the installed version, and every schema is what some
    operation sends or reads.
    """
    assert DOCUMENT["info"]["contact"]["name"] and DOCUMENT["info"]["license"]["name"]
    assert DOCUMENT["info"]["version"] == version("boltwork")
    used: set[str] = set()

    def look(node: Any) -> None:
        if isinstance(node, dict):
            used.update(str(node[each]) for each in node if each == "$ref")
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(DOCUMENT)
    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert schemas <= used


def test_no_description_is_cut() -> None:
    """A sentence that an unquoted comma would cut is whole: no schema has a keyword of words."""
    wrong: list[str] = []

    def look(node: Any, where: str) -> None:
        if isinstance(node, dict):
            wrong.extend(f"{where}/{name}" for name in node if " " in str(name))
            for name, value in node.items():
                look(value, f"{where}/{name}")
        elif isinstance(node, list):
            for value in node:
                look(value, where)

    look(DOCUMENT["components"]["schemas"], "")
    assert wrong == []


async def test_guides_come_first_and_each_operation_has_a_command(instance: Instance) -> None:
    """Every guide is named before any operation; each of these shows the curl that sends it, with
    the contract's own example."""
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        html = (await http.get("/docs")).text
    places = [html.index(f'<dt><a href="/docs/{name}">') for name in NAMES]
    places += [html.index(f'id="{name}"') for name in ("createJob", "createSession", "healthCheck")]
    assert places == sorted(places)
    shown = re.findall(r'aria-label="Command: [^"]*"><code>(.*?)</code>', html, re.DOTALL)
    commands = [shlex.split(unescape(command).replace("\\\n", "")) for command in shown]
    assert len(commands) == len([*CONTRACT.operations()])
    for command in commands:
        assert command[0] == "curl" and not re.search(
            r"[{}]", command[-1] if "-d" not in command else command[2]
        )


async def test_a_guide_is_the_same_to_people_and_to_models(instance: Instance) -> None:
    """Its page copies the very code of its Markdown, in which this server's address stands; all of
    them are named in /llms.txt, by what they are for."""
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        listed = (await http.get("/llms.txt")).text
        for name in NAMES:
            text, page = [await http.get(f"/docs/{name}{kind}") for kind in (".md", "")]
            title, lead = text.text.removeprefix("# ").split("\n\n")[:2]
            assert f"- [{title}]({instance.url}/docs/{name}.md): {lead}\n" in listed
            assert title in page.text and escape(lead) in page.text
            copied = re.findall(r'data-copy="([^"]*)"', page.text)
            shown = [block.code for blocks in programs(text.text).values() for block in blocks]
            assert sorted(map(unescape, copied)) == sorted(shown)
            assert HERE not in text.text + page.text and "<!--" not in text.text + page.text
            assert name == "operate" or instance.url in text.text
        assert (await http.get("/docs/nothing")).status_code == 404


async def test_the_page_is_short_and_keeps_names_whole(instance: Instance, visit: Come) -> None:
    """Details are folded, an address unfolds its own; no field's name is broken in the middle."""
    visitor = await visit(instance.url)
    page = visitor.page
    for width in (1280, 360):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto("/docs")
        high = await page.evaluate("document.documentElement.scrollHeight")
        assert high < MOST_HIGH_PX * (1 if width > 1000 else 2), (width, high)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
    broken = await page.evaluate(
        """() => { for (const d of document.querySelectorAll("details")) d.open = true;
        const lines = (th) => { const r = document.createRange(); r.selectNode(th.firstChild);
          return new Set([...r.getClientRects()].map((each) => Math.round(each.top))).size; };
        return [...document.querySelectorAll(".fields th[scope=row]")]
          .filter((th) => lines(th) > 1).map((th) => th.textContent); }"""
    )
    assert broken == []
    await page.goto("/docs#schema-Refund")
    assert await page.locator("[aria-labelledby=schema-Refund] details").get_attribute("open") == ""


async def test_the_page_is_searched_as_one_types(instance: Instance, visit: Come) -> None:
    """What holds all the words stays, in the text and in the contents; nothing typed shows all."""
    page = (await visit(instance.url)).page
    await page.goto("/docs")
    every = await page.locator(".op:visible").count()
    await page.get_by_label("Search the API").fill("refund lightning ADDRESS")
    found = await page.locator(".op:visible").count()
    assert 0 < found < every
    assert await page.locator(".find [role=status]").inner_text() == f"{found} found"
    assert not await page.locator(".toc a[href='#healthCheck']").is_visible()
    await page.get_by_label("Search the API").fill("")
    assert await page.locator(".op:visible").count() == every
