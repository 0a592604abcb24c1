"""The fields of a server's answers, each checked strictly by its form; else it is Unreadable."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Required, TypedDict

MOST_SATS = 21_000_000 * 100_000_000  # all the bitcoin there will be
_ID = re.compile("[0-9a-f]{32}")
_WORD = re.compile("[a-z_]{1,40}")


class Unreadable(ValueError):
    """An answer with a wrong field. The message names the field, and quotes nothing."""


class Invoice(TypedDict, total=False):
    """An invoice of the server's. Its hash is shown on the stub rail only."""

    paymentRequest: Required[str]
    amountSats: Required[int]
    expiresAt: str
    paymentHash: str


Check = Callable[[str, Any], None]


def read(
    what: str,
    parsed: Any,
    needed: Mapping[str, Check],
    allowed: Mapping[str, Check] | None = None,
) -> None:
    """Check the required fields and the optional ones; others are ignored."""
    if not isinstance(parsed, Mapping):
        refuse(what, "is no object")
    for name, check in needed.items():
        if name not in parsed:
            refuse(what, f"has no field {name!r}")
        check(name, parsed[name])
    for name, check in (allowed or {}).items():
        if name in parsed:
            check(name, parsed[name])


def refuse(name: str, wrong: str) -> NoReturn:
    """Say what is wrong. Raises Unreadable."""
    where = name if " " in name else f"the field {name!r}"
    raise Unreadable(f"{where} {wrong}")


def whole(name: str, value: Any) -> None:
    """Refuse what is no whole number, zero or more."""
    if type(value) is not int or not 0 <= value <= MOST_SATS:
        refuse(name, "is no whole number, zero or more")


def dollars(name: str, value: Any) -> None:
    """Refuse what is no amount of dollars."""
    if type(value) not in (int, float) or not 0 <= value <= MOST_SATS or math.isnan(value):
        refuse(name, "is no amount of dollars")


def text(name: str, value: Any) -> None:
    """Refuse what is no text."""
    if not isinstance(value, str):
        refuse(name, "is no text")


def maybe(name: str, value: Any) -> None:
    """Refuse what is neither a text nor null."""
    if value is not None:
        text(name, value)


def yes_or_no(name: str, value: Any) -> None:
    """Refuse what is no truth value."""
    if not isinstance(value, bool):
        refuse(name, "is neither true nor false")


def list_(name: str, value: Any) -> None:
    """Refuse what is no list."""
    if not isinstance(value, list):
        refuse(name, "is no list")


def mapping(name: str, value: Any) -> None:
    """Refuse what is no object."""
    if not isinstance(value, Mapping):
        refuse(name, "is no object")


def id_(name: str, value: Any) -> None:
    """Refuse what has not the form of an id."""
    if not is_id(value):
        refuse(name, "is no id: 32 hex digits")


def word(name: str, value: Any) -> None:
    """Refuse what is no word of the surface."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        refuse(name, "is no word")


def texts(name: str, value: Any) -> None:
    """Refuse what is no list of texts."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        refuse(name, "is no list of texts")


def invoice(name: str, value: Any) -> None:
    """Refuse what is no invoice."""
    read(f"the {name}", value, {"paymentRequest": text, "amountSats": whole})


def is_id(value: object) -> bool:
    """Say whether something has the form of an id: 32 hex digits."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None
