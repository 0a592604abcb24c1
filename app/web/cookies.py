"""Cookies of the pages: sealed with the operator's secret, for one path, for no script to read.

A form that acts on the word of a cookie also carries a token made of it, which no other page knows.
"""

import hashlib
import hmac

from starlette.requests import Request

from app.house import House, house_of
from app.refusal import Refusal, Why
from payments.seal import BadSecret
from statemachine.cell import Cell

LONGEST = 600


def opened(request: Request, name: str) -> str | None:
    """Return what a cookie of ours holds; None where there is none, or one that does not open."""
    house = house_of(request)
    sealed = request.cookies.get(name, "")
    if not sealed or len(sealed) > LONGEST or not sealed.isascii():
        return None
    try:
        own = _cell(house).after(sealed)
        return house.credentials.seal.open(_closed_as(name), own).decode()
    except BadSecret:
        return None


def line(house: House, name: str, content: str, path: str, kept_s: int | None = None) -> str:
    """Return the Set-Cookie line of a new cookie; without `kept_s` it ends with the browser."""
    closed = house.credentials.seal.close(_closed_as(name), content.encode())
    sealed = _cell(house).before(closed)
    kept = f"; Max-Age={kept_s}" if kept_s is not None else ""
    return f"{name}={sealed}; Path={path}; HttpOnly; SameSite=Strict{kept}{_secure(house)}"


def forgotten(house: House, name: str, path: str) -> str:
    """Return the Set-Cookie line that takes a cookie back."""
    return f"{name}=; Path={path}; Max-Age=0; HttpOnly; SameSite=Strict{_secure(house)}"


def token_of(request: Request, name: str) -> str:
    """Return the token for forms of whoever holds this cookie; empty where nobody does."""
    sealed = request.cookies.get(name, "")
    return hashlib.sha256(f"form {sealed}".encode()).hexdigest() if sealed else ""


def check_token(request: Request, name: str, given: dict[str, str]) -> None:
    """Refuse (403) a form that does not carry the token of its sender's cookie."""
    wanted = token_of(request, name)
    if not wanted or not hmac.compare_digest(wanted.encode(), given.get("csrf", "").encode()):
        raise Refusal(
            Why.FORM_NOT_OURS,
            "This form is too old, or not ours. Open the page again, and send it.",
        )


def _closed_as(name: str) -> str:
    return f"cookie {name}"


def _cell(house: House) -> Cell:
    return Cell(house.settings.cell)


def _secure(house: House) -> str:
    public_url = house.settings.public_url or ""
    return "; Secure" if public_url.startswith("https://") else ""
