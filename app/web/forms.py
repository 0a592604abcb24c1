"""A form that was sent: read as strictly as a body of JSON, and only from a page of ours."""

import hashlib
import re
from urllib.parse import parse_qsl

from starlette.requests import Request

from app.house import house_of
from app.http import origins
from app.http.body import MOST_BYTES, read_body
from app.strict_json import BadInput
from app.trade.once import Name

MOST_FIELDS = 20
_KEY = re.compile("[0-9a-f]{32}")


async def read_form(request: Request, most_bytes: int = MOST_BYTES) -> dict[str, str]:
    """Return the fields of a form, each once, without white space around them.

    Refuses what another site's page sent (403), and what is no form (400).
    """
    check_origin(request)
    body = await read_body(request, most_bytes=most_bytes)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise BadInput("This is not a form of this site.") from None
    fields = {name: value.strip() for name, value in pairs}
    if len(fields) < len(pairs):
        raise BadInput("A field of this form is given twice.")
    if any("\x00" in value for value in fields.values()):
        raise BadInput("A field of this form holds what is not text.")
    return fields


def check_origin(request: Request) -> None:
    """Refuse (403) what a browser says another site has sent."""
    origins.check_origin(request, house_of(request).settings.public_url)


def name_in(request: Request, given: dict[str, str]) -> Name | None:
    """Return what a form is called: sent twice as it is, it does one thing, and changed another."""
    key = given.get("key", "")
    if not _KEY.fullmatch(key):
        return None
    fields = sorted((name, value) for name, value in given.items() if name != "key")
    said = hashlib.sha256(repr((request.url.path, fields)).encode()).hexdigest()
    caller = house_of(request).throttle.address(request)
    return Name(f"page:{caller}", f"{key}:{said[:32]}", said)
