"""Answers are remembered up to so many bytes, the ones asked for last."""

from app.watch.remembered import Answer, Names, Remembered


def test_the_oldest_answers_make_room() -> None:
    """What was not asked for the longest goes first."""
    kept = Remembered(most_bytes=10)
    kept.keep("a", Answer(1, b"aaaa"))
    kept.keep("b", Answer(1, b"bbbb"))
    assert kept.find("a") == Answer(1, b"aaaa")
    kept.keep("c", Answer(1, b"cccc"))
    assert kept.find("b") is None
    assert kept.find("a") is not None and kept.find("c") is not None


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    """One job has one answer, and its bytes are counted once."""
    kept = Remembered(most_bytes=10)
    for version in range(20):
        kept.keep("a", Answer(version, b"aaaaaa"))
    assert kept.find("a") == Answer(19, b"aaaaaa")


def test_an_answer_too_large_to_keep_is_not_kept() -> None:
    """It does not push the others out either."""
    kept = Remembered(most_bytes=10)
    kept.keep("a", Answer(1, b"aaaa"))
    kept.keep("b", Answer(1, b"b" * 11))
    assert kept.find("b") is None and kept.find("a") is not None


def test_the_names_seen_longest_ago_are_forgotten() -> None:
    """There is an end to what is kept; a name that is seen again stays."""
    seen = Names(most=2)
    for name in ("a", "b", "a", "c"):
        seen.see(name)
    assert "a" in seen and "c" in seen and "b" not in seen
