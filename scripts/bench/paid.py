"""From paying to seeing the result, as a buyer sees it who holds a poll open meanwhile.

Buyers arrive at their own pace. The time begins before the wallet is told to pay and ends with the
whole result; in it the invoice is booked, the promise is staged, taken and kept, and the result
written. The agent takes no time, so none is subtracted.
"""

from .rows import Row, Want
from .slices import Pace, alone, buying
from .stand import Stand

ARRIVALS = 4.0  # a second: a third of what one process can do, so that queues tell nothing
SWEEP_S = 1


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Measure with the rail's push, and without it."""
    by_push = stand.server("house", stand.database())
    pushed = alone(
        "paid → result, by push",
        buying(by_push, rate=ARRIVALS),
        stand,
        pace,
        (Want("p50", most=50), Want("p99", most=250)),
    )
    swept = stand.server("house", stand.database(), silent=True, settings={"SWEEP_S": SWEEP_S})
    most_ms = SWEEP_S * 1000 + 50
    return [
        pushed,
        alone(
            f"paid → result, by the sweep (every {SWEEP_S} s)",
            buying(swept, rate=ARRIVALS),
            stand,
            pace,
            (Want("p50", most=most_ms), Want("p99", most=most_ms)),
        ),
    ]
