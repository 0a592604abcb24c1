"""What `scripts/hosts` says of a fault: how long buyers waited, and when all was as before."""

from tests.runs.hosts_times import LOOKS_S, Times


def answered(*, from_s: int, to_s: int, took_s: float) -> list[tuple[float, float]]:
    """Return requests, ten a second, each of which took so long."""
    return [(from_s + n / 10, took_s) for n in range((to_s - from_s) * 10)]


def test_a_fault_is_over_when_requests_take_what_they_took_before() -> None:
    """For twenty seconds whoever asks waits until the end of it; so it is back after those."""
    waited = [(129 + n / 10, 21 - n / 10) for n in range(210)]  # some were under way by then
    took = answered(from_s=100, to_s=129, took_s=0.1) + waited
    took += answered(from_s=150, to_s=180, took_s=0.1)
    seen = Times(took, [(131.0, "503"), (140.0, "503"), (99.0, "502")]).around(
        "leader", 130, 145, 180
    )
    assert (seen.before_p99_s, seen.after_p99_s, seen.back_after_s) == (0.1, 0.1, 20)
    assert seen.mended_after_s == 15
    assert seen.during_p99_s is not None and seen.during_p99_s > 19
    assert 19.8 < seen.silence_s <= 20.1 and (seen.repeated, seen.why) == (2, ("503",))


def test_a_fault_that_is_never_over_is_said_to_be() -> None:
    """Where no window is as good as before, there is no time after which it was."""
    took = answered(from_s=100, to_s=130, took_s=0.1) + answered(from_s=130, to_s=180, took_s=9)
    seen = Times(took).around("cut", 130, 140, 180)
    assert seen.back_after_s is None and seen.after_p99_s is None and "back after -" in str(seen)


def test_where_nobody_asks_nothing_is_back() -> None:
    """A window without a request says nothing."""
    seen = Times(answered(from_s=100, to_s=130, took_s=0.1)).around(
        "kill", 130, 130, 130 + LOOKS_S * 2
    )
    assert seen.back_after_s is None and seen.silence_s >= LOOKS_S
