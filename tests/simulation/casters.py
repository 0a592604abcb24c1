"""Those who cast spells and have no account: by an invoice each, or by an order in USDC.

Under what somebody wants it is always the same version of a spell: where that has changed before
he was answered, he goes.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from app.trade.batches import Order
from app.trade.once import Name
from app.trade.usdc_sales import Thing
from db import casts
from db.engine import Duplicate
from payments.usdc.address import Address
from payments.usdc.payment import Payment
from statemachine.notice import Topic
from tests.simulation import wishes, workbench
from tests.simulation.payers import Crowd
from tests.simulation.process import Process
from tests.simulation.shoppers import PAYERS, Shopper, Shoppers
from tests.simulation.signers import Sale, Signer, Signers

ENDED = ("completed", "failed", "cancelled")


@dataclass(eq=False)
class Caster(Shopper):
    """One who pays an invoice for one cast, or for what is missing of one."""

    slug: str = ""
    version: str = ""
    resumes: str = ""  # a cast of before


@dataclass(eq=False)
class CastSigner(Signer):
    """One who pays for one cast in USDC."""

    slug: str = ""
    version: str = ""


async def ordered(
    crowd: Crowd[Any],
    caster: Caster | CastSigner,
    process: Process,
    *,
    in_usdc: bool,
) -> Order | None:
    """Return what a cast orders; None: its spell has another version by now."""
    spell = await process.house.spells.show(caster.slug)
    if caster.version not in ("", spell.version_id):
        return None
    caster.version = spell.version_id
    costs = workbench.costs(spell.document, spell.author_id is not None)
    wished = wishes.Order(None, None, (), costs, in_usdc=in_usdc, spell=spell.slug)
    crowd.wishes.orders[caster.name] = wished
    turn, back_to = caster.turn_of, caster.refund_to
    order = process.house.spells.order(spell, {"tag": caster.name}, turn, back_to)
    return replace(order, webhook=crowd.word(process, Topic.SPELL))


class Casters(Shoppers):
    """Those who pay invoices."""

    def arrive(self) -> Caster:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        caster = Caster(
            name=f"i{number}",
            key=f"i{number}" if dice.random() < 0.6 else None,
            gives_up=dice.random() < 0.1,
            came_at=self._clock.true,
            refund_to=f"i{number}@wallet.example.org" if dice.random() < 0.35 else None,
            turn_of=f"payer {dice.randrange(PAYERS)}",
        )
        known = [one for one in self.active + self.past if isinstance(one, Caster)]
        ended = [one for one in known if one.status.get("state") in ENDED and not one.resumes]
        if ended and dice.random() < 0.5:
            caster.resumes, caster.key = dice.choice(ended).owner_id, None
        self.active.append(caster)
        return caster

    def wish(self, shopper: Shopper) -> str | None:
        """See Crowd."""
        return super().wish(shopper) if self.slugs() else None

    async def create(self, shopper: Shopper, process: Process) -> None:
        """POST /api/v1/spells/cast, or …/casts/{id}/resume."""
        assert isinstance(shopper, Caster)
        name, order = None, await self._order(shopper, process)
        if order is None:
            shopper.gone = not shopper.owner_id
            return
        if shopper.key is not None:
            sha = hashlib.sha256(shopper.name.encode()).hexdigest()
            name = Name("peer:simulation", shopper.key, sha)
        try:
            made = await process.house.batches.place(order, name)
        except Duplicate:  # somebody else has resumed it, at this moment
            shopper.gone = True
            return
        assert shopper.owner_id in ("", made.owner_id), "one key gave two casts"
        shopper.owner_id = made.owner_id
        self.show(shopper, made.purpose, made.bolt11)

    async def _order(self, caster: Caster, process: Process) -> Order | None:
        if not caster.resumes:
            caster.slug = caster.slug or self._dice.choice(self.slugs())
            return await ordered(self, caster, process, in_usdc=False)
        house = process.house
        row = await casts.get(house.db, caster.resumes)
        if row is None:  # nobody had paid for it
            return None
        self._weather.counts["buyer: resumes a cast"] += 1
        return await house.spells.resumption(row, caster.turn_of, caster.refund_to)


class CastSigners(Signers):
    """Those who sign orders: who does has an account by that, which has what is too little."""

    def arrive(self) -> CastSigner:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        signer = CastSigner(
            name=f"x{number}",
            key=f"x{number}" if dice.random() < 0.5 else None,
            gives_up=False,
            came_at=self._clock.true,
            refund_to=None,
            turn_of=f"payer {dice.randrange(PAYERS)}",
            address=Address(f"0x9{number:039d}"),
        )
        self.active.append(signer)
        return signer

    def wish(self, signer: Signer) -> str | None:
        """See Crowd."""
        return super().wish(signer) if self.slugs() else None

    async def sale(self, signer: Signer, process: Process) -> Sale | None:
        """See Signers."""
        assert isinstance(signer, CastSigner)
        signer.slug = signer.slug or self._dice.choice(self.slugs())
        order = await ordered(self, signer, process, in_usdc=True)
        if order is None:
            signer.gone = not signer.owner_id
            return None

        async def prepare(payment: Payment) -> Thing:
            return await process.house.batches.for_usdc(payment, order, of_account=True)

        price = sum(line.price_microusd for line in order.lines)
        return Sale(price, f"cast:{signer.slug}", prepare)
