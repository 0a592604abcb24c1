"""People with an account: they pay in, spend it by themselves and by API keys, and take it out.

Some publish spells, and have a share of what others cast of them. Each signs with a wallet, to
which USDC can go back, and from which now and then some is sent before it has signed.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app import advance
from app.advance import Payer as Paying
from app.advance.proofs import SignedBy
from app.keys.api_keys import Prefix
from app.refusal import Refusal, Why
from app.trade.approvals import Withdrawal
from app.trade.batches import Order
from app.trade.once import Name
from db import casts
from db.api_keys import Limits
from db.engine import Duplicate
from db.people import NewLogin
from db.people_tables import LoginBy
from payments.usdc.address import Address
from pricing.money import MicroUsdc, Msat
from statemachine.entries import Asset
from statemachine.notice import Topic
from tests.simulation import wishes, workbench
from tests.simulation.chain import DEPTH, SimulatedChain
from tests.simulation.payers import KEY_LIFE, Crowd, Payer
from tests.simulation.process import Process
from tests.simulation.shoppers import lines, prices

DEPOSITS_SATS = (100, 1_000, 4_000, 10_000)
DEPOSITS_MICROUSDC = (10_000, 60_000, 900_000)
LIMITS_SATS = (None, None, 5, 400)
LIMITS_MICROUSDC = (None, None, 4_000, 100_000)
MOST_DONE = 14
NOBODY = Address("")
AUTHORS = 3  # of all people


@dataclass
class Wanted:
    """What somebody bought, or took out, under a name: again, it is the same."""

    tag: str
    prices_microusd: tuple[int, ...]
    key: str | None
    first_at: datetime
    batch_id: str = ""


@dataclass(eq=False)
class Person(Payer):
    """One who has an account."""

    address: Address = NOBODY
    spell: str = ""  # the spell that they have published, if any
    signed: int = 0
    done: int = 0
    deposits: int = 0
    bought: list[Wanted] = field(default_factory=list)
    casts: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # by their ids
    balances: dict[Asset, int] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """See Payer."""
        return self.done >= MOST_DONE and (not self.owed or self.gives_up)


class People(Crowd[Person]):
    """All of them, and what they do next."""

    chain: SimulatedChain

    def arrive(self) -> Person:
        """See Crowd."""
        number = len(self.active) + len(self.past)
        person = Person(
            name=f"p{number}",
            key=None,
            gives_up=self._dice.random() < 0.1,
            came_at=self._clock.true,
            refund_to=None,
            address=Address(f"0x7{number:039d}"),
        )
        self.active.append(person)
        return person

    def wish(self, person: Person) -> str | None:
        """See Crowd."""
        if not person.owner_id:
            if self._dice.random() < 0.1:
                return "send"
            return "sign_in" if self.comes_back(person, 9) else None
        if door := self.comes_for_money(person):
            return door
        person.done += 1
        if person.done <= 2:
            return ("deposit", "send")[(person.done + int(person.name[1:])) % 2]
        doors = [("deposit", 8), ("send", 8), ("buy", 22), ("cast", 26), ("take_out", 6)]
        doors += [("key", 10), ("cancel", 4), ("resume", 12), ("poll", 8), ("sign_in", 1)]
        if int(person.name[1:]) < AUTHORS:
            doors.append(("publish", 4 if person.spell else 200))
        return self.pick(doors)

    def published(self) -> list[str]:
        """Return the names of their spells."""
        return [each.spell for each in self.active + self.past if each.spell]

    # ------------------------------------------------------- what goes through our doors

    async def sign_in(self, person: Person, process: Process) -> None:
        """POST /api/auth/siwe: an account is opened with the first one, and another where that was
        forgotten, as there was never a thing on it."""
        signed = self._signed(person)
        named = f"{person.name} {person.signed}"
        login = NewLogin(_sha(f"login {named}")[:32], _sha(named), LoginBy.WALLET, signed.until)
        log_in = advance.accounts.log_in_by_wallet
        opened = await process.built.shell.do(log_in, signed, login)
        assert opened is not None, "a nonce is used once"
        if person.owner_id not in ("", opened.id):
            query = "SELECT id FROM user_account WHERE id = %(id)s"
            before = await process.built.db.read_all(query, id=person.owner_id)
            assert not before, "one wallet opens two accounts"
        person.owner_id = opened.id

    def _signed(self, person: Person) -> SignedBy:
        """Return what their wallet signs: a nonce that nobody has used before."""
        person.signed += 1
        nonce = _sha(f"nonce {person.name} {person.signed}")
        return SignedBy(person.address, nonce, self._clock.true + timedelta(hours=3))

    async def poll(self, person: Person, process: Process) -> None:
        """GET /api/account, which asks the rail while its channel is down."""
        house = process.house
        standing = await house.accounts.standing(person.owner_id)
        for invoice in standing.deposits:
            if invoice.to_pay is not None and not house.waiting.is_pushed:
                await house.booking.look_up(invoice.to_pay.payment_hash)
        person.balances = standing.balances
        owed = [each for each in standing.payouts if each.asset is Asset.MSAT]
        person.status = {"state": "open", "refunds": [house.shapes.refund(p, None) for p in owed]}

    async def deposit(self, person: Person, process: Process) -> None:
        """POST /api/account/deposits."""
        sats = self._dice.choice(DEPOSITS_SATS)
        person.deposits += 1
        name = _name(person, f"d{person.deposits}", f"{sats}")
        again = 2 if self._dice.random() < 0.2 else 1
        made = set()
        for _ in range(again):
            invoice = await process.house.accounts.deposit(
                person.owner_id, Msat(sats * 1_000), name
            )
            made.add(invoice.id)
        assert len(made) == 1, "one key gave two deposits"
        self.show(person, invoice.id.partition(":")[2], invoice.bolt11)

    async def send(self, person: Person, process: Process) -> None:
        """Send USDC without an order: the chain may take it back while it is not deep."""
        usdc = process.built.usdc
        assert usdc is not None
        gone_at = None
        if self._weather.strikes("chain: reorganised"):
            gone_at = self._clock.true + self._dice.random() * DEPTH
        self._weather.counts["buyer: sends USDC without an order"] += 1
        amount = self._dice.choice(DEPOSITS_MICROUSDC)
        self.chain.send(person.address, usdc.pay_to, amount, gone_at)

    async def buy(self, person: Person, process: Process) -> None:
        """POST /api/jobs with images, now and then a second time under the same name."""
        now = self._clock.true
        known = [each for each in person.bought if now < each.first_at + KEY_LIFE]
        if known and self._dice.random() < 0.2:
            wanted = self._dice.choice(known)
        else:
            costs = prices(self._dice)
            tag = f"{person.name}-b{len(person.bought)}"
            wanted = Wanted(tag, costs, self._key_id(person), now)
            person.bought.append(wanted)
            self._ordered(person, wanted, None)
        told = self.word(process, Topic.BATCH)
        wares = lines(wanted.tag, wanted.prices_microusd)
        order = Order(wares, f"account:{person.owner_id}", webhook=told)
        batch_id = await self._place(person, process, order, wanted)
        assert wanted.batch_id in ("", batch_id), "one key gave two batches"
        wanted.batch_id = batch_id

    async def cast(self, person: Person, process: Process) -> None:
        """POST /api/v1/spells/cast."""
        slugs = self.published()
        if not slugs:
            return
        spell = await process.house.spells.show(self._dice.choice(slugs), person.owner_id)
        tag = f"{person.name}-c{len(person.bought)}"
        costs = workbench.costs(spell.document, spell.author_id is not None)
        wanted = Wanted(tag, costs, self._key_id(person), self._clock.true)
        person.bought.append(wanted)
        self._ordered(person, wanted, spell.slug)
        # Under its name it is never sent again: that would be another spell's, once it has changed.
        wanted.first_at -= KEY_LIFE
        turn = f"account:{person.owner_id}"
        told = self.word(process, Topic.SPELL)
        order = process.house.spells.order(spell, {"tag": tag}, turn, None)
        order = replace(order, webhook=told)
        wanted.batch_id = await self._place(person, process, order, wanted)
        person.casts.append(wanted.batch_id)

    async def resume(self, person: Person, process: Process) -> None:
        """POST /api/v1/spells/casts/{id}/resume."""
        if not person.casts:
            return
        house = process.house
        row = await casts.get(house.db, self._dice.choice(person.casts))
        assert row is not None, "a cast that was paid for is gone"
        order = await house.spells.resumption(row, f"account:{person.owner_id}", None)
        if order is None:
            return
        self._weather.counts["buyer: resumes a cast"] += 1
        paying = Paying(person.owner_id, self._key_id(person, row.parameters["tag"]))
        try:
            await house.batches.place_for(paying, order, None)
        except Duplicate:  # at this moment, by another call of his
            self._weather.counts["buyer: resumes a cast twice"] += 1

    async def _place(self, person: Person, process: Process, order: Order, wanted: Wanted) -> str:
        name = _name(person, wanted.tag, wanted.tag)
        paying = Paying(person.owner_id, wanted.key)
        try:
            return await process.house.batches.place_for(paying, order, name)
        except Refusal as refusal:
            short = refusal.why in (Why.BALANCE_TOO_LOW, Why.BUDGET_TOO_LOW)
            self._weather.counts[f"buyer: an account is refused: {refusal.why.name}"] += short
            raise

    def _ordered(self, person: Person, wanted: Wanted, spell: str | None) -> None:
        links = () if wanted.key is None else (wanted.key,)
        self.wishes.orders[wanted.tag] = wishes.Order(
            None,
            None,
            links,
            wanted.prices_microusd,
            account_id=person.owner_id,
            spell=spell,
        )

    def _key_id(self, person: Person, tag: str | None = None) -> str | None:
        """Return by which key somebody pays, if by one; a cast goes on as it began."""
        if tag is not None:
            return next((each.key for each in person.bought if each.tag == tag), None)
        if not person.keys or self._dice.random() < 0.4:
            return None
        return self._dice.choice(sorted(person.keys))

    async def cancel(self, person: Person, process: Process) -> None:
        """Give a batch up, or a cast."""
        if not person.bought:
            return
        wanted = self._dice.choice(person.bought)
        if wanted.batch_id:
            self._weather.counts["buyer: gives a batch up"] += 1
            await process.house.batches.cancel(wanted.batch_id)

    async def publish(self, person: Person, process: Process) -> None:
        """POST /api/v1/spells: the first version, or the next one."""
        slug = f"spell-of-{person.name}"
        await process.house.spells.publish(workbench.spell(slug, self._dice), person.owner_id)
        person.spell = slug

    async def key(self, person: Person, process: Process) -> None:
        """POST and DELETE /api/v1/user/apikeys."""
        keys, dice = process.house.keys, self._dice
        if person.keys and dice.random() < 0.4:
            key_id = dice.choice(sorted(person.keys))
            if dice.random() < 0.5:
                assert await keys.rotate(person.owner_id, key_id) is not None
                return
            assert await keys.revoke(person.owner_id, key_id) in (True, False)
            del person.keys[key_id]
            return
        sats, microusdc = dice.choice(LIMITS_SATS), dice.choice(LIMITS_MICROUSDC)
        limits = Limits(None if sats is None else sats * 1_000, microusdc)
        name = f"{person.name}-k{len(self.wishes.keys)}"
        self.wishes.keys[name] = limits.msat, limits.microusdc
        made = await keys.make(person.owner_id, Prefix.SK, name, limits)
        person.keys[made.id] = made.key

    async def take_out(self, person: Person, process: Process) -> None:
        """POST /api/account/withdrawals: to a destination, to whoever asks, or to the wallet."""
        house, dice = process.house, self._dice
        await self.poll(person, process)
        self._weather.counts["buyer: takes money out"] += 1
        person.deposits += 1
        name, by = _name(person, f"w{person.deposits}", "withdrawal"), self._signed(person)

        async def proves(_: Withdrawal) -> SignedBy:
            return by

        usdc, msat = person.balances[Asset.MICROUSDC], person.balances[Asset.MSAT]
        if usdc >= 10_000 and dice.random() < 0.5:
            amount = MicroUsdc(dice.choice((10_000, usdc)))
            await house.accounts.withdraw_usdc(person.owner_id, amount, None, name, proves)
            return
        if msat < 1_000:
            return
        asked = Msat(dice.choice((1_000, msat // 1_000 * 1_000, msat // 2_000 * 1_000 or 1_000)))
        to = None
        if dice.random() < 0.5:
            to = house.refunds.destination_of(f"{person.name}@wallet.example.org")
        await house.accounts.withdraw(person.owner_id, asked, to, name, proves)


def _name(person: Person, key: str, body: str) -> Name:
    return Name(f"account:{person.owner_id}", key, _sha(body))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
