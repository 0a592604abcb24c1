"""An address that leads nowhere is a page to a browser, and JSON to a program."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from app.web.browsers import accepts_html
from app.web.page import POLICY
from tests.world.house_fixtures import Instance
from tests.world.page_fixtures import Visitor
from tests.world.patience import PATIENCE_S

Come = Callable[..., Awaitable[Visitor]]
pytestmark = pytest.mark.one_instance


async def test_an_unknown_address_is_a_page(instance: Instance, visit: Come) -> None:
    """It says so with the status of it, and has a way on; below /api too."""
    visitor = await visit(instance.url)
    for path in ("/nowhere", "/jobs/x/y/z", "/api/nowhere", "/docs/", "/static/"):
        answer = await visitor.page.goto(path)
        assert answer is not None and answer.status == 404, path
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["vary"] == "Accept"
        await visitor.headline("Page not found")
        assert "/openapi" not in await visitor.page.inner_text("main")
    await visitor.page.click("text=Go to the start page")
    await visitor.page.locator("#buy").wait_for()


async def test_a_program_is_answered_as_by_the_rest_of_the_api(instance: Instance) -> None:
    """Whatever it accepts that is not HTML."""
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as http:
        for accept in ("*/*", "application/json", "text/html;q=0, */*", ""):
            answer = await http.get("/nowhere", headers={"Accept": accept})
            assert answer.status_code == 404 and answer.headers["vary"] == "Accept"
            assert "error" in answer.json(), accept


async def test_the_address_of_a_form_leads_to_its_page(instance: Instance, visit: Come) -> None:
    """Asked for by its address (a reload, a bookmark) it loses nothing; a call of the API that
    takes no GET says what it is.
    """
    job = await instance.create("hello")
    visitor = await visit(instance.url)
    for path, page in (
        ("/estimate", "/"),
        ("/jobs", "/"),
        (f"/jobs/{job['jobId']}/refund", f"/jobs/{job['jobId']}"),
        ("/operator/payouts", "/operator"),
    ):
        await visitor.page.goto(path)
        assert visitor.page.url == f"{instance.url}{page}"
    answer = await visitor.page.goto("/api/jobs")
    assert answer is not None and answer.status == 405 and "POST" in answer.headers["allow"]
    assert "for programs" in await visitor.page.inner_text("main")


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, TEXT/HTML ; q=0.5", True),
        ("text/html;q=0", False),
        ("text/html; q=0.000", False),
        ("text/html;q=0.05", True),
        ("text/*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_browsers_are_known_by_what_they_accept(accept: str, is_html: bool) -> None:
    """HTML by its name, with a weight above nothing."""
    assert accepts_html(accept) is is_html
