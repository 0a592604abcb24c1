"""What a worker is paid, over HTTP: who may say where it goes, and who is told its token again."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.world.house_fixtures import Instance
from tests.world.lending_fixtures import AT, Lender, buys, lends, open_house, painted, refused

__all__ = ["open_house"]

SECRET, OTHER = "5e" * 32, "07" * 32
NEW = {"name": "my laptop", "payTo": "you@example.org"}
KEY = {"Idempotency-Key": "2c9f6e1b7d8a40f3b5e0c4d2a1968753"}
PRIVATE = Ed25519PrivateKey.generate()


def signed(worker: dict[str, Any], pay_to: str, count: int | None = None) -> str:
    """Sign a change, as README's one line does."""
    number = worker["signedChanges"] if count is None else count
    text = f"boltwork worker pay\n{worker['workerId']}\n{number}\n{pay_to}\n"
    return PRIVATE.sign(text.encode()).hex()


async def test_the_same_registration_makes_one_worker(open_house: Instance) -> None:
    """Its token is shown again to who sends the secret that it was made with, and to nobody else;
    a key that another could choose makes nothing.
    """
    with_secret = NEW | {"secret": SECRET}
    first = await open_house.post(AT, with_secret, headers=KEY)
    again = await open_house.post(AT, with_secret, headers=KEY)
    assert first.status_code == again.status_code == 201
    assert again.json() == first.json() and SECRET not in first.text
    assert (await Lender(open_house, again.json()["token"]).me())["workerId"]
    for other in (NEW, NEW | {"secret": OTHER}):
        refused(await open_house.post(AT, other, headers=KEY), 409, "idempotency_key_reused")
    short = await open_house.post(AT, with_secret, headers={"Idempotency-Key": "1"})
    refused(short, 400, "bad_request")
    elsewhere = await open_house.post(AT, with_secret)  # the secret alone is no name
    assert elsewhere.json()["token"] != first.json()["token"]

    key = {"Idempotency-Key": KEY["Idempotency-Key"][::-1]}
    told = (await open_house.post(AT, NEW, headers=key)).json()
    again = (await open_house.post(AT, NEW, headers=key)).json()
    assert again["workerId"] == told["workerId"]
    assert len(told["token"]) == 52 and len(again["token"]) < 16


async def test_a_key_signs_where_pay_goes(open_house: Instance) -> None:
    """Whoever has the token and not the key redirects nothing, and no signature is good twice."""
    public = PRIVATE.public_key().public_bytes_raw().hex()
    made = await open_house.post(AT, NEW | {"payoutKey": public})
    lender = Lender(open_house, made.json()["token"])
    me = await lender.me()
    assert (me["payoutKey"], me["signedChanges"]) == (public, 0)

    async def named(pay_to: str, signature: str | None = None) -> Any:
        body = {"payTo": pay_to, "name": "taken"} | ({"signature": signature} if signature else {})
        return await lender.asks("PATCH", f"{AT}/me", json=body)

    first, second = (signed(me, f"{name}@example.org") for name in ("first", "second"))
    for attempt in (None, second, signed(me, "first@example.org", 1), "0" * 128):
        answer = await named("first@example.org", attempt)
        refused(answer, 403, "not_allowed")
        assert answer.json()["signedChanges"] == 0
    me = await lender.me()
    assert (me["name"], me["payTo"]) == ("my laptop", "you@example.org")

    changed = await named("first@example.org", first)
    assert (changed.json()["payTo"], changed.json()["signedChanges"]) == ("first@example.org", 1)
    assert "next" not in changed.json()
    assert (await named("first@example.org", first)).status_code == 200  # it goes there already
    refused(await named("you@example.org"), 403, "not_allowed")
    refused(await named("second@example.org", second), 403, "not_allowed")
    again = await named("second@example.org", signed(await lender.me(), "second@example.org"))
    assert again.json()["payTo"] == "second@example.org"


async def test_a_change_is_told_of_and_taken_back(open_house: Instance) -> None:
    """Without a key it waits for a day; naming the old destination ends that."""
    lender = await lends(open_house)
    for _ in range(2):
        body = {"payTo": "thief@example.org"}
        answer = await lender.asks("PATCH", f"{AT}/me", json=body)
        assert answer.json()["payTo"] == "you@example.org"
    me = await lender.me()
    assert me["next"] == answer.json()["next"] and me["next"]["payTo"] == "thief@example.org"
    await lender.asks("PATCH", f"{AT}/me", json={"payTo": "you@example.org"})
    assert "next" not in await lender.me()


async def test_payouts_are_read_a_page_at_a_time(open_house: Instance) -> None:
    """The newest twenty with the rest of the worker, and so many a page."""
    lender = await lends(open_house)
    await buys(open_house, "a boat")
    assert (await lender.brings(await lender.one(), painted())).status_code == 200
    worker = await open_house.built.db.read_one("SELECT account_id FROM worker")
    assert worker is not None
    await open_house.built.db.run(
        "payouts",
        lambda tx: tx.execute(
            "INSERT INTO payout (id, account_id, reason, state, amount, attempts, failures,"
            " refund_to, created_at, updated_at) SELECT %(id)s || ':withdrawal' || i, %(id)s,"
            " 'withdrawn', 'paid', 1000 + i, 1, 0, 'you@example.org', at, at FROM"
            " generate_series(1, 45) i, LATERAL (SELECT now() + (i / 2) * interval '1 s') x(at)",
            id=worker["account_id"],
        ),
    )
    page = await lender.me()
    seen = [each["msat"] for each in page["payouts"]]
    assert len(seen) == 20 and set(seen[:2]) == {1_044, 1_045}
    while mark := page.get("nextBefore"):
        answer = await lender.asks("GET", f"{AT}/me/payouts", params={"before": mark})
        page = answer.json()
        seen += [each["msat"] for each in page["payouts"]]
    assert sorted(seen) == list(range(1_001, 1_046))
    for wrong in ({"before": "1"}, [("before", mark), ("before", mark)]):
        bad = await lender.asks("GET", f"{AT}/me/payouts", params=wrong)
        refused(bad, 400, "bad_request")


async def test_pay_in_usdc_has_an_address_of_its_own(open_house: Instance) -> None:
    """Named with the rest, or later; none is sent before, and one amount is asked for at once."""
    lender = await lends(open_house)
    wallet = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    everything = {"amountUsdc": "all"}
    nowhere = await lender.asks("POST", f"{AT}/me/payouts", json=everything)
    refused(nowhere, 409, "not_possible_now")
    named = await lender.asks("PATCH", f"{AT}/me", json={"payToUsdc": wallet.lower()})
    assert named.json()["next"]["payToUsdc"] == wallet and "payToUsdc" not in named.json()
    made = await open_house.post(AT, NEW | {"payToUsdc": wallet})
    assert made.json()["payToUsdc"] == wallet
    lender = Lender(open_house, made.json()["token"])
    for body in (everything, {"amountUsdc": "0.01"}):
        short = await lender.asks("POST", f"{AT}/me/payouts", json=body)
        refused(short, 402, "insufficient_balance")
    for wrong in ({"payToUsdc": wallet.swapcase()}, {"payToUsdc": "you@example.org"}):
        refused(await lender.asks("PATCH", f"{AT}/me", json=wrong), 400, "bad_request")
    both = {"amountUsdc": "1.5", "amountSats": 1}
    refused(await lender.asks("POST", f"{AT}/me/payouts", json=both), 400, "bad_request")
