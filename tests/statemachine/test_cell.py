"""Cells: what one makes is known as its own by two digits, and the rest of it is chance."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.advance import ids_of, new_id
from app.keys import api_keys, stock_keys
from app.keys.api_keys import Prefix
from statemachine.cell import ALONE, Cell, cell_of

digits = st.integers(0, 255).map(lambda number: f"{number:02x}")
chance = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(digits, chance)
def test_what_a_cell_marks_is_its_own(own: str, text: str) -> None:
    """A marked id has its shape and its cell, and keeps all the chance behind the digits."""
    marked = Cell(own).mark(text)
    assert re.fullmatch("[0-9a-f]{32}", marked) and marked[2:] == text[2:]
    assert cell_of(marked) == Cell(own) and Cell(own).mark(marked) == marked
    assert Cell(own).number == int(own, 16)


@given(digits, digits, st.text(max_size=40))
def test_a_closed_text_is_opened_by_its_cell_alone(own: str, other: str, closed: str) -> None:
    """What stands behind the digits comes back whole, and only to the cell that wrote them."""
    before = Cell(own).before(closed)
    assert cell_of(before) == Cell(own) and Cell(own).after(before) == closed
    assert (Cell(other).after(before) == closed) == (own == other)


@given(st.text(max_size=40))
def test_without_cells_nothing_is_marked(text: str) -> None:
    """The only Boltwork changes no text, and its number is none."""
    assert ALONE.mark(text) == ALONE.before(text) == ALONE.after(text) == text
    assert ALONE.number == 0


@given(st.text(max_size=4).filter(lambda text: not re.fullmatch("([0-9a-f]{2})?", text)))
def test_what_names_no_cell(text: str) -> None:
    """Two small digits of sixteen name a cell, and nothing else does."""
    with pytest.raises(ValueError, match="two digits"):
        Cell(text)
    assert cell_of(text[:1]) is None


@given(digits, st.binary(min_size=32, max_size=32))
def test_keys_keep_their_shape(own: str, secret: bytes) -> None:
    """A key of a cell is one as any other; its digits stand behind the prefix, or first."""
    cell = Cell(own)
    for prefix in Prefix:
        key = api_keys.key_of(prefix, secret, cell)
        assert key.startswith(prefix + own) and api_keys.kept_of(key) is not None
        assert api_keys.kept_of(api_keys.key_of(prefix, secret)) is not None
    stock = stock_keys.new_key(cell)
    assert stock.startswith(own) and stock_keys.kept_of(stock) is not None


def test_ids_of_a_cell_are_by_chance() -> None:
    """No two are alike, each of the other digits takes all values; alone they are as ever."""
    made = [ids_of(Cell("b7"))() for _ in range(600)]
    assert len(set(made)) == 600 and {each[:2] for each in made} == {"b7"}
    assert all(len({each[at] for each in made}) == 16 for at in range(2, 32))
    assert ids_of(ALONE) is new_id
