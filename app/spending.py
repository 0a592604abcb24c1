"""What this buyer has spent, in a small file with a lock: the budget of a day, and each payment.

A payment is written down before it is made, under its hash. So several runs at once share one
budget, and whoever finds a hash here looks that payment up in place of sending it.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEPT_DAYS = 3  # no invoice lives longer
MOST_SATS = 10_000  # for one purchase, unless the buyer says otherwise


class Unkept(Exception):
    """The file can't be kept, or read: nobody knows what was spent. Names the mend."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The payment is counted, and may be made."""


@dataclass(frozen=True, slots=True)
class Before:
    """This very payment was begun before: look it up."""


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
            f"It is more than is left of the budget of {self.limit_sats} sats a day: {left_sats}."
            " The day ends at midnight UTC."
        )


def default_path() -> Path:
    """Return where the file is, as the XDG Base Directory Specification has it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    root = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return root / "boltwork" / "spending.json"


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


class Spending:
    """The file. `limit_sats` is the budget of one day (UTC); None: there is none."""

    def __init__(
        self,
        path: Path | None = None,
        limit_sats: int | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.path = path or default_path()
        self.limit_sats, self._now = limit_sats, now

    def spent_sats(self) -> int:
        """Return what was spent today."""
        with self._opened() as payments:
            return self._today(payments)

    def would_be_over(self, amount_sats: int) -> Over | None:
        """Say whether this much more would be too much, without counting it."""
        spent_sats = self.spent_sats() if self.limit_sats is not None else 0
        return self._over(spent_sats, amount_sats)

    def begin(self, name: str, amount_sats: int) -> Counted | Before | Over:
        """Count a payment that is about to be made, by its hash."""
        with self._opened() as payments:
            if name in payments:
                return Before()
            over = self._over(self._today(payments), amount_sats)
            if over is not None:
                return over
            payments[name] = (self._day(), amount_sats)
            return Counted()

    def correct(self, name: str, amount_sats: int) -> None:
        """Count a payment as this much after all."""
        with self._opened() as payments:
            if name in payments:
                payments[name] = (payments[name][0], amount_sats)

    def forget(self, name: str) -> None:
        """Count a payment no more: it is certain that nothing was sent."""
        with self._opened() as payments:
            payments.pop(name, None)

    # ------------------------------------------------------------------ within

    def _day(self) -> str:
        return self._now().astimezone(UTC).date().isoformat()

    def _today(self, payments: dict[str, tuple[str, int]]) -> int:
        return sum(sats for day, sats in payments.values() if day == self._day())

    def _over(self, spent_sats: int, amount_sats: int) -> Over | None:
        if self.limit_sats is None or spent_sats + amount_sats <= self.limit_sats:
            return None
        return Over(spent_sats, self.limit_sats)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[dict[str, tuple[str, int]]]:
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

    def _read(self) -> dict[str, tuple[str, int]]:
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return {}
        try:
            kept = {
                str(name): (str(day), _whole(sats))
                for name, [day, sats] in json.loads(text)["payments"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as broken:
            raise Unkept(
                f"{self.path} can't be read, so nobody knows what was spent: move it away to begin"
                " anew."
            ) from broken
        oldest = (self._now().astimezone(UTC) - timedelta(days=KEPT_DAYS)).date().isoformat()
        return {name: at for name, at in kept.items() if at[0] >= oldest}

    def _write(self, payments: dict[str, tuple[str, int]]) -> None:
        number, draft = tempfile.mkstemp(dir=self.path.parent, prefix=".spending-")
        try:
            with open(number, "w") as file:
                json.dump({"payments": payments}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            raise


def _whole(sats: object) -> int:
    if type(sats) is not int or sats < 0:
        raise ValueError("sats")
    return sats
