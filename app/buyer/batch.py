"""Pictures and films for programs: ordered at a firm price, paid once, and fetched as they come.

    import asyncio

    from app.buyer.batch import Wish
    from app.buyer.client import Client

    async def main() -> None:
        async with Client("http://127.0.0.1:8402") as client:
            wish = Wish("A red fox in the snow.", "scene-1", count=2)
            batch = await client.batch(wish)
            print(batch.id, batch.invoice)  # pay it with any wallet, and then
            async for shown in batch.watch():
                print(shown["job"]["succeeded"], "of", shown["job"]["total"])

    asyncio.run(main())

Whoever knows the id of a batch can see its files and take its refund. What is read of a file is
bounded, and what it says it is, is looked at.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from app.buyer import answers
from app.buyer.answer_fields import Invoice, is_id
from app.buyer.answers import BatchShown, Item
from app.buyer.client import Client, new_key, without_none
from app.buyer.failures import Refused, Strange
from app.buyer.files import fetched
from app.buyer.session import Session

FINAL = ("completed", "failed", "cancelled")
DELIVERED = "completed"  # of an item
ENDED = (DELIVERED, "failed", "dead_letter")
MOST = 500  # items of a batch
PAGE = 50  # items that are asked for at once


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made: so many pictures of one prompt, each another one; or films, where
    `seconds` is given."""

    prompt: str
    model: str
    count: int = 1
    width: int = 1024
    height: int = 1024
    seconds: int = 0
    resolution: str = "720p"  # of films
    aspect_ratio: str = "16:9"
    refund_to: str | None = field(default=None, kw_only=True)

    def body(self) -> dict[str, Any]:
        """Return it as the API is asked for it."""
        shape: dict[str, Any] = {"model": self.model}
        if self.seconds:
            shape |= {"duration": self.seconds, "resolution": self.resolution}
            shape["aspect_ratio"] = self.aspect_ratio
        else:
            shape |= {"width": self.width, "height": self.height}
        return without_none(
            job_type="video" if self.seconds else "image",
            defaults=shape,
            images=[{"prompt": self.prompt}] * self.count,
            refundTo=self.refund_to,
        )


async def quoted(client: Client, wish: Wish) -> int:
    """Return what a wish would cost, in sats. Free, and nothing is written down."""
    body = wish.body()
    body.pop("refundTo", None)
    parsed = await client.call("POST", "/api/jobs/quote", json=body, repeatable=True)
    return client.strictly(answers.quoted, parsed)


async def first_model(client: Client, *, is_film: bool) -> str:
    """Return the first model that is what its name says, or else the first one. Raises Refused
    where none is sold."""
    kind = "video" if is_film else "image"
    parsed = await client.call("GET", "/api/models")
    models = client.strictly(answers.models, parsed, kind)
    if not models:
        raise Refused(404, {"error": f"No model for a {kind} is sold there."})
    return str(min(models, key=lambda model: bool(model["standsIn"]))["id"])


async def ordered(client: Client, wish: Wish) -> "Batch":
    """Order what is wished for; return the batch with the invoice that begins it when paid."""
    headers = {"Idempotency-Key": new_key()}
    refused = await client.priced("/api/jobs", wish.body(), headers)
    invoice, _ = client.offered(refused)
    batch_id = str(refused.body.get("instance", "")).rpartition("/")[2]
    if not is_id(batch_id):
        raise Strange(client.url, "it does not say where the batch is that is to be paid for")
    return Batch(client, batch_id, invoice, most=wish.count)


class Batch:
    """One batch, as whoever knows its id sees it. Nobody is asked before something is.

    `headers` show the key of the account that has paid for it, where one has.
    """

    def __init__(
        self,
        client: Client,
        batch_id: str,
        invoice: Invoice | None = None,
        most: int = MOST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not is_id(batch_id):
            raise ValueError("the id of a batch is 32 hex digits")
        self.id, self.invoice = batch_id, invoice
        self._client, self._most, self._headers = client, most, dict(headers or {})
        self._at = f"/api/jobs/{batch_id}"

    async def show(self, offset: int = 0) -> BatchShown:
        """Return the batch as it stands, with some of its items: those from a place on."""
        params = {"offset": str(offset), "limit": str(PAGE)}
        call = self._client.call("GET", self._at, params=params, headers=self._headers)
        return self._read(await call)

    def _read(self, parsed: Any) -> BatchShown:
        return self._client.strictly(answers.batch, parsed, self.id, self._most)

    async def watch(self) -> AsyncIterator[BatchShown]:
        """Yield the batch with all of its items each time it changes, until it has ended."""
        known: dict[int, Item] = {}
        async for parsed in self._client.changes(self._at, self._headers, limit="1"):
            shown = self._read(parsed)
            total, is_final = shown["job"]["total"], shown["job"]["status"] in FINAL
            for offset in range(0, total, PAGE):
                here = range(offset, min(offset + PAGE, total))
                if not all(_has_ended(known.get(place)) for place in here):
                    page = await self.show(offset)
                    known |= {item["index_in_job"]: item for item in page["items"]}
            if is_final and not all(_has_ended(item) for item in known.values()):
                raise Strange(self._client.url, "it says that a batch has ended which has not")
            yield {**shown, "items": [known[place] for place in sorted(known)]}
            if is_final:
                return

    async def fetch(self, item: Item, kind: str, into: IO[bytes]) -> str:
        """Write what an item made into a file; return the ending of its name.

        Raises Strange where it is not what the server says it is, and Refused (410 where it was
        kept for its time).
        """
        path = f"{self._at}/{kind}s/{item['id']}"
        return await fetched(self._client, path, item.get("media_type"), item.get("sha256"), into)

    async def cancel(self) -> BatchShown:
        """Cancel it: what nobody makes yet is not made, and not charged."""
        at, headers = f"{self._at}/cancel", self._headers
        return self._read(await self._client.call("POST", at, repeatable=True, headers=headers))

    async def refund(self, bolt11: str) -> dict[str, Any]:
        """Claim what is owed back, with an invoice of just that amount."""
        return await self._client.refund(self.id, bolt11)


def _has_ended(item: Item | None) -> bool:
    return item is not None and item["status"] in ENDED


async def ordered_on(client: Client, wish: Wish, session: Session, key: str | None = None) -> Batch:
    """Have a session pay for what is wished for; return the batch, which has begun.

    Raises Refused: 402 where the balance or a budget is too low, 403 where the macaroon does not
    allow it. What is not delivered is on the session's balance again.
    """
    holder = {"Authorization": f"Bearer {session.macaroon}", "Idempotency-Key": key or new_key()}
    made = await client.call("POST", "/api/jobs", json=wish.body(), headers=holder)
    try:
        return Batch(client, str(made.get("jobId", "")), most=wish.count)
    except ValueError as wrong:
        raise Strange(client.url, "it does not say where the batch is that was paid for") from wrong
