"""Who takes out much proves that the account is his by more than what he is logged in with."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from payments.usdc.address import keccak
from tests.account_fixtures import (
    buyers_invoice,
    has,
    message_for,
    paid_in,
    right,
    signed,
    signed_in,
    standing,
    withdraw,
)
from tests.clock import Clock
from tests.contract import refused
from tests.house_fixtures import Instance, instance_of

KEY, OTHER = keccak(b"a wallet"), keccak(b"a wallet that was joined just now")
NEEDED = "needs a second proof"


@pytest.fixture
async def bank(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Instance]:
    """An instance that pays out 1,000 sats a day without more."""
    async with instance_of(
        database_url, tmp_path, clock=clock, PROOF_SATS_PER_DAY=1_000, PROOF_USDC_PER_DAY=1
    ) as running:
        yield running


async def opened(at: Instance) -> tuple[dict[str, str], str]:
    """Open an account with 10,000 sats; return its holder's headers, and its recovery code."""
    body = {"username": "rich", "password": "secret"}
    answer = await at.post("/api/auth/login", body)
    at.http.cookies.clear()
    holder = {"Authorization": f"Bearer {answer.cookies['session']}"}
    await paid_in(at, holder, 10_000)
    await has(at, holder, 10_000)
    return holder, str(answer.json()["recoveryCode"])


async def proof(at: Instance, key: bytes) -> dict[str, str]:
    """Return a new message with its signature."""
    return signed(await message_for(at, key), key)


async def joined(at: Instance, holder: dict[str, str], key: bytes) -> None:
    """Have a wallet open an account, too."""
    answer = await at.post("/api/auth/wallets", await proof(at, key), headers=holder)
    assert answer.status_code == 200, answer.text


def taken(answer: httpx2.Response) -> dict[str, Any]:
    """Return what was taken out."""
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["withdrawal"])


async def test_a_little_is_taken_out_without_more_and_much_in_parts_is_not(
    bank: Instance, clock: Clock
) -> None:
    """What was taken out in the last 24 hours counts, to wherever it went."""
    holder, _ = await opened(bank)
    taken(await withdraw(bank, holder, amountSats=600))
    refused(await withdraw(bank, holder, amountSats=401), 403, NEEDED)
    invoice = await buyers_invoice(bank, 500)
    refused(await withdraw(bank, holder, invoice=invoice), 403, NEEDED)
    taken(await withdraw(bank, holder, amountSats=400))
    clock.forward(hours=24, seconds=1)
    taken(await withdraw(bank, holder, amountSats=1_000))
    assert (await standing(bank, holder))["balanceSats"] == 8_000
    await right(bank)


async def test_the_recovery_code_proves_it(bank: Instance) -> None:
    """A wrong one does not; and it is no other account's."""
    holder, code = await opened(bank)
    refused(await withdraw(bank, holder, amountSats=5_000, recoveryCode="0" * 32), 401, "code")
    other = await signed_in(bank, "another")
    refused(await withdraw(bank, other, amountSats=5_000, recoveryCode=code), 401, "code")
    taken(await withdraw(bank, holder, amountSats=5_000, recoveryCode=code))
    await right(bank)


async def test_a_code_that_is_new_proves_nothing(bank: Instance, clock: Clock) -> None:
    """Who has found out a password has another code made: the holder has a day to see that."""
    holder, _ = await opened(bank)
    body = {"password": "secret", "newPassword": "another secret"}
    answer = await bank.post("/api/auth/password", body, headers=holder)
    code = answer.json()["recoveryCode"]
    refused(await withdraw(bank, holder, amountSats=5_000, recoveryCode=code), 401, "a day old")
    clock.forward(hours=24)
    taken(await withdraw(bank, holder, amountSats=5_000, recoveryCode=code))
    await right(bank)


async def test_a_wallet_proves_it_that_has_opened_the_account_for_a_day(
    bank: Instance, clock: Clock
) -> None:
    """Not one that was joined just now, not another one; and each message once."""
    holder, _ = await opened(bank)
    refused(await withdraw(bank, holder, amountSats=5_000, **await proof(bank, KEY)), 401, "wallet")
    clock.forward(minutes=1)
    await joined(bank, holder, KEY)
    refused(await withdraw(bank, holder, amountSats=5_000, **await proof(bank, KEY)), 401, "a day")
    clock.forward(hours=24)
    await joined(bank, holder, OTHER)
    refused(await withdraw(bank, holder, amountSats=5_000, **await proof(bank, OTHER)), 401, "day")
    sent = await proof(bank, KEY)
    taken(await withdraw(bank, holder, amountSats=4_000, **sent))
    refused(await withdraw(bank, holder, amountSats=4_000, **sent), 401, "used before")
    one = {"message": sent["message"]}
    refused(await withdraw(bank, holder, amountSats=4_000, **one), 400, "go together")
    await right(bank)


async def test_the_wallet_that_has_opened_an_account_proves_it_at_once(bank: Instance) -> None:
    """It was there from the beginning. USDC has a limit of its own."""
    answer = await bank.post("/api/auth/siwe", await proof(bank, KEY))
    bank.http.cookies.clear()
    holder = {"Authorization": f"Bearer {answer.json()['sessionToken']}"}
    await paid_in(bank, holder, 5_000)
    await has(bank, holder, 5_000)
    refused(await withdraw(bank, holder, amountSats=5_000), 403, "1000 sats")
    taken(await withdraw(bank, holder, amountSats=5_000, **await proof(bank, KEY)))
    refused(await withdraw(bank, holder, amountUsdc="1.01"), 403, "1.0 USDC")
    refused(await withdraw(bank, holder, amountUsdc="1"), 402, "has 0")
    await right(bank)
