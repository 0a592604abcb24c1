"""One purchase of pictures or films, from the price to the files and the refund.

The id of the batch is shown before anything is paid, so that an interrupted purchase can be
resumed: it is not paid a second time, and files that are there are not fetched again. No file has
a name of the server's, and each is written whole or not at all.
"""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from app.buyer.answer_fields import is_id
from app.buyer.answers import BatchShown, Item
from app.buyer.batch import DELIVERED, ENDED, Batch, Wish, quoted
from app.buyer.client import Client, new_key
from app.buyer.display import Display
from app.buyer.failures import ClientError, Refused
from app.buyer.files import Folder
from app.buyer.payer import Exit, Payer, Stop
from app.buyer.refunds import take_back
from app.buyer.session import Session
from app.buyer.spending import MOST_SATS, Purpose, Wanted
from app.buyer.waiting import no_longer_than, until_of
from app.plain_text import one_line
from payments.bolt11 import whole_sats
from statemachine.public_id import public_id

GOING = "processing"  # of an item
MOST_SAID = 4  # items of which a line says how far they are
SAYS = {"awaiting_payment": "waiting for the payment", "queued": "in the queue"}


class Drawing:
    """Buys from one instance with one wallet, and saves what is made in a folder.

    `batch_id` is the id of what is being bought, once the server has given it one.
    """

    def __init__(
        self,
        client: Client,
        payer: Payer,
        folder: Path,
        display: Display | None = None,
        *,
        max_sats: int = MOST_SATS,
        wait_s: int | None = None,
    ) -> None:
        self._client, self._payer, self._folder = client, payer, Folder(folder)
        self._shows = display or Display(Console(quiet=True))
        self._max_sats, self._wait_s = max_sats, wait_s
        self._files: dict[int, Path] = {}
        self._lost: set[int] = set()  # what was delivered, and could not be fetched
        self.batch_id = ""

    async def price(self, wish: Wish) -> int:
        """Return what it costs, in sats; raise Stop when that is more than the buyer allows."""
        price_sats = await quoted(self._client, wish)
        self._shows.say(f"it costs {whole_sats(price_sats)}")
        self._check(price_sats)
        await self._payer.check(price_sats)
        return price_sats

    async def draw(self, wish: Wish) -> dict[str, Any]:
        """Buy what is wished for, and save it; return how it ended, and the names of the files."""
        await self.price(wish)
        self._folder.check()
        batch = await self._client.batch(wish)
        assert batch.invoice is not None, "it was ordered just now"
        self._check(batch.invoice["amountSats"])
        self._begun(batch.id)
        await self._pay(batch, batch.invoice)
        return await self._follow(batch)

    async def draw_on_session(self, session: Session, wish: Wish) -> dict[str, Any]:
        """Have a session pay for what is wished for, and save it; what is not delivered is on its
        balance again. The whole price is counted until it is known what was charged.
        """
        price_sats = await self.price(wish)
        self._folder.check()
        key = new_key()
        name = f"session:{key}"
        await self._payer.set_aside(name, price_sats, Wanted(name, Purpose.REQUEST, self._max_sats))
        # Whatever it costs by now: the macaroon that goes along allows no more than the limit.
        limited = session.narrowed(max_sats=self._max_sats)
        try:
            batch = await self._client.batch(wish, limited, key)
        except Refused as refused:
            if refused.status < 500:  # else it may have been taken all the same
                await self._payer.settle_aside(name, 0)
            if refused.status in (402, 403):
                raise Stop(Exit.REFUSED, f"{refused} {refused.next_step}".strip()) from refused
            raise
        self.batch_id = batch.id
        self._shows.begun("batch", batch.id, self._resuming)
        told = await self._follow(batch)
        charged_sats = told.get("chargedSats", price_sats)
        await self._payer.settle_aside(name, charged_sats)
        with contextlib.suppress(ClientError):  # all is there, whatever is left of it
            left = whole_sats((await session.status())["balanceSats"])
            self._shows.say(f"the session paid {whole_sats(charged_sats)}, and has {left} left")
        return told

    async def go_on(self, batch_id: str) -> dict[str, Any]:
        """Resume a purchase: pay what is not paid yet, and save what is not there."""
        if not is_id(batch_id):
            raise Stop(Exit.REFUSED, "A batch's id is 32 hex digits, as `boltwork draw` shows it.")
        self._folder.check()
        batch, self.batch_id = Batch(self._client, batch_id), batch_id
        shown = await batch.show()
        if shown["job"]["status"] == "awaiting_payment" and "invoice" in shown:
            await self._pay(batch, shown["invoice"])
        return await self._follow(batch)

    # ------------------------------------------------------------------ within

    def _check(self, price_sats: int) -> None:
        if price_sats > self._max_sats:
            raise Stop(
                Exit.REFUSED,
                f"It costs {whole_sats(price_sats)}, more than your limit of {self._max_sats}"
                " (--max-sats). Nothing was paid.",
            )

    def _begun(self, batch_id: str) -> None:
        self.batch_id = batch_id
        by_hand = self._payer.wallet.is_by_hand
        with_it = "" if by_hand else f" --wallet {self._payer.wallet.name}"
        self._shows.begun("batch", batch_id, f"{self._resuming}{with_it}")

    @property
    def _resuming(self) -> str:
        return f"boltwork draw --resume {self.batch_id} --out {self._folder.path}"

    async def _pay(self, batch: Batch, invoice: Any) -> None:
        async def has_arrived() -> bool:
            try:
                return (await batch.show())["job"]["status"] not in (
                    "awaiting_payment",
                    "cancelled",
                )
            except ClientError:
                return False

        wanted = Wanted(batch.id, Purpose.BATCH, self._max_sats)
        await self._payer.pay(invoice, wanted, has_arrived)
        if not self._payer.wallet.is_by_hand:
            self._shows.paid(invoice["amountSats"], Purpose.BATCH)

    async def _follow(self, batch: Batch) -> dict[str, Any]:
        """Save each file as it comes, until all have ended; then take back what is owed."""
        async with no_longer_than(until_of(self._wait_s), self._resuming):
            shown = await batch.show()
            with self._shows.counting(shown["job"]["total"]) as count:
                async for shown in batch.watch():
                    job = shown["job"]
                    done, says = come(shown)
                    count(done, SAYS.get(job["status"], says))
                    for item in shown["items"]:
                        await self._look_at(batch, item, job["kind"])
        await take_back(self._client, self._payer, self._shows, batch.id, shown.get("refunds"))
        return self._told(shown)

    async def _look_at(self, batch: Batch, item: Item, kind: str) -> None:
        """Save what an item made, once; say of one that failed why, once."""
        place = item["index_in_job"] + 1
        if item["status"] not in ENDED or place in self._files or place in self._lost:
            return
        if item["status"] != DELIVERED:
            self._lost.add(place)
            self._shows.say(f"{place}: not made. {one_line(item.get('error', ''))}".rstrip())
            return
        stem = f"{public_id(batch.id)[:8]}-{place:03}"
        there = self._folder.there(stem)
        if there is not None:
            self._files[place] = there
            return
        try:
            self._files[place] = await self._folder.keep(stem, partial(batch.fetch, item, kind))
        except Refused as refused:  # it was kept for its time, say
            self._lost.add(place)
            self._shows.say(f"{place}: {refused}")
            return
        self._shows.say(f"{place}: {self._files[place]}")

    def _told(self, shown: BatchShown) -> dict[str, Any]:
        job = shown["job"]
        files = [str(self._files[place]) for place in sorted(self._files)]
        return {
            "batchId": job["id"],
            "status": job["status"],
            "items": job["total"],
            "files": files,
            **{name: shown[name] for name in ("priceSats", "chargedSats") if name in shown},
        }


def come(shown: BatchShown) -> tuple[float, str]:
    """Return how far a batch is, in items, and which of them are being made, in words."""
    going = {
        item["index_in_job"] + 1: _percent(item)
        for item in shown["items"]
        if item["status"] == GOING
    }
    says = ", ".join(f"{place}: {percent} %" for place, percent in [*going.items()][:MOST_SAID])
    return shown["job"]["ended"] + sum(going.values()) / 100, says


def _percent(item: Item) -> int:
    """Return how far an item is, where the server says it in a way that can be."""
    told: object = dict(item).get("progress")
    return told if isinstance(told, int) and 0 <= told <= 100 else 0


def code_of(told: dict[str, Any]) -> Exit:
    """Return the exit code of a purchase that has ended: were all of them delivered?"""
    is_whole = told["status"] == "completed" and len(told["files"]) == told["items"]
    return Exit.COMPLETE if is_whole else Exit.FAILED
