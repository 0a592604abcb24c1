"""What an agent has written so far, as a stream sends it: piece by piece, perhaps again from its
beginning. It is drawn on a terminal while it grows; the result is what counts.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from app.plain_text import harmless

MOST_CHARACTERS = 16_384  # of which the last are kept
MOST_LINES = 6  # that are drawn, and never more than half of the screen


class Draft:
    """The end of a text that is being written. Rich draws its last lines."""

    def __init__(self) -> None:
        self._start, self.text = 0, ""  # where it begins in all that was written, in characters

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one progress event; one that can't be read is left out."""
        start, text = event.get("start"), event.get("text")
        if type(start) is not int or not isinstance(text, str):
            return
        if self._start <= start <= self._start + len(self.text):
            text = self.text[: start - self._start] + text
        else:  # it began again, or a piece was missed
            self._start = start
        self.text = text[-MOST_CHARACTERS:]
        self._start += len(text) - len(self.text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the last lines, as wide as there is room."""
        width = options.max_width
        lines = min(MOST_LINES, max(1, console.height // 2))
        written = Text(harmless(self.text.rstrip())[-lines * width :], style="dim")
        yield from written.wrap(console, width)[-lines:]
