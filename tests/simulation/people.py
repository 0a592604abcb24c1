"""What must hold of people's accounts, their API keys and what they send: from money.md again.

balance = paid in + shares of what was cast of theirs - taken out - spent, in each asset, and never
negative; a key has spent what its account has spent by it, and no more than it may.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.chain import SimulatedChain
from tests.simulation.ledger import Ledger
from tests.simulation.rows import BATCH_FINAL, InUsdc, Lot, Owner, Row, hold
from tests.simulation.wishes import Wishes

ASSETS = ("msat", "microusdc")


@dataclass(eq=False)
class Patron(Owner):
    """One person's account, with what it pays for and what its keys may spend."""

    lots: dict[str, Lot] = field(default_factory=dict)
    keys: dict[str, Row] = field(default_factory=dict)
    deposits: dict[str, Row] = field(default_factory=dict)  # that it has, by their names
    shares: Counter[str] = field(default_factory=Counter)  # of casts of its spells, by asset
    usdc_attempts: dict[tuple[str, int], Row] = field(default_factory=dict)
    owned: dict[str, InUsdc] = field(default_factory=dict)  # that its wallet pays for, by orders

    what = "account"

    @property
    def earned_msat(self) -> int:
        """See Owner: what it bought in bitcoin, with what of that is its author's."""
        return sum(lot.earned_msat for lot in self.lots.values() if lot.asset == "msat")

    @property
    def claimable_msat(self) -> int:
        """See Owner: what is owed in USDC goes by itself."""
        rows = [row for row in self.payouts.values() if row["state"] == "owed"]
        return sum(int(row["amount"]) for row in rows if row["asset"] == "msat")

    def came(self, asset: str) -> int:
        """What was paid in."""
        if asset == "msat":
            return self.received_msat
        return sum(int(row["amount_microusdc"]) for row in self.deposits.values())

    def went(self, asset: str) -> int:
        """What was taken out; change is part of what was taken out before."""
        rows = [row for row in self.payouts.values() if row["reason"] != "change"]
        return sum(int(row["amount"]) for row in rows if row["asset"] == asset)

    def spent(self, asset: str, key_id: str | None = None) -> int:
        """What it has spent, by a key or at all: all of a batch's price while that is made."""
        return sum(
            spent_on(lot)
            for lot in self.lots.values()
            if lot.asset == asset and (key_id is None or key_id in (lot.row["budgets"] or ()))
        )

    @property
    def kept(self) -> int:
        """What came back in USDC of what its wallet has paid for, and was too little to be sent."""
        return sum(owner.kept for owner in self.owned.values())

    def balance(self, asset: str) -> int:
        """What it must have."""
        back = self.kept if asset == "microusdc" else 0
        came = self.came(asset) + self.shares[asset] + back
        return came - self.went(asset) - self.spent(asset)


def spent_on(lot: Lot) -> int:
    """Return what a batch takes from the account that pays for it."""
    over = lot.row["state"] in BATCH_FINAL
    return int(lot.earned_msat if over else lot.row["price_amount"])


