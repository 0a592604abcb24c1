"""What an operator reads of the books: each account of the house's own is in a row, and once."""

from hypothesis import given
from hypothesis import strategies as st

from db.overview import COSTS, EARNS, Sheet
from statemachine import entries
from statemachine.entries import Account, Kind

GIVEN = ("expense:free", "expense:failed", "expense:makers")
AMOUNTS = st.integers(0, 10**12)


@given(
    st.fixed_dictionaries(dict.fromkeys(EARNS, AMOUNTS)),
    st.fixed_dictionaries(dict.fromkeys((*COSTS, *GIVEN), AMOUNTS)),
)
def test_the_rows_of_what_was_earned_add_up(earned: dict[str, int], spent: dict[str, int]) -> None:
    """To their total; what the house itself pays to models and makers stands apart."""
    given_msat = sum(spent[name] for name in GIVEN)
    sheet = Sheet(0, earned | {"revenue:free": given_msat}, spent, 0, 0, 0)
    assert sum(sheet.bill.values()) == sheet.earned_msat - sheet.spent_msat
    assert sheet.given_msat == given_msat


def test_no_account_of_the_house_is_left_out() -> None:
    """What is earned or spent is in one of the two lists of the page."""
    flat = (each for each in vars(entries).values() if isinstance(each, Account))
    names = {each.name for each in flat if each.kind in (Kind.INCOME, Kind.EXPENSE)}
    assert names == {*EARNS, *COSTS, *GIVEN, "revenue:free"}
