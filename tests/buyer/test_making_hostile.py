"""A server that lies about runs and casts gets no more than was allowed, and names no file."""

import io
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.buyer import spell_answers, tool_answers
from app.buyer.answer_fields import Unreadable
from app.buyer.client import Client
from app.buyer.display import Display
from app.buyer.failures import Strange
from app.buyer.given import BadGiven, given
from app.buyer.making import Making
from app.buyer.payer import Payer, Stop
from app.buyer.spending import Payments
from app.buyer.tool_answers import Tool
from tests.world.hostile_media import many_coloured, saved
from tests.world.hostile_server import JOB, OTHER, Liar, Purse, Says, lying

ITEM = "c3" * 16
PICTURE = saved(many_coloured())
AT, RUNS = f"/api/jobs/{JOB}", "/api/v1/generations"
TOOL: Tool = {
    "toolId": "resize", "name": "", "description": "", "mostUsd": 0.1, "mostSats": 8,
    "outputs": [], "madeBy": "", "standsIn": False, "open": True, "typicalRuntimeMs": 1,
}  # fmt: skip
CAST = f"/api/v1/spells/casts/{JOB}"


@pytest.fixture
async def liar(tmp_path: Path) -> AsyncIterator[Liar]:
    """A server that lies."""
    async with lying(tmp_path) as made:
        yield made


@pytest.fixture
async def client(liar: Liar) -> AsyncIterator[Client]:
    """A buyer's client of it."""
    async with Client(liar.url) as made:
        yield made


@pytest.fixture
def purse(liar: Liar) -> Purse:
    """A wallet that pays whatever it is given."""
    return Purse(liar.rail)


def making(
    client: Client,
    purse: Purse,
    folder: Path,
    shows: Display | None = None,
    spending: Payments | None = None,
) -> Making:
    """Return a purchase of at most 100 sats."""
    return Making(client, Payer(purse, spending), folder / "out", shows, max_sats=100)


async def sells(liar: Liar, sats: int = 8, told_sats: Any = None, instance: str = JOB) -> None:
    """Offer a run for so many sats."""
    invoice = await liar.invoice(sats, told_sats)
    offer = f'WWW-Authenticate: L402 macaroon="bWFj", invoice="{invoice["paymentRequest"]}"\r\n'
    told = {"error": {"code": "X", "message": "pay"}, "amountSats": invoice["amountSats"]}
    where = {"instance": f"/x/{instance}"}
    liar.on(f"POST {RUNS}/execute", Says(told | where, 402, offer))


def part(*items: dict[str, Any], **more: Any) -> Says:
    """Return a batch of runs."""
    many = len(items)
    job = {
        "id": JOB, "status": "completed", "job_type": "tool", "total_runs": many,
        "succeeded_runs": many, "completed_runs": many,
    }  # fmt: skip
    return Says({"job": job, "runs": list(items), **more})


def item(place: int = 0, **more: Any) -> dict[str, Any]:
    """Return a run that has ended."""
    return {"id": ITEM, "index_in_job": place, "status": "completed"} | more


def file(**more: Any) -> dict[str, Any]:
    """Return a picture that a run has made."""
    told = {"url": "http://127.0.0.1:1/x", "artifact": f"artifact:{OTHER}"}
    return told | {"mediaType": "image/png", "sha256": sha256(PICTURE).hexdigest()} | more


def made(*outputs: Any, **more: Any) -> Says:
    """Return a run with what it has made."""
    run = {"generationId": ITEM, "status": "completed", "outputs": list(outputs)}
    return Says({"generations": [run | more]})


def image(**more: Any) -> dict[str, Any]:
    """Return a picture as an output."""
    return {"type": "image", "data": {"images": [file(**more)]}}


