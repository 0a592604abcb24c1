"""Codes that a camera reads."""

import io

import segno

from app.executors.tools.pictures import opened, png
from app.executors.tools.tool import Given, Impossible, Result

BORDER = 4  # modules of white around it, as its standard asks


def qr_code(given: Given) -> Result:
    """Return a QR code, as large as whole pixels a module come to."""
    try:
        code = segno.make_qr(given["text"], error="m", encoding="utf-8")
    except segno.DataOverflowError:
        raise Impossible("The text is too long for a QR code.") from None
    modules = code.symbol_size(1, BORDER)[0]
    made = io.BytesIO()
    code.save(made, kind="png", scale=max(1, given["size"] // modules), border=BORDER)
    return png(opened(made.getvalue()))
