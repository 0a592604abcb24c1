"""What this buyer pays, and the one place that decides whether it may: each payment is asked for
here right before it is made, and written down under its hash.

With a file, which has a lock, several runs at once share one budget of the day, and the limit of a
purchase holds across runs. Without one the same is decided in memory, for as long as that lasts.
"""

import contextlib
import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from payments.bolt11 import whole_sats

KEPT_DAYS = 3  # no invoice lives longer
MOST_SATS = 10_000  # for one purchase, unless the buyer says otherwise


class Unkept(Exception):
    """The file can't be written or read, so what was spent is unknown. Says how to fix it."""


class Purpose(StrEnum):
    """What a payment is for. In one purchase each is paid once."""

    EVALUATION = "evaluation"
    WORK = "work"
    BOTH = "evaluation and work"
    DEPOSIT = "deposit"
    TOP_UP = "top-up"
    BATCH = "batch"
    RUN = "run"
    CAST = "cast"
    REQUEST = "request"  # of a session, which pays it from its balance

    def covers(self, other: "Purpose") -> bool:
        """Return whether a payment for this also pays for the other."""
        parts = (Purpose.EVALUATION, Purpose.WORK, Purpose.BOTH)
        return self is other or (Purpose.BOTH in (self, other) and {self, other} <= set(parts))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payment that is about to be made, as part of a purchase that may cost so much in all."""

    purchase: str  # its id: a job's, a session's
    purpose: Purpose
    limit_sats: int


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment as it is written down: what it was for, its price, and what it took in all."""

    day: str
    spent_sats: int  # the price, and the fee on the way
    purchase: str = ""
    purpose: str = ""
    price_sats: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """The payment is counted, and may be made."""


@dataclass(frozen=True, slots=True)
class Before:
    """This very payment was begun before: look it up. `against` says why not to send it again."""

    against: "Beyond | None" = None


@dataclass(frozen=True, slots=True)
class Over:
    """It would be more than the budget of the day. Nothing was counted."""

    spent_sats: int
    limit_sats: int

    @property
    def sentence(self) -> str:
        """What a person reads."""
        left_sats = max(self.limit_sats - self.spent_sats, 0)
        return (
            f"It is more than is left of the budget of {self.limit_sats} sats a day:"
            f" {whole_sats(left_sats)}. The day ends at midnight UTC."
        )


@dataclass(frozen=True, slots=True)
class Beyond:
    """It would be more than the limit of the whole purchase. Nothing was counted."""

    paid_sats: int
    amount_sats: int
    limit_sats: int

    @property
    def sentence(self) -> str:
        """What a person reads."""
        before = f" after {whole_sats(self.paid_sats)} already paid" if self.paid_sats else ""
        return (
            f"The server asks for {whole_sats(self.amount_sats)}{before}: more than your limit of"
            f" {self.limit_sats} (--max-sats)."
        )


@dataclass(frozen=True, slots=True)
class Again:
    """The server asks a second time for what was paid. Nothing was counted."""

    purpose: Purpose
    paid_sats: int

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return (
            f"The server asks a second time for the {self.purpose}: the payment of"
            f" {whole_sats(self.paid_sats)} for it is known."
        )


Verdict = Counted | Before | Over | Beyond | Again


