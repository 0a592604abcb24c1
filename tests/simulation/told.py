"""What must hold of notices: each event is told once to whoever asked, until his server has it.

A notice is delivered only where its receiver truly said so, and given up only by the book.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from tests.simulation.receivers import SimulatedReceivers
from tests.simulation.rows import BATCH_FINAL, FINAL, Deal, Lot, Owner, Row, hold, owner_id_of

PAUSES_S = (0, 1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 37_044)
ARCS = {
    (None, "wanted"),
    ("wanted", "delivered"),
    ("wanted", "given_up"),
    ("delivered", "wanted"),
    ("given_up", "wanted"),
}
GONE = 410


class Told:
    """Webhooks, notices and tries as they were witnessed."""

    def __init__(
        self,
        receivers: SimulatedReceivers,
        owner: Callable[[str], Owner | None],
        staged: Mapping[str, int],
        lost: set[str],
    ) -> None:
        self._receivers, self._owner, self._staged, self._lost = receivers, owner, staged, lost
        self.webhooks: dict[str, Row] = {}
        self.notices: dict[str, Row] = {}
        self.tries: dict[tuple[str, int], Row] = {}
        self.seen: Counter[str] = Counter()
        self._new: list[Row] = []
        self._of_owner: dict[str, Row] = {}
        self._events: dict[str, Counter[str]] = {}  # by webhook
        self.takers: dict[str, Callable[[Row | None, Row | None], str]] = {
            "webhook": self._webhook,
            "notice": self._notice,
            "notice_try": self._try,
        }

    # ------------------------------------------------------------------ what is witnessed

    def _webhook(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 8, f"the webhook {was} was purged, and is not that old")
        assert now is not None
        self.webhooks[now["id"]] = self._of_owner[owner_id_of(now)] = now
        self._events.setdefault(now["id"], Counter())
        return owner_id_of(now)

    def _notice(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 8, f"the notice {was} was purged, and is not that old")
        assert now is not None
        self.notices[now["id"]] = now
        webhook, before = self.webhooks[now["webhook_id"]], was["state"] if was else None
        name = f"notice {now['id']} of {now['event']}: {before} → {now['state']}"
        if was is None:
            self._events[webhook["id"]][now["event"]] += 1
            again = self._events[webhook["id"]][now["event"]] > 1
            hold(not again or webhook["session_id"], 5, f"{name}, and that was told before")
            self._new.append(now)
            self.seen["notice wanted"] += 1
            return owner_id_of(webhook)
        hold(was["body"] in (None, now["body"]), 6, f"{name}, and says something else")
        hold(before == now["state"] or (before, now["state"]) in ARCS, 6, name)
        hold(now["tries"] - was["tries"] in (0, 1), 6, f"{name} after {now['tries']} tries")
        if before != now["state"]:
            self.seen[f"notice {now['state']}"] += 1
        answered = self._receivers.answered[now["id"]].values()
        statuses = {status for each in answered for status in each}
        if now["state"] == "delivered" != before:
            hold(204 in statuses, 6, f"{name}, and its receiver has said {statuses}")
        if now["state"] == "given_up" != before:
            by_the_book = GONE in statuses or now["misses"] == len(PAUSES_S)
            hold(by_the_book, 8, f"{name} after {now['misses']} misses and {statuses}")
        return owner_id_of(webhook)

    def _try(self, was: Row | None, now: Row | None) -> str:
        hold(was is None and now is not None, 6, f"the try {was} was changed")
        assert now is not None
        notice_id, number = now["notice_id"], now["number"]
        self.tries[notice_id, number] = now
        said = self._receivers.answered[notice_id][number]
        name = f"try {number} of the notice {notice_id}"
        hold(now["status"] in said, 6, f"{name} counts as {now['status']}, and was {said}")
        before = self.tries.get((notice_id, number - 1))
        hold(number == 1 or before is not None, 6, f"{name}, and there is none before it")
        return ""

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check what is new, and that every receiver who is owed something is served."""
        for row in self._new:
            owner = self._owner(owner_id_of(self.webhooks[row["webhook_id"]]))
            hold(owner is not None, 6, f"{row['event']} is told of nothing that there is")
            assert owner is not None
            right = _now(owner)
            hold(row["event"].partition(".")[2] in right, 6, f"{row['event']} of what is {right}")
        self._new.clear()
        owed = {row["receiver"] for row in self.notices.values() if row["state"] == "wanted"}
        for receiver in sorted(owed):
            name = f"{receiver}:notify"
            hold(self._staged[name] or name in self._lost, 8, f"nobody will tell {receiver}")

    def check_owner(self, owner: Owner) -> None:
        """Check that whoever asked for it is told of the end of a job or a batch."""
        webhook = self._of_owner.get(owner.row["id"])
        if webhook is None or not _has_ended(owner):
            return
        told = {name.partition(".")[2] for name in self._events[webhook["id"]]}
        name = f"{owner.what} {owner.row['id']} ({owner.row['state']})"
        hold(told & _now(owner), 8, f"{name} has ended, and told are {told}")

    def recount(self) -> None:
        """Check that each receiver was sent the same bytes each time, and those that are kept."""
        for notice in self.notices.values():
            bodies = {body.decode() for body in self._receivers.came[notice["id"]]}
            hold(bodies <= {notice["body"]}, 6, f"the notice {notice['id']} was sent as {bodies}")
            rows = [row for (of, _), row in self.tries.items() if of == notice["id"]]
            hold(len(rows) == notice["tries"], 6, f"{notice['id']} was tried {len(rows)} times")

    def settle(self) -> None:
        """Check, in calm weather, that all was delivered or given up."""
        left = [row["id"] for row in self.notices.values() if row["state"] == "wanted"]
        hold(not left, 8, f"the notices {left} are wanted for ever")


def _now(owner: Owner) -> set[str]:
    """Return what can be told of something as it stands: a cast has two ends, others their own."""
    row = owner.row
    if isinstance(owner, Lot) and row["cast_id"] is not None:
        return {"completed" if row["delivered"] == row["items"] else "failed"}
    return {row["state"]}


def _has_ended(owner: Owner) -> bool:
    if isinstance(owner, Deal):
        paid = owner.received_msat or owner.row["session_id"]
        return bool(owner.row["state"] in FINAL and owner.fee_earned and paid)
    if isinstance(owner, Lot):
        paid = owner.row["funding"] in ("session", "account") or owner.earned_msat
        return bool(owner.row["state"] in BATCH_FINAL and paid)
    return False
