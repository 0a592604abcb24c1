"""Workers of the network on a market: what they claim, and pictures that look like something."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from app import advance
from app.advance.batches import Ordered
from db import workers
from db.artifacts import Artifact
from db.canaries import NewCanary
from db.claims import Claim, Hired
from db.workers import NewWorker, WorkerRow
from statemachine.batch import invoice_id
from tests.world.market_fixtures import LANE, QUOTE, Market, hashed, priced

CAT, DOG = "a cat that sleeps on a red sofa", "two dogs that run along a beach"
DENSE = int("5" * 64, 16)
ASKED: dict[str, Any] = {"model": "scene-1", "prompt": CAT, "width": 8, "height": 8, "seed": 5}


@dataclass
class Lent:
    """A market with workers of the network."""

    market: Market

    async def workers(self, *names: str) -> None:
        """Register workers."""
        for name in names:
            new = NewWorker(name, f"{name}-account", name, hashed(name), "wk_…", "you@example.org")
            await self.market.shell.do(advance.workers.register, new)

    async def row(self, worker: str = "w") -> WorkerRow:
        """Return a worker's row."""
        row = await workers.get(self.market.db, worker)
        assert row is not None
        return row

    async def asked(self, batch_id: str, *wishes: tuple[str, int]) -> None:
        """Buy pictures of these words and seeds, a sat each."""
        market, price = self.market, 1_000 * len(wishes)
        new = [
            replace(item, asked={**item.asked, "prompt": prompt, "seed": seed})
            for item, (prompt, seed) in zip(
                priced(batch_id, [1_000] * len(wishes)), wishes, strict=True
            )
        ]
        opened = market.invoice(price)
        begin = advance.batches.begin
        await market.shell.do(begin, batch_id, Ordered(new, "p", QUOTE), price, opened)
        await market.pay(invoice_id(batch_id), opened)

    async def claimed(self, worker: str = "w", most: int = 1) -> list[Claim]:
        """Have a worker claim items."""
        names = [hashed(f"lease {next(self.market.numbers)}")[:32] for _ in range(most)]
        claim = advance.leases.claim
        return await self.market.shell.do(claim, worker, [LANE], most, Hired({LANE: 70}, names))

    async def brings(
        self, claim: Claim, worker: str = "w", bits: int | None = None, what: str = ""
    ) -> object:
        """Bring a picture that looks so; of other bytes each time, where none are named."""
        market, look = self.market, None if bits is None else f"{bits:064x}"
        now, what = market.clock(), what or f"bytes {next(market.numbers)}"
        told = f"a{next(market.numbers)}", "image/png", hashed(what), 5, 8, 8, None
        made = Artifact(*told, now, now + timedelta(days=1), look=look)
        submit, whose = advance.leases.submit, (claim.id, claim.number, worker)
        return await market.shell.do(submit, *whose, hashed(what), made)

    async def made(self, batch_id: str, worker: str = "w") -> None:
        """Have a worker make what waits, which is of this batch."""
        for claim in await self.claimed(worker, 9):
            assert claim.batch_id == batch_id
            assert await self.brings(claim, worker) == advance.Applied()

    async def canary(self, name: str, worker: str = "w") -> Claim | None:
        """Have the house order something of a worker, as it is due."""
        query = "UPDATE worker SET canary_due = true WHERE id = %(id)s"
        await self.market.db.run("due", lambda tx: tx.execute(query, id=worker))
        new = NewCanary(f"{name}b", f"{name}i", f"{name}l", LANE, ASKED, 1, 1_000, 70, QUOTE)
        return await self.market.shell.do(advance.canaries.give, worker, new)

    async def holds(self, name: str, worker: str = "w") -> Claim:
        """Return a canary that a worker holds."""
        claim = await self.canary(name, worker)
        assert claim is not None
        return claim
