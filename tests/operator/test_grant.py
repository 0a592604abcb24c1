"""What a session macaroon allows: each caveat only narrows."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.grant import ENDPOINTS, OWNERS_ONLY, Grant, caveats_for
from payments.macaroon import Invalid, read
from payments.session_macaroon import link_of, make, verify
from pricing.money import Msat
from tests.world.macaroon_fixtures import (
    NONCE,
    RING,
    SESSION,
    SOON,
    TOOLS,
    WHOLE,
    anything,
    holds,
    narrowed,
    reason,
    sequences,
    shown,
)


def allows(grant: Grant, probe: tuple[str, str, int, int]) -> bool:
    """Say whether a grant lets a request through: endpoint, tool, msat, time."""
    endpoint, tool, amount_msat, at = probe
    return (
        grant.allows_endpoint(endpoint)
        and grant.allows_tool(tool)
        and (grant.max_msat is None or amount_msat <= grant.max_msat)
        and all(amount_msat <= budget.limit_msat for budget in grant.budgets)
        and not grant.expired(datetime.fromtimestamp(at, UTC))
    )


probes = st.tuples(
    st.sampled_from(ENDPOINTS),
    st.sampled_from(TOOLS),
    st.integers(0, 10**9),
    st.integers(0, 10**6 + 1),
)


@shown(400)
@given(sequences, sequences | st.lists(anything, max_size=3), st.lists(probes, max_size=20))
def test_no_sequence_of_caveats_widens_a_credential(
    first: list[str], more: list[str], tried: list[tuple[str, str, int, int]]
) -> None:
    """Whatever is added to whatever: what the narrowed one may, the one before may too."""
    before = narrowed(first)
    parent = holds(before).grant
    child = verify(narrowed(more, before), RING)
    if isinstance(child, Invalid):
        return  # it may nothing
    assert child.session_id == SESSION
    assert child.grant.links[: len(parent.links)] == parent.links
    assert child.grant.budgets[: len(parent.budgets)] == parent.budgets
    assert child.grant.is_bounded >= parent.is_bounded
    for probe in tried:
        assert allows(parent, probe) or not allows(child.grant, probe)


def test_a_whole_credential_may_everything() -> None:
    """It names its session, nonce and root key, and says nothing else."""
    whole = holds(WHOLE)
    assert (whole.session_id, whole.nonce, whole.key_number) == (SESSION, NONCE, 7)
    grant = whole.grant
    assert grant == Grant(None, None, (), None, None, grant.links)
    assert all(grant.allows_endpoint(name) for name in ENDPOINTS) and not grant.is_bounded
    assert make(RING, SESSION, NONCE) == WHOLE and "=" not in WHOLE


def test_caveats_add_up_to_the_least_of_each() -> None:
    """The earliest time, the least amount, every budget, and only the names that all lists hold."""
    told = [
        "expires_at=500", "expires_at=900", "max_sats=50", "max_sats=20", "tools=web,image,code",
        "tools=image,code,shell", "endpoints=request,close", "endpoints=close,refund",
        "budget_sats=10", "child=a.b", "budget_sats=900",
    ]  # fmt: skip
    grant = holds(narrowed(told)).grant
    assert (grant.expires_at, grant.max_msat) == (500, 20_000)
    assert grant.tools == frozenset({"image", "code"}) and grant.endpoints == frozenset({"close"})
    assert [budget.limit_msat for budget in grant.budgets] == [10_000, 900_000]
    assert [budget.link for budget in grant.budgets] == [grant.links[9], grant.links[11]]
    times = [datetime.fromtimestamp(at, UTC) for at in (499, 500)]
    assert [grant.expired(at) for at in times] == [False, True]


@pytest.mark.parametrize("bound", ["max_sats=5", "budget_sats=5"])
def test_a_bounded_credential_does_not_end_the_session(bound: str) -> None:
    """Close, refund and revoke are for those who may spend all of it, whatever it lists."""
    grant = holds(narrowed([bound, f"endpoints={','.join(ENDPOINTS)}"])).grant
    assert {name for name in ENDPOINTS if not grant.allows_endpoint(name)} == OWNERS_ONLY
    unbounded = holds(narrowed(["tools=web", "expires_at=9", "child=x"])).grant
    assert all(unbounded.allows_endpoint(name) for name in ENDPOINTS)


def test_siblings_have_links_of_their_own_and_descendants_share_them() -> None:
    """What a child and its children spend is counted together; what its sibling does is not."""
    one, other = (holds(narrowed([f"child={name}", "budget_sats=5"])).grant for name in "ab")
    assert one.links[0] == other.links[0] and one.budgets[0].link != other.budgets[0].link
    text = narrowed(["child=a", "budget_sats=5"])
    grandchild = holds(narrowed(["child=c", "budget_sats=2"], text)).grant
    assert grandchild.budgets[0] == one.budgets[0] and len(grandchild.budgets) == 2
    shown = read(text)
    assert not isinstance(shown, Invalid) and link_of(shown.signature) == one.links[-1]


@pytest.mark.parametrize(
    "caveat",
    [
        "", "x", "unknown=1", "expires_at", "expires_at=", "expires_at= 5", "expires_at =5",
        " expires_at=5", "expires_at=5 ", "expires_at=5\n", "expires_at=-1", "expires_at=05",
        "expires_at=1e9", "expires_at=٥", "expires_at=5.0", "Expires_at=5", "max_sats=+5",
        "max_sats=10000000000000", "budget_sats=0x1", "tools=", "tools=a,,b", "tools=a b",
        "tools=*", "tools=a,", "endpoints=", "endpoints=request;close", "child=",
        "child=a,b", "child=ä", "child=" + "x" * 65, "services=boltwork:0", "time < 2030",
    ],
)  # fmt: skip
def test_a_caveat_that_is_not_understood_lets_nothing_through(caveat: str) -> None:
    """Unknown, unmet or written in another way: the whole credential is refused."""
    assert "caveat" in reason(narrowed([caveat]))


def test_caveats_are_written_as_they_are_read() -> None:
    """What a holder asks for becomes caveats, the budget last; what can't be said is refused."""
    told = caveats_for(
        expires_at=SOON, max_sats=50, budget_sats=500, tools=["a", "b"], endpoints=["request"],
        child="c",
    )  # fmt: skip
    assert told == [
        "child=c", f"expires_at={SOON}", "tools=a,b", "endpoints=request", "max_sats=50",
        "budget_sats=500",
    ]  # fmt: skip
    grant = holds(narrowed(told)).grant
    assert grant.budgets[0].link == grant.links[-1]
    assert replace(grant, links=(), budgets=()) == Grant(
        SOON, Msat(50_000), (), frozenset("ab"), frozenset({"request"}), ()
    )
    assert caveats_for() == []
    wrongs: tuple[dict[str, Any], ...] = (
        {"tools": [""]}, {"tools": []}, {"tools": ["a b"]}, {"endpoints": ["reqest"]},
        {"max_sats": -1}, {"budget_sats": 10**13}, {"child": "a=b,c"},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"caveat|endpoint"):
            caveats_for(**wrong)
