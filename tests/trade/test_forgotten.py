"""An account on which there was never a thing may be forgotten while its holder asks for one."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest

from app import advance
from app.advance import Missing
from app.advance.spells import Publishing
from app.main import furnish
from app.plant import keeper_of, loops_of
from app.refusal import Refusal, Why
from app.trade.once import Name
from db import people
from pricing.money import Msat
from tests.world.house_fixtures import Instance


async def refused(asked: Awaitable[Any]) -> Why:
    """Return why something was refused."""
    with pytest.raises(Refusal) as refusal:
        await asked
    return refusal.value.why


async def test_whoever_asks_for_a_forgotten_account_is_told_so(instance: Instance) -> None:
    """And not that something broke; an Idempotency-Key is not used up by that."""
    built = instance.built
    who = await built.shell.do(advance.accounts.of_wallet, "wallet")
    assert await built.db.run("forget", partial(people.forget_unused, ids=[who])) == 1
    keeper = keeper_of(built)
    accounts, key = furnish(built, keeper, loops_of(built, keeper)).accounts, "mine" * 4
    for body in ("one", "another"):
        asked = accounts.deposit(who, Msat(1_000), Name(who, key, body))
        assert await refused(asked) is Why.UNKNOWN
        taken = accounts.withdraw(who, Msat(1_000), None, Name(who, key, body))
        assert await refused(taken) is Why.UNKNOWN
    spell = Publishing("s", "v", who, {"slug": "mine"}, {})
    assert await built.shell.do(advance.spells.publish, spell) == Missing()
