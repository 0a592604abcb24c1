"""QR codes, as SVG in the page: made once for a text, away from the event loop."""

import asyncio
from collections import OrderedDict
from io import BytesIO

import segno
from markupsafe import Markup

MOST = 512
QUIET = 4  # modules of white around it, as the standard asks for

_made: OrderedDict[str, Markup] = OrderedDict()


async def code(text: str, label: str) -> Markup:
    """Return the code of an invoice or an LNURL, for wallets to scan.

    In capitals the code is a third smaller: neither kind of text tells them apart.
    """
    shouted = f"LIGHTNING:{text.upper()}"
    found = _made.get(shouted)
    if found is None:
        found = await asyncio.to_thread(_draw, shouted)
        _made[shouted] = found
        while len(_made) > MOST:
            _made.popitem(last=False)
    opening = Markup('<svg class="qr" role="img" aria-label="{}" ').format(label)
    return opening + found


def _draw(text: str) -> Markup:
    """Return what follows `<svg ` of a code."""
    drawn = BytesIO()
    segno.make(text, error="l", micro=False).save(
        drawn,
        kind="svg",
        border=QUIET,
        omitsize=True,
        xmldecl=False,
        svgns=False,
        svgclass=None,
        lineclass=None,
        dark="#000",
        light="#fff",
        nl=False,
    )
    # Made of numbers alone: nothing in it is anybody's text.
    return Markup(drawn.getvalue().decode().removeprefix("<svg "))