def author_share(lot: Lot, item: Row) -> int:
    """Return how much of an item's share is its spell's author's."""
    pct = lot.row["author_pct"]
    return int(item["share_amount"] * pct // (100 + pct)) if lot.row["author_id"] else 0


class People:
    """Accounts, keys and transfers as they were witnessed."""

    def __init__(self, ledger: Ledger, wishes: Wishes, chain: SimulatedChain) -> None:
        self._ledger, self._wishes, self._chain = ledger, wishes, chain
        self.patrons: dict[str, Patron] = {}
        self.accounts: dict[str, Row] = {}
        self.keys: dict[str, Row] = {}
        self.names: dict[tuple[str, str], Row] = {}  # that open an account, by kind
        self.deposits: dict[str, Row] = {}
        self.seen: Counter[str] = Counter()
        self.arrived_microusdc = 0
        self.takers: dict[str, Callable[[Row | None, Row | None], str]] = {
            "user_account": self._account,
            "identity": self._identity,
            "api_key": self._key,
            "usdc_deposit": self._deposit,
        }

    # ------------------------------------------------------------------ what is witnessed

    def _account(self, was: Row | None, now: Row | None) -> str:
        row = now or was
        assert row is not None
        account_id = str(row["id"])
        if now is None:
            patron = self.patrons.pop(account_id)
            had = [patron.invoices, patron.payouts, patron.lots, patron.keys, patron.deposits]
            had += [patron.owned, patron.shares]
            hold(not any(had), 7, f"account {account_id} was forgotten")
            del self.accounts[account_id]
            self.seen["account forgotten"] += 1
            return account_id
        self.accounts[account_id] = now
        if was is None:
            self.seen["account opened"] += 1
            self.patrons[account_id] = Patron(now)
        return account_id

    def _identity(self, was: Row | None, now: Row | None) -> str:
        row = now or was
        assert row is not None
        if now is None:
            del self.names[row["kind"], row["name"]]
            return str(row["account_id"])
        kept = was is None or was["account_id"] == now["account_id"]
        hold(kept, 4, f"{now['name']} opened {was}, and opens {now}")
        self.names[now["kind"], now["name"]] = now
        return str(now["account_id"])

    def _whose(self, address: str) -> str | None:
        name = self.names.get(("evm", address))
        return None if name is None else str(name["account_id"])

    def _key(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 7, f"the key {was} was deleted")
        assert now is not None
        self.keys[now["id"]] = now
        self.patrons[now["account_id"]].keys[now["id"]] = now
        limits = now["limit_msat"], now["limit_microusdc"]
        wanted = self._wishes.keys.get(now["name"])
        hold(limits == wanted, 2, f"the key {now['name']} may spend {limits}, not {wanted}")
        if was is None:
            self.seen["key made"] += 1
        elif was["revoked_at"] is not None:
            kept = {name: now[name] for name in now if not name.startswith("spent")}
            hold(kept.items() <= was.items(), 6, f"the key {now['name']} was revoked, and is {now}")
        elif now["revoked_at"] is not None:
            self.seen["key revoked"] += 1
        return str(now["account_id"])

    def _deposit(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 7, f"the deposit {was} was deleted")
        assert now is not None
        self.deposits[now["id"]] = now
        name, before = f"deposit {now['id']}", was["state"] if was else None
        if was is None:
            twice = [row["id"] for row in self.deposits.values() if row["txid"] == now["txid"]]
            hold(twice == [now["id"]], 5, f"{name} was sent once, and is {twice}")
            sent = self._chain.sent.get(now["txid"])
            hold(sent is not None and sent.gone_at is None, 4, f"{name}, and nobody has sent it")
            assert sent is not None
            right = sent.payer, sent.amount_microusdc
            told = now["payer"], now["amount_microusdc"]
            hold(right == told, 5, f"{name} is {told}, and sent were {right}")
            self.arrived_microusdc += now["amount_microusdc"]
            self.seen[f"deposit {now['state']}"] += 1
        elif before != now["state"]:
            hold((before, now["state"]) == ("unclaimed", "credited"), 6, f"{name} was {before}")
            self.seen["deposit claimed"] += 1
        if now["account_id"] is None:
            return ""
        patron = self.patrons[now["account_id"]]
        patron.deposits[now["id"]] = now
        whose = self._whose(now["payer"])
        hold(whose == now["account_id"], 4, f"{name} is {now['account_id']}'s, and not {whose}'s")
        return str(now["account_id"])

    def owns(self, owner: InUsdc) -> None:
        """Take in a job or a batch that was ordered by a wallet, whose account it is."""
        if owner.row["account_id"]:
            self.patrons[owner.row["account_id"]].owned[owner.row["id"]] = owner

    def left(self, owner: InUsdc) -> None:
        """Take in that it was purged."""
        if owner.row["account_id"]:
            self.patrons[owner.row["account_id"]].owned.pop(owner.row["id"], None)

    def begun(self, lot: Lot) -> None:
        """Take in a batch: one that an account pays for may be paid by a key of it."""
        if lot.row["funding"] == "x402":
            self.owns(lot)
        if lot.row["funding"] == "account":
            self.patrons[lot.row["account_id"]].lots[lot.row["id"]] = lot
            for key_id in lot.row["budgets"] or ():
                key = self.keys[key_id]
                right = key["revoked_at"] is None and key["account_id"] == lot.row["account_id"]
                hold(right, 2, f"batch {lot.row['id']} is paid by the key {key}")

    def delivered(self, lot: Lot, item: Row) -> None:
        """Take in that an item was made: its author has a share of it at once."""
        share = author_share(lot, item)
        if share:
            self.patrons[lot.row["author_id"]].shares[lot.asset] += share
            self.seen[f"author's share in {lot.asset}"] += share

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check what nobody has claimed."""
        rows = [row for row in self.deposits.values() if row["state"] == "unclaimed"]
        unclaimed = sum(row["amount_microusdc"] for row in rows)
        self._ledger.holds("unclaimed", unclaimed, "microusdc")

    def check_patron(self, patron: Patron) -> None:
        """Check one account: what it has, and what its keys have spent."""
        account_id = patron.row["id"]
        for asset in ASSETS:
            balance = patron.balance(asset)
            hold(balance >= 0, 2, f"account {account_id} is overdrawn by {-balance} {asset}")
            self._ledger.holds(f"user:{account_id}", balance, asset)
        for key in patron.keys.values():
            limits = key["limit_msat"], key["limit_microusdc"]
            for asset, limit in zip(ASSETS, limits, strict=True):
                spent, told = patron.spent(asset, key["id"]), key[f"spent_{asset}"]
                name = f"the key {key['name']}"
                hold(spent == told, 2, f"{name} has spent {spent} {asset}, and says {told}")
                most = 0 if limit is None and limits != (None, None) else limit
                hold(most is None or spent <= most, 2, f"{name} has spent {spent} of {most}")

    def settle(self, patron: Patron, moved: int, sums: dict[str, int]) -> None:
        """Check, in calm weather, where the USDC of an account went; `moved` was sent to it."""
        account_id, asset = patron.row["id"], "microusdc"
        sent = [
            one
            for one in self._chain.sent.values()
            if self._whose(one.payer) == account_id and not one.is_gone
        ]
        came = sum(one.amount_microusdc for one in sent)
        told, at_rest = patron.came(asset), patron.balance(asset)
        hold(came == told, 7, f"{came} were sent to account {account_id}, and it was given {told}")
        owed = {row["id"] for row in patron.payouts.values() if row["state"] != "paid"}
        open_ = [name for name in owed if patron.payouts[name]["asset"] == asset]
        hold(not open_, 7, f"{open_} are owed in USDC for ever")
        earned = patron.spent(asset) - patron.shares[asset] - patron.kept
        hold(came == earned + moved + at_rest, 7, f"{came} came to account {account_id} in USDC")
        earned += patron.kept  # which was paid for what it came back from
        for what, amount in (("paid", came), ("earned", earned), ("refunded", moved)):
            sums[f"microUSDC {what}"] += amount
        sums["microUSDC claimable"] += at_rest

    def unbooked(self) -> int:
        """Return what was sent to the house and is not in the books yet."""
        known = {row["txid"] for row in self.deposits.values()}
        sent = [each for txid, each in self._chain.sent.items() if txid not in known]
        return sum(each.amount_microusdc for each in sent if not each.is_gone)
