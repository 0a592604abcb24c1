"""A server that lies about pictures gets no more than was allowed, and names no file."""

import asyncio
import io
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.buyer.batch import Wish
from app.buyer.client import Client
from app.buyer.display import Display
from app.buyer.drawing import Drawing
from app.buyer.failures import Strange
from app.buyer.payer import Payer, Stop
from app.buyer.spending import Payments
from tests.world.hostile_media import many_coloured, saved
from tests.world.hostile_server import JOB, OTHER, Liar, Purse, Raw, Says, lying

LIMIT_SATS = 100
ITEM = "c3" * 16
PICTURE = saved(many_coloured())
WISH = Wish("a cat", "scene-1", 2)
AT = f"/api/jobs/{JOB}"


@pytest.fixture
async def liar(tmp_path: Path) -> AsyncIterator[Liar]:
    """A server that lies."""
    async with lying(tmp_path) as made:
        yield made


@pytest.fixture
async def client(liar: Liar) -> AsyncIterator[Client]:
    """A buyer's client of it, that waits for nothing."""

    async def no_pause(_: float) -> None:
        await asyncio.sleep(0)

    async with Client(liar.url, pause=no_pause) as made:
        yield made


@pytest.fixture
def purse(liar: Liar) -> Purse:
    """A wallet that pays whatever it is given."""
    return Purse(liar.rail)


async def sells(liar: Liar, sats: int = 8, told_sats: Any = None, instance: str = JOB) -> None:
    """Price a batch at 8 sats, and offer it for so many."""
    liar.on("POST /api/jobs/quote", Says({"priceSats": 8}))
    invoice = await liar.invoice(sats, told_sats)
    offer = f'WWW-Authenticate: L402 macaroon="bWFj", invoice="{invoice["paymentRequest"]}"\r\n'
    body = {"error": "pay", "amountSats": invoice["amountSats"], "instance": f"/x/{instance}"}
    liar.on("POST /api/jobs", Says(body, 402, offer))


def item(place: int = 0, **more: Any) -> dict[str, Any]:
    """Return an item that was delivered."""
    hashed = sha256(PICTURE).hexdigest()
    made = {"id": ITEM, "index_in_job": place, "status": "completed", "media_type": "image/png"}
    return made | {"sha256": hashed} | more


def batch(*items: Any, status: str = "completed", **more: Any) -> Says:
    """Return a batch of as many pictures as there are."""
    job = {
        "id": JOB, "status": status, "job_type": "image", "total_images": len(items),
        "succeeded_images": len(items), "completed_images": len(items),
    }  # fmt: skip
    return Says({"job": job | more, "images": list(items)})


def drawing(client: Client, purse: Purse, folder: Path, spending: Any = None) -> Drawing:
    """Return a purchase of at most 100 sats."""
    return Drawing(client, Payer(purse, spending), folder / "out", max_sats=LIMIT_SATS)


