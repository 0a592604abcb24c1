"""When a picture is one that was given before, over many looks and words."""

from hypothesis import given
from hypothesis import strategies as st

from statemachine.look import (
    REUSED_PCT,
    Given,
    asks_alike,
    is_reused,
    keys_of,
    unlike_pct,
    words_of,
)

BITS = st.integers(1, 2**256 - 1)
CAT, DOG = "a cat that sleeps on a red sofa", "two dogs that run along a beach"


def hexed(bits: int) -> str:
    """Return a look of these bits."""
    return f"{bits:064x}"


@given(BITS, BITS)
def test_looks_are_as_unlike_one_way_as_the_other(one: int, two: int) -> None:
    """In percent; and only what is the same is not unlike at all, or nearly so."""
    unlike = unlike_pct(hexed(one), hexed(two))
    assert unlike == unlike_pct(hexed(two), hexed(one))
    assert 0 <= unlike <= 100
    assert unlike_pct(hexed(one), hexed(one)) == 0
    assert (unlike == 100) == (one & two == 0)


@given(BITS, st.lists(st.integers(0, 255), max_size=12))
def test_what_looks_the_same_is_found_by_a_row(one: int, changes: list[int]) -> None:
    """Fewer bits have changed than there are rows that tell something: one is as it was."""
    two = one
    for bit in changes:
        two ^= 1 << bit
    if len(set(changes)) < len(keys_of(hexed(one))):
        assert set(keys_of(hexed(one))) & set(keys_of(hexed(two)))


@given(BITS, BITS, st.integers(0, 9), st.integers(0, 9))
def test_a_picture_is_never_its_own_again(one: int, two: int, seed: int, other: int) -> None:
    """The same words with the same seed may make the same bytes, and alike; with another seed a
    picture that is alike, and not the same bytes."""
    now, before = Given(hexed(one), "a", CAT, seed), Given(hexed(two), "a", CAT, other)
    assert is_reused(now, before) == (seed != other)
    assert not is_reused(now, Given(hexed(one), "b", CAT, other))


def test_a_picture_is_not_given_for_other_words() -> None:
    """Whatever the seed is; nor is one that looks nearly the same."""
    dense = int("5" * 64, 16)
    near = dense ^ (1 << 7 | 1 << 77)
    for bits in (dense, near):
        for seed in (1, 2):
            before = Given(hexed(bits), "other bytes", DOG, 1)
            assert is_reused(Given(hexed(dense), "bytes", CAT, seed), before)
    far = dense ^ ((1 << 40) - 1)
    assert unlike_pct(hexed(dense), hexed(far)) > REUSED_PCT
    assert not is_reused(Given(hexed(dense), "bytes", CAT, 1), Given(hexed(far), "bytes", DOG, 1))


def test_words_are_compared_that_say_what_shall_be_seen() -> None:
    """Whatever their letters' case and order; half of them in common is alike."""
    assert words_of("A CAT, a cat on a Sofa") == {"cat", "sofa"}
    assert asks_alike("a red boat on a calm lake", "a BLUE boat on a calm lake!")
    assert not asks_alike(CAT, DOG)
    assert asks_alike("猫", "猫") and not asks_alike("猫", "犬")
    assert asks_alike("of", "of") and not asks_alike("of", "it")
    assert asks_alike("", "")
