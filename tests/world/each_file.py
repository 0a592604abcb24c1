"""A rule that holds for many files is one test, which names each file that breaks it.

A test for each file would be thousands, and each of them costs more than its look.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
Rule = Callable[[Path], None]


def name(path: Path) -> str:
    """Return a path as it is told."""
    return str(path.relative_to(ROOT))


def of_each(paths: Iterable[Path]) -> Callable[[Rule], Callable[[], None]]:
    """Make a test over these files of a rule about one."""
    looked_at = list(paths)
    assert looked_at

    def made(rule: Rule) -> Callable[[], None]:
        def over_all() -> None:
            broken = []
            for path in looked_at:
                try:
                    rule(path)
                except AssertionError as error:
                    broken.append(f"{name(path)}: {error}")
            assert not broken, "\n".join(broken)

        over_all.__name__, over_all.__doc__ = rule.__name__, rule.__doc__
        over_all.__module__, over_all.__qualname__ = rule.__module__, rule.__qualname__
        return over_all

    return made
