"""What a lender shows: on a terminal a line for each item that is made, and what is earned below
them; elsewhere a line for what has happened, and no more.

What a server or a buyer wrote is a stranger's text: no markup, and nothing that steers a terminal.
"""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from app.lender.answers import Lease, Standing
from app.plain_text import one_line

MOST_LINE = 600
A_SECOND = 4  # times that it is drawn


class Shows(Protocol):
    """Who is told how it goes. `draws`: what is earned is shown as it grows."""

    draws: bool

    def say(self, line: str) -> None:
        """Tell something that has happened."""
        ...

    def begun(self, lease: Lease) -> None:
        """Tell of an item that is being made."""
        ...

    def went(self, lease: Lease, percent: int) -> None:
        """Tell how far it is."""
        ...

    def ended(self, lease: Lease) -> None:
        """Tell that it is made no more."""
        ...

    def stands(self, standing: Standing) -> None:
        """Tell what is earned."""
        ...


class Lines:
    """Shows lines of what has happened."""

    draws = False

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(Text(one_line(line, MOST_LINE)), soft_wrap=True)

    def begun(self, lease: Lease) -> None:
        """A line tells when it is brought."""

    def went(self, lease: Lease, percent: int) -> None:
        """Nothing is drawn."""

    def ended(self, lease: Lease) -> None:
        """A line has told how."""

    def stands(self, standing: Standing) -> None:
        """It is printed at the end."""


class Board(Lines):
    """Draws what is being made; lines of what has happened stand above it."""

    draws = True

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        words = TextColumn("{task.description}", markup=False)
        self._progress = Progress(BarColumn(16), TaskProgressColumn(), words, console=console)
        self._tasks: dict[str, TaskID] = {}
        self._sums: list[str] = []

    def __rich__(self) -> RenderableType:
        lines = [Text(line, style="dim", no_wrap=True) for line in self._sums]
        return Group(self._progress, *lines)

    def begun(self, lease: Lease) -> None:
        """Draw a line for it."""
        self._tasks[lease.id] = self._progress.add_task(lease.shown, total=100)

    def went(self, lease: Lease, percent: int) -> None:
        """Fill its bar so far."""
        if lease.id in self._tasks:
            self._progress.update(self._tasks[lease.id], completed=percent)

    def ended(self, lease: Lease) -> None:
        """Take its line away."""
        if lease.id in self._tasks:
            self._progress.remove_task(self._tasks.pop(lease.id))

    def stands(self, standing: Standing) -> None:
        """Draw what is earned."""
        self._sums = standing.sums


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[Shows]:
    """Yield what shows how it goes on a console, for as long as the block lasts."""
    if not console.is_terminal:
        yield Lines(console)
        return
    board = Board(console)
    with Live(board, console=console, refresh_per_second=A_SECOND, transient=True):
        yield board
