"""What must hold of sessions, of what is held, and of what is given away: from money.md again.

balance = paid in - charged - set aside - owed back, and never negative; what is over holds nothing.
"""

from collections import Counter
from datetime import timedelta

from tests.simulation.clock import Clock
from tests.simulation.ledger import Ledger
from tests.simulation.rows import HOLD_ARCS, SESSION_ARCS, Deal, Purse, Row, hold, in_use_msat
from tests.simulation.wishes import Wishes

MINIMUM_MSAT = 100_000  # the least balance, below which a session pauses: the least deposit too
FREE_MSAT_A_DAY = 300_000
ROUTING_MSAT_A_DAY = 200_000
IDLE = timedelta(hours=24)
# The server's clock may be an hour off at both ends, and its process may have stood still.
AT_LEAST_IDLE = IDLE - timedelta(hours=6)


class Prepaid:
    """Sessions and holds as they were witnessed."""

    def __init__(self, ledger: Ledger, wishes: Wishes, clock: Clock) -> None:
        self._ledger, self._wishes, self._clock = ledger, wishes, clock
        self.purses: dict[str, Purse] = {}
        self.failed_msat = 0  # what jobs that failed and calls that broke have cost the house
        self.free_holds: dict[str, Row] = {}
        self.free_days: dict[str, Row] = {}
        self.seen: Counter[str] = Counter()  # what has become of sessions, for a report
        self._given: Counter[str] = Counter()  # what the holds of a day take from it
        self.given_msat = self.given_income_msat = 0
        self.income_msat = 0  # by holds on sessions
        self._changed: list[Row] = []
        self._begun: list[Deal] = []

    # ------------------------------------------------------------------ what is witnessed

    def session(self, was: Row | None, now: Row) -> str:
        """Take in a change of a session; return its id."""
        if was is None:
            self.purses[now["id"]] = Purse(now)
        purse = self.purses[now["id"]]
        purse.row = now
        before = was["state"] if was else None
        more = was is not None and now["reserved_msat"] > was["reserved_msat"]
        if more or now["expires_at"] != (was or now)["expires_at"]:
            purse.used_at = self._clock.true
        if before == now["state"]:
            return str(now["id"])
        name = f"session {now['id']}: {before} → {now['state']}"
        hold((before, now["state"]) in SESSION_ARCS, 6, name)
        self.seen[f"{before or 'asked for'} → {now['state']}"] += 1
        if now["state"] == "expired" and before != "awaiting_payment":
            self._check_end(purse, name)
        return str(now["id"])

    def _check_end(self, purse: Purse, name: str) -> None:
        if purse.row["id"] in self._wishes.closed:
            self.seen["ended with requests under way"] += purse.row["reserved_msat"] > 0
            return
        self.seen["left alone"] += 1
        assert purse.used_at is not None
        idle = self._clock.true - purse.used_at
        hold(idle >= AT_LEAST_IDLE, 6, f"{name} after {idle}, and nobody wanted it closed")

    def hold(self, was: Row | None, now: Row | None) -> str | None:
        """Take in a change of a hold; return the id of its session."""
        hold(now is not None, 7, f"the hold {was and was['id']} was deleted")
        assert now is not None
        before = was["state"] if was else None
        name = f"hold {now['id']}: {before} → {now['state']}"
        hold((before, now["state"]) in HOLD_ARCS, 6, name)
        said = self._wishes.costs[now["id"]]
        charge_msat = now["charge_msat"]
        hold(charge_msat <= now["amount_msat"], 2, f"{name} for {charge_msat}, over its ceiling")
        hold(charge_msat == 0 or charge_msat in said, 6, f"{name} for {charge_msat}, not {said}")
        hold((now["state"] == "charged") == (charge_msat > 0), 6, f"{name} for {charge_msat}")
        lost_msat = now["spent_msat"]
        broke = now["state"] == "dropped" and now["session_id"] is not None and lost_msat in said
        hold(lost_msat == 0 or broke, 6, f"{name}, and the house has lost {lost_msat}, not {said}")
        if now["session_id"] is None:
            self.free_holds[now["id"]] = now
            more = in_use_msat(now) - (in_use_msat(was) if was else 0)
            self._given[now["day"]] += more
            self.given_msat += more
            self.given_income_msat += charge_msat
        else:
            self.purses[now["session_id"]].holds[now["id"]] = now
            self.income_msat += charge_msat
            self.failed_msat += lost_msat
        self.seen[f"hold {now['state']}"] += 1
        self._changed.append(now)
        session_id: str | None = now["session_id"]
        return session_id

    def allowance(self, now: Row | None) -> str:
        """Take in what was spent on the word of a credential; return the id of its session."""
        hold(now is not None, 7, "an allowance was deleted")
        assert now is not None
        limit = self._wishes.limits.get(now["link"])
        hold(limit == now["limit_msat"], 2, f"{now['link']} may spend {limit}, not {now}")
        self.purses[now["session_id"]].allowances[now["link"]] = now
        return str(now["session_id"])

    def free_day(self, now: Row | None) -> None:
        """Take in what was given away on a day."""
        hold(now is not None, 7, "a day was forgotten")
        assert now is not None
        hold(now["used_msat"] <= FREE_MSAT_A_DAY, 2, f"more was given away than may be: {now}")
        hold(now["routing_msat"] <= ROUTING_MSAT_A_DAY, 2, f"too much routing was given: {now}")
        self.free_days[now["day"]] = now

    def request(self, deal: Deal, was: Row | None) -> str:
        """Take in a change of a job that a session pays for; return the id of its session."""
        job, wish = deal.row, self._wishes.requests.get(deal.row["request"])
        session_id = str(job["session_id"])
        if was is None:
            hold(wish is not None, 4, f"nobody asked for the request {job['id']}")
            assert wish is not None
            others = [d for d in self.purses[session_id].requests.values() if _same(d, deal)]
            hold(not others, 5, f"the request {job['id']} was made twice")
            hold(wish.session_id == session_id, 4, f"{job['id']} is paid for by another session")
            most = wish.most_msat
            right = most is None or deal.prepaid_msat <= most
            hold(right, 6, f"the request {job['id']} may cost {deal.prepaid_msat}, not {most}")
            self._begun.append(deal)
            self.purses[session_id].requests[job["id"]] = deal
            self.seen["request"] += 1
        return session_id

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check what the house gives away, and what changed of what is held."""
        for row in self._changed:
            held = self.purses[row["session_id"]].holds if row["session_id"] else self.free_holds
            state, amount_msat = held[row["id"]]["state"], row["amount_msat"]
            self._ledger.holds(f"hold:{row['id']}", amount_msat if state == "held" else 0)
        self._changed.clear()
        for deal in self._begun:  # its row is written in two steps
            budgets, links = deal.row["budgets"], self._wishes.requests[deal.row["request"]].links
            hold(set(budgets or ()) == set(links), 2, f"{deal.row['id']} spends {budgets}")
        self._begun.clear()
        self._ledger.holds("expense:free", self.given_msat)
        self._ledger.holds("revenue:free", self.given_income_msat + self.failed_msat)
        for day, row in self.free_days.items():
            given = self._given[day]
            hold(
                row["used_msat"] == given, 2, f"{given} were given away on {day}, and it says {row}"
            )

    def check_purse(self, purse: Purse) -> None:
        """Check one session."""
        row, balance_msat = purse.row, purse.balance_msat
        name, reserved_msat = f"session {row['id']} ({row['state']})", purse.reserved_msat
        hold(balance_msat >= 0, 2, f"{name} is overdrawn by {-balance_msat}")
        hold(
            row["reserved_msat"] == reserved_msat,
            2,
            f"{name} has set {row['reserved_msat']} aside, and {reserved_msat} are in use",
        )
        self._ledger.holds(f"session:{row['id']}", balance_msat)
        is_open = row["state"] in ("active", "paused")
        # What comes back after the end waits for the last request, to go as one sum.
        may_hold = is_open or reserved_msat > 0
        hold(may_hold or balance_msat == 0, 7, f"{name} has {balance_msat} left")
        if is_open:
            low = balance_msat + reserved_msat < MINIMUM_MSAT
            hold(low == (row["state"] == "paused"), 6, f"{name} has {balance_msat} left")
        deposit = purse.invoices.get(f"{row['id']}:deposit")
        paid = deposit is not None and deposit["state"] == "settled"
        hold(paid or not is_open, 4, f"{name} was never paid for")
        hold(
            not (paid and row["state"] == "awaiting_payment"), 4, f"{name} waits for what was paid"
        )
        asked = [i for i in purse.invoices.values() if i["state"] in ("wanted", "open")]
        hold(len(asked) <= 1, 6, f"{name} asks for {len(asked)} payments at once")
        for link in sorted(purse.links):
            used, limit = purse.used_msat(link), self._wishes.limits[link]
            told = purse.allowances.get(link, {"used_msat": 0})["used_msat"]
            hold(used == told, 2, f"{name}: {link} has used {used}, and its row says {told}")
            hold(used <= limit, 2, f"{name}: {link} has used {used} of {limit}")


def _same(one: Deal, other: Deal) -> bool:
    return bool(one.row["request"] == other.row["request"])
