"""Who takes out much proves that the account is his by more than what he is logged in with."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from payments.usdc.address import address_of_key, keccak
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


async def proof(at: Instance, key: bytes, **out: Any) -> dict[str, str]:
    """Return a new message with its signature: to sign in, or for what is taken out."""
    return signed(await message_for(at, key, **out), key)


async def approved(at: Instance, who: dict[str, str], key: bytes, **out: Any) -> httpx2.Response:
    """Ask for a withdrawal that a wallet has approved."""
    return await withdraw(at, who, **out, **await proof(at, key, **out))


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
    refused(await approved(bank, holder, KEY, amountSats=5_000), 401, "wallet")
    clock.forward(minutes=1)
    await joined(bank, holder, KEY)
    refused(await approved(bank, holder, KEY, amountSats=5_000), 401, "a day")
    clock.forward(hours=24)
    await joined(bank, holder, OTHER)
    refused(await approved(bank, holder, OTHER, amountSats=5_000), 401, "day")
    sent = await proof(bank, KEY, amountSats=4_000)
    taken(await withdraw(bank, holder, amountSats=4_000, **sent))
    refused(await withdraw(bank, holder, amountSats=4_000, **sent), 401, "used before")
    one = {"message": sent["message"]}
    refused(await withdraw(bank, holder, amountSats=4_000, **one), 400, "go together")
    await right(bank)


async def of_wallet(at: Instance, sats: int = 5_000) -> dict[str, str]:
    """Have a wallet open an account with so much; return its holder's headers."""
    answer = await at.post("/api/auth/siwe", await proof(at, KEY))
    at.http.cookies.clear()
    holder = {"Authorization": f"Bearer {answer.json()['sessionToken']}"}
    await paid_in(at, holder, sats)
    await has(at, holder, sats)
    return holder


async def test_the_wallet_that_has_opened_an_account_proves_it_at_once(bank: Instance) -> None:
    """It was there from the beginning. USDC has a limit of its own."""
    holder = await of_wallet(bank)
    refused(await withdraw(bank, holder, amountSats=5_000), 403, "1000 sats")
    taken(await approved(bank, holder, KEY, amountSats=5_000))
    refused(await withdraw(bank, holder, amountUsdc="1.01"), 403, "1.0 USDC")
    refused(await withdraw(bank, holder, amountUsdc="1"), 402, "has 0")
    await right(bank)


async def test_a_signature_approves_what_it_names_and_nothing_else(bank: Instance) -> None:
    """The wallet shows how much goes, and to where: not a sat more, not to another place; it signs
    nobody in, and joins nothing; and who was asked to sign in has approved nothing.
    """
    holder, wrong = await of_wallet(bank), "approves something else"
    out = {"amountSats": 2_000, "to": "you@example.org"}
    says = "I take 2,000 sats out of my Boltwork account, to you@example.org. This moves money."
    sent = await proof(bank, KEY, **out)
    assert sent["message"].splitlines()[3] == says
    refused(await withdraw(bank, holder, **out | {"amountSats": 2_001}, **sent), 401, wrong)
    refused(await withdraw(bank, holder, **out | {"to": "me@example.org"}, **sent), 401, wrong)
    refused(await withdraw(bank, holder, amountSats=2_000, **sent), 401, wrong)
    for path in ("/api/auth/siwe", "/api/auth/wallets"):
        refused(await bank.post(path, sent, headers=holder), 401, "not for this")
    refused(await withdraw(bank, holder, **out, **await proof(bank, KEY)), 401, "not for this")
    retold = sent["message"].replace(says, "Sign in to Boltwork.")
    refused(await withdraw(bank, holder, **out, **signed(retold, KEY)), 401, wrong)
    taken(await withdraw(bank, holder, **out, **sent))
    invoice = await buyers_invoice(bank, 1_500)
    sent = await proof(bank, KEY, invoice=invoice)
    assert f"1,500 sats out of my Boltwork account, to the invoice {invoice}." in sent["message"]
    another = await buyers_invoice(bank, 1_500)
    refused(await withdraw(bank, holder, invoice=another, **sent), 401, wrong)
    taken(await withdraw(bank, holder, invoice=invoice, **sent))
    usdc = await message_for(bank, KEY, amountUsdc="1.5")
    assert f"1.500000 USDC out of my Boltwork account, to {address_of_key(KEY)} on" in usdc
    await right(bank)


async def test_a_message_is_asked_for_with_what_may_be_taken_out(bank: Instance) -> None:
    """Else nobody would know what is wrong with it before he has signed."""
    mine: dict[str, Any] = {"address": address_of_key(KEY)}
    usdc = {"amountUsdc": "1", "to": "you@example.org"}
    for wrong, why in (
        ({"amountSats": 1}, "address"),
        ({**mine, "amountSats": 0}, "amountSats"),
        ({**mine, "amountSats": ["1", "2"]}, "once"),
        ({**mine, "to": "you@example.org"}, "amountSats"),
        ({**mine, "invoice": "lnbc1"}, "invoice"),
        ({**mine, **usdc}, "must be an address"),
    ):
        refused(await bank.http.get("/api/auth/nonce", params=wrong), 400, why)


async def test_what_is_refused_costs_no_proof(
    bank: Instance, wallet: ec.EllipticCurvePrivateKey
) -> None:
    """Who has too little pays in, and sends the same once more."""
    rich, other = await of_wallet(bank), await opened_by(bank, wallet)
    sent = {"amountSats": 5_001, **await proof(bank, KEY, amountSats=5_001)}
    made = await code(bank, "auth")
    assert await scan_of(bank, made["lnurl"], wallet) == {"status": "OK"}
    for holder, body in ((rich, sent), (other, {"amountSats": 5_001, **fetching(made)})):
        refused(await withdraw(bank, holder, **body), 402, "has 5000")
        await paid_in(bank, holder, 1)
        await has(bank, holder, 5_001)
        taken(await withdraw(bank, holder, **body))
    await right(bank)


async def test_one_proof_approves_one_withdrawal_of_many_at_once(
    bank: Instance, wallet: ec.EllipticCurvePrivateKey
) -> None:
    """Under however many names they are asked for."""
    rich, other = await of_wallet(bank), await opened_by(bank, wallet)
    sent = {"amountSats": 1_100, **await proof(bank, KEY, amountSats=1_100)}
    made = await code(bank, "auth")
    assert await scan_of(bank, made["lnurl"], wallet) == {"status": "OK"}
    for holder, body in ((rich, sent), (other, {"amountSats": 1_100, **fetching(made)})):
        asked = [withdraw(bank, holder | {"Idempotency-Key": f"{n}"}, **body) for n in range(4)]
        codes = sorted([answer.status_code for answer in await asyncio.gather(*asked)])
        assert codes[0] == 201 and set(codes[1:]) <= {202, 401}, codes
        assert (await standing(bank, holder))["balanceSats"] == 3_900
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