def default_path() -> Path:
    """Return where the file is, as the XDG Base Directory Specification has it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        root = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    except RuntimeError as error:  # a user without an entry in /etc/passwd, and no HOME
        raise Unkept(
            "What is spent can't be kept, since this user has no home: set XDG_STATE_HOME to a"
            " folder of yours."
        ) from error
    return root / "boltwork" / "spending.json"


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


class Payments:
    """What was paid, in memory. `limit_sats` is the budget of one day (UTC); None: no budget."""

    def __init__(
        self, limit_sats: int | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.limit_sats, self._now = limit_sats, now
        self._kept: dict[str, Paid] = {}
        self._one_at_a_time = threading.Lock()

    def spent_sats(self) -> int:
        """Return what was spent today."""
        with self._opened() as payments:
            return self._today(payments)

    def would_be_over(self, amount_sats: int) -> Over | None:
        """Say whether this much more would be too much, without counting it."""
        spent_sats = self.spent_sats() if self.limit_sats is not None else 0
        return self._over(spent_sats, amount_sats)

    def begin(self, name: str, amount_sats: int, wanted: Wanted) -> Verdict:
        """Decide on a payment that is about to be made, and count it, by its hash."""
        with self._opened() as payments:
            others = {key: paid for key, paid in payments.items() if key != name}
            of_it = [paid for paid in others.values() if paid.purchase == wanted.purchase]
            for paid in of_it:
                if wanted.purpose.covers(Purpose(paid.purpose)):
                    return Again(wanted.purpose, paid.price_sats)
            paid_sats = sum(paid.price_sats for paid in of_it)
            beyond = None
            if paid_sats + amount_sats > wanted.limit_sats:
                beyond = Beyond(paid_sats, amount_sats, wanted.limit_sats)
            known = payments.get(name)
            if known is not None:
                same = (wanted.purchase, wanted.purpose, amount_sats)
                written = (known.purchase, known.purpose, known.price_sats)
                if not known.purchase:  # an earlier version wrote it, and its fee with it
                    written = same if known.spent_sats >= amount_sats else written
                return Before(beyond) if written == same else Again(wanted.purpose, written[2])
            if beyond is not None:
                return beyond
            over = self._over(self._today(payments), amount_sats)
            if over is not None:
                return over
            payments[name] = Paid(
                self._day(), amount_sats, wanted.purchase, wanted.purpose.value, amount_sats
            )
            return Counted()

    def of(self, purchase: str) -> dict[str, int]:
        """Return what was paid for each purpose of a purchase, in sats and without fees."""
        with self._opened() as payments:
            return {
                paid.purpose: paid.price_sats
                for paid in payments.values()
                if purchase and paid.purchase == purchase
            }

    def correct(self, name: str, spent_sats: int) -> None:
        """Count a payment as this much after all."""
        with self._opened() as payments:
            if name in payments:
                payments[name] = replace(payments[name], spent_sats=spent_sats)

    def forget(self, name: str) -> None:
        """Take a payment off the budget: it is certain that nothing was sent."""
        with self._opened() as payments:
            payments.pop(name, None)

    # ------------------------------------------------------------------ within

    def _day(self) -> str:
        return self._now().astimezone(UTC).date().isoformat()

    def _today(self, payments: dict[str, Paid]) -> int:
        return sum(paid.spent_sats for paid in payments.values() if paid.day == self._day())

    def _over(self, spent_sats: int, amount_sats: int) -> Over | None:
        if self.limit_sats is None or spent_sats + amount_sats <= self.limit_sats:
            return None
        return Over(spent_sats, self.limit_sats)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, Paid]]:
        """Yield the payments, while no other run can change them."""
        with self._one_at_a_time:
            yield self._kept


class Spending(Payments):
    """What was paid, in the file that all runs share."""

    def __init__(
        self,
        path: Path | None = None,
        limit_sats: int | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(limit_sats, now)
        self.path = path or default_path()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, Paid]]:
        """Hold the lock; yield the payments, and write down what became of them."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                payments = self._read()
                before = dict(payments)
                yield payments
                if payments != before:
                    self._write(payments)
        except OSError as error:
            raise Unkept(
                f"What is spent can't be kept in {self.path} ({error.strerror}): set"
                " XDG_STATE_HOME to a folder of yours."
            ) from error

    def _read(self) -> dict[str, Paid]:
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return {}
        try:
            kept = {
                str(name): _paid(*written) for name, written in json.loads(text)["payments"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as broken:
            raise Unkept(
                f"{self.path} can't be read, so nobody knows what was spent: move it away to begin"
                " anew."
            ) from broken
        oldest = (self._now().astimezone(UTC) - timedelta(days=KEPT_DAYS)).date().isoformat()
        return {name: paid for name, paid in kept.items() if paid.day >= oldest}

    def _write(self, payments: dict[str, Paid]) -> None:
        number, draft = tempfile.mkstemp(dir=self.path.parent, prefix=".spending-")
        try:
            with open(number, "w") as file:
                written = {name: astuple(paid) for name, paid in payments.items()}
                json.dump({"payments": written}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            raise


def _paid(day: str, spent_sats: int, purchase: str = "", purpose: str = "", price: int = 0) -> Paid:
    """Return a payment as it was written, now or by an earlier version: its day and its sats."""
    if purpose:
        Purpose(purpose)
    return Paid(str(day), _whole(spent_sats), str(purchase), str(purpose), _whole(price))


def _whole(sats: object) -> int:
    if type(sats) is not int or sats < 0:
        raise ValueError("sats")
    return sats
