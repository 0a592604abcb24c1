"""HTTP as bytes, and what the answers are worth."""

import asyncio
import json
from urllib.parse import urlsplit

from payments.bolt11 import Invoice
from payments.lnurl import BadDestination, Destination
from payments.public_http import Away, Refused
from pricing.money import Msat
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S


class BrokenDestinations:
    """Destinations with a fault of ours in them."""

    def parse(self, text: str) -> Destination | BadDestination:
        """Break."""
        raise RuntimeError("canary: postgresql://user:password@host")

    async def fetch_invoice(
        self, destination: Destination, amount_msat: Msat, comment: str = ""
    ) -> Invoice | Refused | Away:
        """Break: nothing comes so far."""
        raise RuntimeError("no destination was read")

    async def close(self) -> None:
        """Nothing to let go of."""


async def said(house: Instance, *sent: bytes) -> bytes:
    """Return all that is answered to these bytes, up to the end of the connection."""
    address = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for part in sent:
                writer.write(part)
                await writer.drain()
            return await reader.read()
    finally:
        writer.close()


def judged(answer: bytes) -> int:
    """Return the status of one answer; hold it to the envelope where it came from a route."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert len(body) == int(headers["content-length"]), "there is something behind the answer"
    assert not body or set(json.loads(body)) >= {"error", "requestId"} or status[9:12] == "200"
    return int(status[9:12])
