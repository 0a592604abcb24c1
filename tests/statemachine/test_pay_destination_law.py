"""Where a worker's pay goes, whoever holds its token and whatever they try."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from statemachine.pay_destination import WAITS, Directions, Unsigned, at, message, redirect

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLACES = st.sampled_from([None, "mine@example.org", "thief@example.org"])
WALLETS = st.sampled_from([None, "evm:eip155:8453:mine", "evm:eip155:8453:thief"])
TRIES = st.lists(st.tuples(PLACES, WALLETS, st.integers(0, 30), st.booleans()), max_size=30)


@given(TRIES)
def test_a_key_signs_each_change_of_where_pay_goes(
    tries: list[tuple[str | None, str | None, int, bool]],
) -> None:
    """What it has not signed changes nothing; what it has is so at once, and counted."""
    facts, now = Directions("w", "mine@example.org", key="k"), NOON
    for pay_to, usdc_to, hours, is_signed in tries:
        now += timedelta(hours=hours)
        wanted = pay_to or facts.pay_to, usdc_to or facts.usdc_to
        is_other = wanted != (facts.pay_to, facts.usdc_to)
        try:
            after = redirect(facts, pay_to, usdc_to, now, is_signed)
        except Unsigned:
            assert is_other and not is_signed
            continue
        assert (after.pay_to, after.usdc_to) == wanted
        assert after.signed == facts.signed + is_other and after.next_at is None
        assert is_signed or not is_other
        facts = after


@given(TRIES)
def test_without_a_key_a_change_was_to_be_seen_for_a_day(
    tries: list[tuple[str | None, str | None, int, bool]],
) -> None:
    """Wherever pay goes, it went there from the start, or `next` has told of it for a day; and
    naming the old destination takes back what waits."""
    facts, now = Directions("w", "mine@example.org"), NOON
    seen: dict[tuple[str, str], datetime] = {}  # what waits, since when
    for pay_to, usdc_to, hours, is_signed in tries:
        now += timedelta(hours=hours)
        before, holds = facts, at(facts, now)
        for name in ("pay_to", "usdc_to"):
            if (new := getattr(holds, name)) != getattr(before, name):
                assert now - seen[name, new] >= WAITS
        facts = redirect(before, pay_to, usdc_to, now, is_signed)
        assert (facts.pay_to, facts.usdc_to, facts.signed) == (holds.pay_to, holds.usdc_to, 0)
        coming = {"pay_to": facts.next_pay_to, "usdc_to": facts.next_usdc_to}
        assert (facts.next_at is None) is not any(coming.values())
        for name, said in (("pay_to", pay_to), ("usdc_to", usdc_to)):
            waits = getattr(holds, f"next_{name}") if said is None else said
            assert coming[name] == (waits if waits != getattr(holds, name) else None)
        seen = {
            (name, to): seen.get((name, to), now) for name, to in coming.items() if to is not None
        }


def test_what_waits_is_so_from_its_time_on() -> None:
    """Asking for the same again does not put it off."""
    first = redirect(Directions("w", "a"), "b", None, NOON, False)
    again = redirect(first, "b", None, NOON + WAITS / 2, False)
    assert again == first and at(first, NOON + WAITS - timedelta(seconds=1)) == first
    assert at(first, NOON + WAITS) == Directions("w", "b")
    both = redirect(first, None, "u", NOON + WAITS / 2, False)
    assert both == replace(first, next_usdc_to="u", next_at=NOON + WAITS * 3 / 2)
    assert redirect(both, "a", None, NOON + WAITS / 2, False) == replace(both, next_pay_to=None)


@given(st.tuples(st.text(), st.integers(0), PLACES, WALLETS), st.integers(0, 3))
def test_a_message_says_all_that_is_signed(
    said: tuple[str, int, str | None, str | None], place: int
) -> None:
    """Another worker, another count, another destination: another message."""
    other = list(said)
    other[place] = said[1] + 1 if place == 1 else f"{said[place] or ''}x"
    assert message(*said) != message(*other)  # type: ignore[arg-type]
    assert message("w", 3, "a@b.c", None) == b"boltwork worker pay\nw\n3\na@b.c\n"
