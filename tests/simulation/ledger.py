"""The books as they were witnessed: what each account keeps, and what its postings add up to."""

from collections import Counter, defaultdict

from tests.simulation.rows import Row, hold

MSAT = "msat"


def named(account: str, asset: str) -> str:
    """Return the name of an account here: each asset has its own."""
    return account if asset == MSAT else f"{account} in {asset}"


class Ledger:
    """Every account, entry and posting, as they came."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = defaultdict(int)  # balances as their rows have them
        self.posted: dict[str, int] = defaultdict(int)  # what the postings add up to
        self.kinds: dict[str, str] = {}
        self.entries: dict[int, str] = {}
        self.credited: Counter[str] = Counter()  # entries by payment_hash of an invoice
        self._assets: dict[int, str] = {}  # by entry
        self._new: list[Row] = []  # postings, whose entry may be witnessed after them
        self._open_entries: dict[int, int] = defaultdict(int)

    def account(self, was: Row | None, now: Row | None) -> None:
        """Take in a change of an account's row, or of a part of it, which has no kind."""
        assert now is not None
        name, kind = named(now["name"], now["asset"]), now.get("kind")
        hold(kind != "liability" or now["balance"] >= 0, 2, f"{name} is negative")
        self.kept[name] += now["balance"] - (was["balance"] if was else 0)
        if kind is not None:
            self.kinds[name] = kind

    def entry(self, was: Row | None, now: Row | None) -> None:
        """Take in an entry."""
        hold(was is None and now is not None, 1, "an entry was changed")
        assert now is not None
        self._assets[now["id"]] = now["asset"]
        self.entries[now["id"]] = now["key"]
        first, _, rest = now["key"].partition(":")
        if first == "invoice":
            self.credited[rest.removesuffix(":settled")] += 1

    def posting(self, was: Row | None, now: Row | None) -> str:
        """Take in a posting; return whose account it is on."""
        hold(was is None and now is not None, 1, "a posting was changed")
        assert now is not None
        self._new.append(now)
        self._open_entries[now["entry_id"]] += now["amount"]
        return str(now["account"]).partition(":")[2].partition(":")[0]

    def check(self) -> None:
        """Check that what was posted since the last time is balanced."""
        for entry_id, total in self._open_entries.items():
            hold(total == 0, 1, f"the entry {self.entries[entry_id]} is off by {total}")
        self._open_entries.clear()
        for row in self._new:
            self.posted[named(row["account"], self._assets[row["entry_id"]])] += row["amount"]
        self._new.clear()

    def holds(self, account: str, wanted: int, asset: str = MSAT) -> None:
        """Check that an account has just this, in its row and by its postings."""
        account = named(account, asset)
        sign = 1 if self.kinds.get(account) in ("asset", "expense") else -1
        kept, posted = self.kept[account], sign * self.posted[account]
        hold(kept == posted, 1, f"{account}: kept {kept}, and its postings give {posted}")
        hold(kept == wanted, 3, f"{account} has {kept}, and should have {wanted}")
