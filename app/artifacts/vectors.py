"""A drawing of coloured paths, read strictly and written anew: nothing but shapes is in it.

Only what our own tracer writes is known: paths with a fill and a place. No style, no script, no
link, no text and no entity can be written in these words, so none comes through.
"""

import re
from typing import Final

from app.artifacts.bounds import MOST_SIDE, Pressed, Refused

MOST_PATHS: Final = 50_000
NOT_ONE: Final = "This is not a drawing that is known here: only coloured paths are."
_HEAD: Final = re.compile(
    r'\s*(?:<\?xml version="1\.0" encoding="UTF-8"\?>\s*)?(?:<!--[A-Za-z0-9 .:]*-->\s*)?'
    r'<svg version="1\.1" xmlns="http://www\.w3\.org/2000/svg" width="(\d{1,5})"'
    r' height="(\d{1,5})">\s*'
)
_NUMBER: Final = r"-?[0-9]{1,6}(?:\.[0-9]{1,20})?"
_PATH: Final = re.compile(
    r'<path d="([MLHVCQZ0-9., -]*)" fill="(#[0-9A-Fa-f]{6})"'
    rf' transform="translate\(({_NUMBER}),({_NUMBER})\)"/>\s*'
)
_END: Final = re.compile(r"</svg>\s*")


def press(data: bytes) -> Pressed:
    """Return a drawing written anew. Raises Refused."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(NOT_ONE) from None
    head = _HEAD.match(text)
    if head is None:
        raise Refused(NOT_ONE)
    width, height = int(head[1]), int(head[2])
    if not 0 < width <= MOST_SIDE or not 0 < height <= MOST_SIDE:
        raise Refused(f"The drawing is too large: at most {MOST_SIDE:,} pixels a side are taken.")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">'
    ]
    at = head.end()
    while path := _PATH.match(text, at):
        shape, fill, across, down = path.groups()
        if len(lines) > MOST_PATHS:
            raise Refused(f"The drawing has more than {MOST_PATHS:,} paths.")
        place = f' transform="translate({across},{down})"'
        lines.append(f'<path d="{shape.strip()}" fill="{fill.lower()}"{place}/>')
        at = path.end()
    end = _END.match(text, at)
    if end is None or end.end() != len(text):
        raise Refused(NOT_ONE)
    lines.append("</svg>\n")
    return Pressed("\n".join(lines).encode(), "image/svg+xml", width, height)