async def test_a_dearer_invoice_is_not_paid(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """Whatever the tool's price was said to be, and whatever stands beside the invoice."""
    for sats, told, instance, says in (
        (101, None, JOB, "more than your limit"),
        (20_000, 8, JOB, "its invoice asks for"),
        (8, None, "../../etc", "where what is to be paid for is"),
    ):
        await sells(liar, sats, told, instance)
        with pytest.raises((Stop, Strange), match=says):
            await making(client, purse, tmp_path).run(TOOL, {})
    assert purse.paid_sats == []


async def test_what_can_not_be_is_not_saved(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """A lie ends it with a sentence; no address of the server's is asked, and no file is left."""
    script = b'<svg xmlns="x"><script>alert(1)</script></svg>'
    drawing = {"mediaType": "image/svg+xml", "sha256": sha256(script).hexdigest()}
    for lie, says, held in (
        (made(image(), generationId=OTHER), "other runs", PICTURE),
        (made(image(), status="processing"), "and is not", PICTURE),
        (made(image(artifact="artifact:../../etc")), "no name", PICTURE),
        (made(image(artifact=f"{OTHER}")), "no name", PICTURE),
        (made(image(mediaType="text/html")), "not known here", PICTURE),
        (made(image(sha256="0" * 64)), "not the one", PICTURE),
        (made(image(mediaType="image/jpeg")), "not of the kind", PICTURE),
        (made(image(**drawing)), "more in it than shapes", script),
        (made({"type": "program", "data": {}}), "not known here", PICTURE),
        (made({"type": "image", "data": {"images": {}}}), "no list", PICTURE),
        (made(*[image()] * 17), "more than a run can", PICTURE),
    ):
        liar.on(f"GET {AT}", part(item()))
        liar.on(f"POST {RUNS}/status", lie)
        liar.on(f"GET /api/v1/artifacts/{OTHER}", Says(held))
        with pytest.raises(Strange, match=says):
            await making(client, purse, tmp_path).follow_run(JOB)
    assert list((tmp_path / "out").iterdir()) == []
    liar.on(f"POST {RUNS}/status", made(image()))
    liar.on(f"GET /api/v1/artifacts/{OTHER}", Says(PICTURE))
    [output] = (await making(client, purse, tmp_path).follow_run(JOB))["outputs"]
    assert output["file"].startswith(str(tmp_path / "out"))


async def test_what_it_says_steers_no_terminal(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """Neither a reason nor a text that was made; and both are text, not markup."""
    evil = "\x1b]0;owned\x07[red]no[/red]\r\nboltwork: all is well"
    text = {"type": "text", "data": {"text": [evil]}}
    liar.on(f"GET {AT}", part(item(), item(1, id=OTHER, status="failed", error=evil)))
    liar.on(f"POST {RUNS}/status", made(text))
    written = io.StringIO()
    shows = Display(Console(file=written, force_terminal=True, width=200))
    told = await making(client, purse, tmp_path, shows).follow_run(JOB)
    assert told["missing"] == 1 and "\x1b" not in str(told)
    assert "\x1b]0;" not in written.getvalue() and "\x07" not in written.getvalue()
    assert written.getvalue().count("[red]no[/red] boltwork: all is well") == 2


async def test_a_cast_is_asked_for_money_once(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """Another invoice for what was paid is none that is paid; nor is one beyond the limit."""
    step = {"stepId": 1, "toolId": "x", "generationId": ITEM, "status": "failed"}
    told = {
        "castId": JOB, "slug": "x", "status": "failed", "steps": [step], "batchIds": [JOB],
        "resumable": True, "parameters": {},
    }  # fmt: skip
    liar.on(f"GET {CAST}", Says(told))
    failed = part(item(status="failed"))
    asks = part(item(status="pending"), invoice=await liar.invoice(9))
    asks.body["job"] |= {"status": "awaiting_payment", "succeeded_runs": 0, "completed_runs": 0}
    liar.on(f"GET {AT}", asks, failed)
    spending = Payments()
    bought = making(client, purse, tmp_path, spending=spending)
    assert (await bought.follow_cast(JOB))["status"] == "failed"
    for sats, says in ((9, "second time for the cast"), (101, "second time")):
        asks.body["invoice"] = await liar.invoice(sats)
        liar.on(f"GET {AT}", asks)
        with pytest.raises(Stop, match=says):
            await making(client, purse, tmp_path, spending=spending).follow_cast(JOB)
    assert purse.paid_sats == [9]


def test_what_is_no_answer_is_not_read() -> None:
    """Of a tool, a spell, a quote or a cast."""
    step = {"stepId": 1, "toolId": "x", "generationId": ITEM, "status": "failed"}
    cast = {
        "castId": JOB, "slug": "x", "status": "failed", "steps": [step], "batchIds": [JOB],
        "resumable": True, "parameters": {},
    }  # fmt: skip
    quote = {
        "totalCostPts": 9, "totalRuntimeMs": 1, "totalCostUsd": 0.1, "authorSharePts": 1,
        "stepBreakdown": [
            {"stepId": 1, "toolId": "x", "estimatedCostPts": 7, "estimatedRuntimeMs": 1}
        ],
    }  # fmt: skip
    for reader, wrong in (
        (lambda body: spell_answers.cast_(body, OTHER), cast),
        (lambda body: spell_answers.cast_(body, JOB), cast | {"steps": [step, step]}),
        (lambda body: spell_answers.cast_(body, JOB), cast | {"steps": []}),
        (lambda body: spell_answers.cast_(body, JOB), cast | {"batchIds": ["../x"]}),
        (lambda body: spell_answers.cast_(body, JOB), cast | {"steps": [step | {"stepId": 99}]}),
        (spell_answers.quote, quote),
        (spell_answers.quote, quote | {"totalCostPts": True}),
        (lambda body: spell_answers.cards([body]), {"slug": 1}),
        (spell_answers.spell, {"slug": "x"}),
        (spell_answers.begun, {"castId": "../x", "status": "running"}),
        (tool_answers.accepted, {"generationId": "../x"}),
        (tool_answers.tool, {"toolId": "x"}),
    ):
        with pytest.raises(Unreadable):
            reader(wrong)
    assert spell_answers.cast_(cast, JOB)["castId"] == JOB


def test_what_is_typed_is_read_by_its_rule(tmp_path: Path) -> None:
    """A file is read where its name was typed, and nowhere else, whatever a rule says."""
    rules = {
        "n": {"type": "integer"}, "x": {"type": "number"}, "yes": {"type": "boolean"},
        "text": {"type": "string"}, "odd": {"type": "object"}, "evil": {"default": "@/etc/passwd"},
        "all": {"type": "array", "items": {"type": "integer"}},
        "image": {"type": "string", "x-ui": {"widget": "image"}},
    }  # fmt: skip
    words = ["n=3", "x=0.5", "yes=true", "text=a=b", 'odd:={"a": [1]}', "all=1", "all=2"]
    expected = {"n": 3, "x": 0.5, "yes": True, "text": "a=b", "odd": {"a": [1]}, "all": [1, 2]}
    assert given(words, rules) == expected
    (tmp_path / "p").write_bytes(PICTURE)
    (tmp_path / "t").write_text("words")
    assert given([f"text=@{tmp_path / 't'}"], rules) == {"text": "words"}
    inline = given([f"image=@{tmp_path / 'p'}"], rules)["image"]
    assert inline.startswith("data:image/png;base64,")
    for word in (
        "n", "n=x", "x=nan", "yes=maybe", "zzz=1", "odd:={", "odd:=NaN", f"text=@{tmp_path / 'p'}",
        f"image=@{tmp_path / 't'}", f"image=@{tmp_path / 'none'}", "odd=" + "[" * 100_000,
    ):  # fmt: skip
        with pytest.raises(BadGiven):
            given([word], rules)
    with pytest.raises(BadGiven, match="twice"):
        given(["n=1", "n=2"], rules)
