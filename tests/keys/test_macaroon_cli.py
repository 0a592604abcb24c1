"""`boltwork macaroon`, run as a holder runs it: without a server, a key or a database."""

import json
import subprocess
import time

import pytest

from payments.session_macaroon import LOCATION, link_of
from tests.world.command import BARE, Terminal
from tests.world.macaroon_fixtures import (
    HASH,
    SESSION,
    WHOLE,
    field,
    holds,
    narrowed,
    raw,
    text_of,
    token_of,
)
from tests.world.patience import PATIENCE_S
from tests.world.server_process import COMMAND


@pytest.fixture(scope="module")
def terminal() -> Terminal:
    """The holder's terminal."""
    return Terminal()


def narrow(terminal: Terminal, *words: str, token: str = WHOLE) -> str:
    """Return the macaroon that `boltwork macaroon narrow` prints."""
    code, printed = terminal.run("macaroon", "narrow", token, *words)
    assert code == 0, printed
    return printed.strip()


def test_narrow_prints_a_smaller_macaroon(terminal: Terminal) -> None:
    """Every limit that a holder can set, and they hold."""
    before = int(time.time())
    grant = holds(
        narrow(
            terminal,
            *("--expires-in", "1h", "--max-sats", "50", "--budget-sats", "500"),
            *("--tools", "a,b", "--endpoints", "request,status"),
        )
    ).grant
    assert grant.expires_at is not None and 3600 <= grant.expires_at - before <= 3660
    assert (grant.max_msat, grant.tools) == (50_000, frozenset({"a", "b"}))
    assert grant.endpoints == frozenset({"request", "status"})
    assert [(each.link, each.limit_msat) for each in grant.budgets] == [(grant.links[-1], 500_000)]


def test_two_children_with_one_budget_are_two(terminal: Terminal) -> None:
    """Each budget has a name of its own; a child of a child is under both budgets."""
    one, other = (narrow(terminal, "--budget-sats", "5") for _ in range(2))
    assert holds(one).grant.budgets != holds(other).grant.budgets
    grandchild = holds(narrow(terminal, "--budget-sats", "2", token=one)).grant
    assert grandchild.budgets[0] == holds(one).grant.budgets[0]
    assert [budget.limit_msat for budget in grandchild.budgets] == [5000, 2000]
    assert narrow(terminal, "--max-sats", "2") == narrow(terminal, "--max-sats", "2")


@pytest.mark.parametrize(
    ("words", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("1d", 86400)]
)
def test_lengths_of_time_are_read(terminal: Terminal, words: str, seconds: int) -> None:
    """Seconds, minutes, hours and days."""
    before = int(time.time())
    at = holds(narrow(terminal, "--expires-in", words)).grant.expires_at
    assert at is not None and seconds <= at - before <= seconds + 60


def test_inspect_shows_what_a_macaroon_says(terminal: Terminal) -> None:
    """Of a session: its id, root key, link and caveats, times for people too; or as JSON."""
    text = narrowed(["expires_at=1767225600", "budget_sats=5"])
    code, told = terminal.run("macaroon", "inspect", text)
    link = holds(text).grant.links[-1]
    assert code == 0 and SESSION in told and link in told and "budget_sats=5" in told
    assert "expires_at=1767225600  (2026-01-01 00:00:00 UTC)" in told
    code, told = terminal.run("macaroon", "inspect", "--json", text)
    assert json.loads(told) == {
        "kind": "session",
        "session": SESSION,
        "rootKey": 7,
        "link": link,
        "caveats": ["expires_at=1767225600", "budget_sats=5"],
    }
    assert raw(text)[-32:].hex() not in told


def test_inspect_knows_other_kinds(terminal: Terminal) -> None:
    """An L402 macaroon by its payment hash; a stranger's by its caveats, made printable."""
    code, told = terminal.run("macaroon", "inspect", token_of())
    assert code == 0 and "L402" in told and HASH in told and "services=boltwork:0" in told
    head = b"\2" + field(1, LOCATION.encode()) + field(2, b"x") + b"\0"
    other = head + field(2, b"\x1b[2J\xff") + b"\0\0" + field(6, bytes(32))
    code, told = terminal.run("macaroon", "inspect", text_of(other))
    assert code == 0 and "unknown" in told and "\x1b" not in told and link_of(bytes(32)) in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspect", "junk"], "can't be read as a macaroon"),
        (["inspect", ""], "can't be read as a macaroon"),
        (["inspect", "A" * 5000], "4096"),
        (["narrow", "junk", "--max-sats", "5"], "can't be read as a macaroon"),
        (["narrow", WHOLE], "say what"),
        (["narrow", WHOLE, "--max-sats", "-5"], "not well formed"),
        (["narrow", WHOLE, "--expires-in", "soon"], "no length of time"),
        (["narrow", WHOLE, "--endpoints", "everything"], "no endpoint"),
        (["narrow", WHOLE, "--tools", ""], "not well formed"),
        (["narrow", token_of(), "--max-sats", "5"], "of a session"),
        (["narrow", narrowed(["child=x"] * 32), "--max-sats", "5"], "32 caveats"),
    ],
)
def test_junk_is_one_sentence_and_exit_code_2(
    terminal: Terminal, words: list[str], said: str
) -> None:
    """Whatever it is, and whichever option is wrong."""
    code, told = terminal.run("macaroon", *words)
    assert code == 2 and told.startswith("boltwork: ") and said in told, told


def test_a_token_can_stay_out_of_the_history() -> None:
    """`-` reads it from standard input; the one is the other's pipe."""
    narrowing = [str(COMMAND), "macaroon", "narrow", "-", "--max-sats", "5"]
    done = subprocess.run(
        narrowing, input=WHOLE + "\n", env=BARE, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    assert holds(done.stdout.strip()).grant.max_msat == 5000
