"""Two clocks: the true one, by which the world goes, and the server's, which may be set wrong."""

from datetime import UTC, datetime, timedelta

# Later than any real clock: what the task engine stamps with the real time is due at once.
DAWN = datetime(2040, 1, 1, tzinfo=UTC)


class Clock:
    """The time in a world."""

    def __init__(self) -> None:
        self.true = DAWN
        self.skew = timedelta(0)

    def __call__(self) -> datetime:
        """Return the time on the server's wall."""
        return self.true + self.skew

    def forward(self, **by: float) -> None:
        """Let time pass."""
        self.true += timedelta(**by)
