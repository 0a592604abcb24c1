"""`boltwork account`, and the client's accounts: opened by a payment, paid into, and emptied."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.buyer import account as accounts
from app.buyer.account import Account, BadKey, connect
from app.buyer.client import Client
from app.buyer.failures import Refused
from app.buyer.payer import Payer
from app.buyer.wallets.stub import StubWallet
from tests.world.account_fixtures import buyers_invoice, right
from tests.world.ask_buyer import Buyer, Ended
from tests.world.house_fixtures import Instance

pytestmark = pytest.mark.one_instance


@pytest.fixture
async def client(instance: Instance) -> AsyncIterator[Client]:
    """A client of a running instance; at the end its books are right."""
    async with Client(instance.url) as made:
        yield made
    await right(instance)


class Person:
    """Somebody at a terminal, who has a key once there is one."""

    def __init__(self, at: Instance, home: Path) -> None:
        self._at, self._home, self.key = at, home, ""

    async def run(self, *words: str) -> Ended:
        """Run `boltwork account WORDS`."""
        known = {"BOLTWORK_API_KEY": self.key} if self.key else {}
        return await Buyer(self._at.url, self._home, known).run("account", *words)

    async def well(self, *words: str) -> str:
        """Run it to a good end; return what it printed."""
        ended = await self.run(*words)
        assert ended.code == 0, ended.err
        return ended.out.strip()


async def test_an_account_is_opened_used_and_emptied_at_a_terminal(
    instance: Instance, tmp_path: Path
) -> None:
    """What is printed alone is what was asked for; a key is printed when it is made."""
    person = Person(instance, tmp_path / "home")
    person.key = await person.well("open", "1000")
    assert re.fullmatch("sk_live_bw_[0-9A-Za-z]{49}", person.key)
    assert await person.well("balance") == "1,000 sats"
    assert await person.well("deposit", "500") == "1,500 sats"
    invoice = await buyers_invoice(instance, 300)
    assert await person.well("withdraw", "--invoice", invoice) == "300 sats are on their way."
    assert (await person.well("withdraw", "200")).startswith("LNURL1")
    assert await person.well("balance") == "1,000 sats"
    assert await person.well("history") == "Nothing was spent in this time."
    helper = await person.well("keys", "--make", "helper", "--limit", "50")
    assert helper.startswith("sk_live_bw_")
    listed = await person.well("keys")
    assert "helper" in listed and helper not in listed and person.key not in listed
    name = listed.splitlines()[0].split()[0]
    rotated = await person.well("keys", "--rotate", name)
    assert rotated.startswith("sk_live_bw_") and rotated != helper
    assert "helper" not in await person.well("keys", "--revoke", name)
    shown = await person.run("balance", "--json")
    assert shown.told["balanceSats"] == 1_000
    await right(instance)


async def test_what_can_not_be_done_is_said(instance: Instance, tmp_path: Path) -> None:
    """By an exit code, and a sentence that says what to do; the key is in none of them."""
    person = Person(instance, tmp_path / "home")
    missing = await person.run("balance")
    assert missing.code == 2 and "BOLTWORK_API_KEY" in missing.err
    dear = await person.run("open", "1000", "--max-sats", "999")
    assert dear.code == 2 and "999" in dear.err
    person.key = await person.well("open", "100")
    for words, code, says in (
        (("withdraw", "101"), 2, "your account has 100"),
        (("withdraw",), 2, "amountSats"),
        (("history", "--unit", "fortnight"), 2, "day, week, month, year"),
        (("keys", "--revoke", "no-id"), 2, "32 hex digits"),
        (("keys", "--limit", "5"), 2, "--limit goes with --make"),
        (("keys", "--rotate", "0" * 32), 1, "no API key with this id"),
    ):
        ended = await person.run(*words)
        assert (ended.code, person.key in ended.err) == (code, False), ended.err
        assert says in ended.err, ended.err
    person.key = person.key[:-1] + ("0" if person.key[-1] != "0" else "1")
    wrong = await person.run("balance")
    assert wrong.code != 0 and "isn't valid" in wrong.err


async def test_a_program_has_an_account(client: Client) -> None:
    """Whoever has a limited key spends within it, and does nothing else."""
    payer = Payer(StubWallet(client))
    account = await connect(client, 1_000, payer)
    assert account.key not in repr(account) and await account.balance() == 1_000
    helper = await account.make_key("helper", limit_sats=200)
    assert helper.key not in repr(helper)
    assert {key["name"] for key in await account.keys()} == {"connected wallet", "helper"}
    other = Account(client, helper.key)
    assert await other.deposit(50, payer) == 1_050
    with pytest.raises(Refused, match="with a spending limit") as refused:
        await other.withdraw(10)
    assert (refused.value.status, refused.value.body["code"]) == (403, "FORBIDDEN")
    assert (await account.history("week"))["sats"] == 0
    with pytest.raises(BadKey):
        Account(client, "sk_live_nonsense")


async def test_the_program_that_is_shown_runs(instance: Instance) -> None:
    """As it stands in its file."""
    shown = (accounts.__doc__ or "").replace("http://127.0.0.1:8402", instance.url)
    lines = [line[4:] for line in shown.splitlines() if line.startswith("    ") or not line]
    program = "\n".join(lines).replace("asyncio.run(main())", "")
    known: dict[str, object] = {}
    exec(compile(program, "shown", "exec"), known)
    await known["main"]()  # type: ignore[operator]
