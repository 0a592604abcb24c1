"""Where a page says that something went wrong: at the field, or in the form, that it is about."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.http.dialect import why_of
from app.refusal import Refusal
from app.strict_json import BadInput
from app.web.dialect import PAGES
from app.web.words import time_until


class WrongField(BadInput):
    """What one field of a form holds can't be used."""

    def __init__(self, place: str, sentence: str) -> None:
        super().__init__(sentence)
        self.place = place


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sentence, and the id of the field or the name of the form that it stands at."""

    place: str
    sentence: str
    advice: str = ""
    is_field: bool = False
    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_a_matter_of_time(self) -> bool:
        """Say whether it goes away by itself."""
        return "Retry-After" in self.headers


def advice_of(refused: BadInput | Refusal) -> str:
    """Return what a person can do about it: where time helps, how long that takes."""
    if isinstance(refused, BadInput):
        return ""
    after = refused.headers.get("Retry-After", "")
    if after.isdecimal():
        return f"Try again {time_until(int(after))}."
    return refused.next_step or ""


@contextmanager
def at(place: str, sentence: str = "") -> Iterator[None]:
    """Say of which field is spoken when its content is refused; with a sentence of the page's own
    where there is one."""
    try:
        yield
    except WrongField:
        raise
    except BadInput as wrong:
        raise WrongField(place, sentence or str(wrong)) from wrong


def trouble_of(refused: BadInput | Refusal, form: str) -> Trouble:
    """Return what is said of a refused form, and where."""
    if isinstance(refused, WrongField):
        return Trouble(refused.place, str(refused), is_field=True)
    advice = advice_of(refused)
    headers = getattr(refused, "headers", {})
    status = PAGES.status(why_of(refused))
    return Trouble(form, str(refused), advice, status=status, headers=headers)
