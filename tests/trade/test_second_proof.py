"""Who takes out much proves that the account is his by more than what he is logged in with."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from payments.usdc.address import keccak
from tests.world.account_fixtures import (
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
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lightning_wallet import scan_of

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


@pytest.fixture
def wallet() -> ec.EllipticCurvePrivateKey:
    """A Lightning wallet of the account."""
    return ec.derive_private_key(7, ec.SECP256K1())


async def code(at: Instance, action: str) -> dict[str, str]:
    """Return a new code for a Lightning wallet."""
    return dict((await at.post("/api/auth/lnurl", {"action": action})).json())


def fetching(made: dict[str, str]) -> dict[str, str]:
    """Return what fetches what a code has come to."""
    return {"k1": made["k1"], "secret": made["secret"]}


async def opened_by(at: Instance, wallet: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Have a Lightning wallet open an account with 5,000 sats; return its holder's headers."""
    made = await code(at, "login")
    await scan_of(at, made["lnurl"], wallet)
    answer = await at.post("/api/auth/lnurl/login", fetching(made))
    at.http.cookies.clear()
    holder = {"Authorization": f"Bearer {answer.json()['sessionToken']}"}
    await paid_in(at, holder, 5_000)
    await has(at, holder, 5_000)
    return holder


async def test_a_lightning_wallet_proves_it_by_signing_a_code(
    bank: Instance, wallet: ec.EllipticCurvePrivateKey
) -> None:
    """202 until it has; the code is good once, and the same withdrawal sent again is the first."""
    holder = await opened_by(bank, wallet)
    made = await code(bank, "auth")
    body = {"amountSats": 4_000, **fetching(made)}
    keyed = holder | {"Idempotency-Key": "once"}
    waits = await withdraw(bank, keyed, **body)
    assert (waits.status_code, waits.json()["status"]) == (202, "pending"), waits.text
    assert await scan_of(bank, made["lnurl"], wallet) == {"status": "OK"}
    first, again = [taken(await withdraw(bank, keyed, **body)) for _ in range(2)]
    assert first == again
    assert (await withdraw(bank, holder, **body)).status_code == 202  # nobody has signed it anew
    assert (await standing(bank, holder))["balanceSats"] == 1_000
    await right(bank)


async def test_what_a_wallet_signs_to_sign_in_proves_no_withdrawal(
    bank: Instance, wallet: ec.EllipticCurvePrivateKey
) -> None:
    """Whichever the wallet shows to its holder, the code is good for that alone; nor does the
    wallet of another account prove anything.
    """
    holder, other = await opened_by(bank, wallet), ec.derive_private_key(8, ec.SECP256K1())
    login, proof_ = await code(bank, "login"), await code(bank, "auth")
    assert await scan_of(bank, login["lnurl"], wallet) == {"status": "OK"}
    sent = {"amountSats": 4_000, **fetching(login)}
    refused(await withdraw(bank, holder, **sent), 401, "not ours")
    shown = await scan_of(bank, proof_["lnurl"], wallet, action="login")
    assert shown["status"] == "ERROR"
    assert await scan_of(bank, proof_["lnurl"], other) == {"status": "OK"}
    answer = await bank.post("/api/auth/lnurl/login", fetching(proof_))
    assert answer.status_code == 401, answer.text
    sent = {"amountSats": 4_000, **fetching(proof_)}
    refused(await withdraw(bank, holder, **sent), 401, "wallet")
    refused(await withdraw(bank, holder, amountSats=4_000, k1=login["k1"]), 400, "go together")
    assert (await standing(bank, holder))["balanceSats"] == 5_000
