"""A worker at its server: registered there once, and known again; where its pay goes is said anew.

What it is registered with is kept first: the answer may never be heard, and the same words again
are answered with the same worker and its token.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.buyer.exchange import shown
from app.lender import keeping, payout_key
from app.lender.answers import Standing
from app.lender.keeping import Kept
from app.lender.patience import patiently
from app.lender.server import Refused, Server


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and the file that keeps the worker which is lent there."""

    url: str
    path: Path

    def kept(self) -> Kept | None:
        """Return what is known of the worker. Raises Unkept."""
        return keeping.read(self.path, self.url)


async def enter(server: Server, at: Place, name: str, to: str, say: Callable[[str], None]) -> None:
    """Be the worker that is known at the server, or a new one of this name that is paid there.

    An empty `to` leaves it where it is. Raises Refused, Lost, Unkept.
    """
    kept = at.kept()
    if kept is not None and kept.token:
        server.token = kept.token
        await _back(server, at, kept, to, say)
        return
    if kept is None:
        kept = Kept(
            key=secrets.token_hex(32),
            name=name,
            to=to,
            secret=secrets.token_hex(32),
            payout_key=payout_key.make(),
        )
        keeping.write(at.path, at.url, kept)
    await _register(server, at, kept, say)


async def _register(server: Server, at: Place, kept: Kept, say: Callable[[str], None]) -> None:
    """Be a new worker, and keep its token."""
    guards = {"secret": kept.secret} if kept.secret else {}
    if kept.payout_key:
        guards["payoutKey"] = payout_key.public_half(kept.payout_key)
    try:
        worker_id, token = await server.register(kept.name, kept.to, kept.key, **guards)
    except Refused:
        keeping.forget(at.path, at.url)
        raise
    keeping.write(at.path, at.url, Kept(worker_id, token, payout_key=kept.payout_key))
    say(f"Worker {worker_id[:8]} is registered at {shown(at.url)}; {at.path} keeps its token.")
    say(f"Its pay goes to {kept.to}.")


async def _back(server: Server, at: Place, kept: Kept, to: str, say: Callable[[str], None]) -> None:
    """Be given items again, and paid where that was said anew. Waits for a server that is away: who
    is started with the machine may be there before its network is."""
    standing = await patiently(server.me, say)
    fields = {"state": "online"} | _redirection(kept, standing, to)
    standing = await patiently(lambda: server.change(**fields), say)
    say(f"Worker {kept.worker_id[:8]} is back at {shown(at.url)}.")
    say(f"Its pay goes to {standing.pay_to}.")
    if standing.pays_next:
        say(f"Later it goes to {standing.pays_next}.")
    for payout in standing.stuck:
        say(f"Not sent yet: {payout} Another destination can be named with --to.")


def _redirection(kept: Kept, standing: Standing, to: str) -> dict[str, str]:
    """Return what says that pay goes elsewhere; signed, where the server knows this worker's key.

    Without a key such a change waits for a day.
    """
    if not to or to == standing.pay_to:
        return {}
    if not kept.payout_key or payout_key.public_half(kept.payout_key) != standing.payout_key:
        return {"payTo": to}
    signature = payout_key.sign(kept.payout_key, kept.worker_id, standing.signed, to)
    return {"payTo": to, "signature": signature}