async def test_a_dearer_invoice_is_not_paid(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """Whatever the quote said, and whatever stands beside the invoice."""
    await sells(liar, 20_000)
    with pytest.raises(Stop, match="more than your limit"):
        await drawing(client, purse, tmp_path).draw(WISH)
    await sells(liar, 20_000, told_sats=8)
    with pytest.raises(Stop, match="its invoice asks for"):
        await drawing(client, purse, tmp_path).draw(WISH)
    await sells(liar, instance="../../etc")
    with pytest.raises(Strange, match="where the batch is"):
        await drawing(client, purse, tmp_path).draw(WISH)
    assert purse.paid_sats == []


async def test_a_batch_is_paid_once_however_often_it_is_asked_for(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """Another invoice for it is none that is paid: not while it is watched, nor when resumed."""
    await sells(liar)
    liar.on(f"GET {AT}", batch(item(0), status="failed"))
    spending = Payments()
    liar.on(f"GET {AT}/images/{ITEM}", Says(PICTURE))
    await drawing(client, purse, tmp_path, spending).draw(WISH)
    assert purse.paid_sats == [8]
    asks = batch(item(0), status="awaiting_payment")
    asks.body["invoice"] = await liar.invoice(9)
    liar.on(f"GET {AT}", asks)
    with pytest.raises(Stop, match="second time for the batch"):
        await drawing(client, purse, tmp_path, spending).go_on(JOB)
    assert purse.paid_sats == [8]


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (batch(item(), id=OTHER), "another batch"),
        (batch(item(), job_type="../images"), "word"),
        (batch(item(), job_type="text"), "no kind"),
        (batch(item(0), item(0)), "one place"),
        (batch(item(0), item(7)), "one place"),
        (batch(item(0), item(1), item(2)), "don't add up"),
        (batch(item(0), total_images=-1), "total_images"),
        (batch(item(0), succeeded_images=2), "don't add up"),
        (batch(item(0, id="../../../etc/passwd")), "no id"),
        (batch(item(0, status="process\x1b[2Jing")), "no word"),
        (batch(item(0, status="pending")), "has not"),
        (batch(item(0, media_type="text/html")), "kind that is not known"),
        (batch(item(0, media_type=None)), "kind that is not known"),
        (batch(item(0, media_type="image/jpeg")), "not of the kind"),
        (batch(item(0, sha256="0" * 64)), "not the one"),
        (batch(item(0, sha256=None)), "not the one"),
        (Says({"job": [], "images": []}), "no object"),
        (Says({"job": {}, "images": {}}), "no field"),
    ],
)
async def test_what_can_not_be_is_not_saved(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path, lie: Says, says: str
) -> None:
    """A lie ends the purchase with a sentence, and leaves nothing in the folder."""
    await sells(liar)
    liar.on(f"GET {AT}", lie)
    liar.on(f"GET {AT}/images/{ITEM}", Says(PICTURE))
    with pytest.raises(Strange, match=says):
        await drawing(client, purse, tmp_path).draw(WISH)
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_file_without_end_is_cut_off(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """No more of it is written than a picture may have; packed ones are not unpacked."""
    await sells(liar)
    liar.on(f"GET {AT}", batch(item(0)))
    head = b"HTTP/1.1 200 x\r\nContent-Length: 999999999999\r\n\r\n"
    liar.on(f"GET {AT}/images/{ITEM}", Raw(head, b"\x00" * 1_048_576))
    with pytest.raises(Strange, match="longer than 64 MiB"):
        await drawing(client, purse, tmp_path).draw(WISH)
    liar.on(f"GET {AT}/images/{ITEM}", Says(PICTURE, headers="Content-Encoding: gzip\r\n"))
    with pytest.raises(Strange, match="packed"):
        await drawing(client, purse, tmp_path).go_on(JOB)
    assert list((tmp_path / "out").iterdir()) == []


async def test_what_it_says_steers_no_terminal(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """A reason is text: no escape of it and no markup reaches the terminal."""
    await sells(liar)
    evil = "\x1b]0;owned\x07[red]no[/red]\r\nboltwork: all is well"
    liar.on(f"GET {AT}", batch(item(0, status="failed", error=evil), status="failed"))
    written = io.StringIO()
    shows = Display(Console(file=written, force_terminal=True, width=200))
    payer = Payer(purse)
    bought = Drawing(client, payer, tmp_path / "out", shows, max_sats=LIMIT_SATS)
    told = await bought.draw(WISH)
    assert told["files"] == [] and told["status"] == "failed"
    assert "\x1b]0;" not in written.getvalue() and "\x07" not in written.getvalue()
    assert "[red]no[/red]" in written.getvalue()


async def test_a_file_that_is_gone_is_said(
    liar: Liar, client: Client, purse: Purse, tmp_path: Path
) -> None:
    """The others are saved all the same, and what was there before is not touched."""
    await sells(liar)
    liar.on(f"GET {AT}", batch(item(0), item(1, id=OTHER)))
    liar.on(f"GET {AT}/images/{ITEM}", Says({"error": "It was deleted."}, 410))
    liar.on(f"GET {AT}/images/{OTHER}", Says(PICTURE))
    told = await drawing(client, purse, tmp_path).draw(WISH)
    [name] = told["files"]
    assert name.endswith("-002.png")
    assert await asyncio.to_thread(Path(name).read_bytes) == PICTURE
