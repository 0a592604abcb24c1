"""A town of prepaid balances: a session, a hold and a firm price in every place of theirs."""

from app import advance
from app.advance import Spending
from payments.session_macaroon import Verified
from statemachine import hold as law
from tests.world.house_fixtures import Instance
from tests.world.session_fixtures import Holder, ceiling_sats, held, made

EARLY, LATE = "0" * 31 + "1", "0" * 31 + "2"  # ids of the holds; free ones begin with an f
BROKEN = "0" * 31 + "3"


async def build(instance: Instance) -> dict[str, str]:
    """Bring one to every place where a worker is needed; return their ids, by what they are."""
    ceiling = await ceiling_sats(instance)
    used, other = await held(instance), await held(instance)
    helper = used.child("child=helper", f"budget_sats={9 * ceiling}")
    await helper.asked("REJECT")
    request = (await helper.asked("hello"))["requestId"]
    await used.asked("BREAK-WORK")
    over = await held(instance, 300)
    await over.asked("hello")
    await over.post("close")
    unpaid = await made(instance, 100)
    paused = await held(instance, 100)
    while (await paused.status())["state"] == "active":
        await paused.asked("hello")
    asked, unasked = await _asked(instance, "hello"), await _asked(instance, "hello", pay=False)
    rejected = await _asked(instance, "REJECT")
    return {
        "used": used.session_id,
        "helper": (await _link(instance, request)),
        "request": request,
        "other": other.session_id,
        "over": over.session_id,
        "unpaid": unpaid["sessionId"],
        "unpaid_hash": unpaid["invoice"]["paymentHash"],
        "paused": paused.session_id,
        "asked": asked,
        "unasked": unasked,
        "declined": rejected,
    }


async def build_under_way(instance: Instance) -> dict[str, str]:
    """Leave one in every place that is under way, with no worker to bring it further."""
    running = await held(instance)
    helper = running.child("child=helper", "budget_sats=1000")
    request = await helper.begun("hello")
    holding = await held(instance)
    await _holds(instance, holding)
    row = await instance.built.db.read_one("SELECT day::text FROM free_day")
    assert row is not None
    return {
        "running": running.session_id,
        "running_request": request,
        "running_helper": await _link(instance, request),
        "holding": holding.session_id,
        "early": EARLY,
        "late": LATE,
        "broken": BROKEN,
        "free_early": f"f{EARLY[1:]}",
        "free_late": f"f{LATE[1:]}",
        "day": row["day"],
    }


async def _link(instance: Instance, request: str) -> str:
    query = "SELECT budgets[1] AS link FROM job WHERE id = %(id)s"
    row = await instance.built.db.read_one(query, id=request)
    assert row is not None
    return str(row["link"])


async def _asked(instance: Instance, request: str, *, pay: bool = True) -> str:
    """Ask for a job at a firm price, and have it done where it is paid for."""
    offer = await instance.post("/api/ask", {"request": request})
    assert offer.status_code == 402, offer.text
    row = await instance.built.db.read_one(
        "SELECT job_id FROM invoice WHERE payment_hash = %(hash)s",
        hash=offer.json()["paymentHash"],
    )
    assert row is not None
    if pay:
        await instance.pay(offer.json())
        await instance.until(row["job_id"], "complete", "rejected")
    return str(row["job_id"])


async def _holds(instance: Instance, holder: Holder) -> None:
    """Hold money of a session and of the house, twice each, and end the later ones."""
    built = instance.built
    found = await built.credentials.verify(holder.macaroon)
    assert isinstance(found, Verified)
    spending = Spending(found.grant.links)

    shell, of = built.shell, holder.session_id
    for name in (EARLY, LATE):
        await shell.do(advance.holds.begin, name, "town", 9_000, of, spending)
        await shell.do(advance.holds.begin_free, f"f{name[1:]}", "town", 9_000)
    for name in (LATE, f"f{LATE[1:]}"):
        await shell.do(advance.holds.end, name, law.Used(4_000))
    await shell.do(advance.holds.begin, BROKEN, "town", 9_000, of, spending)
    await shell.do(advance.holds.end, BROKEN, law.Broke(4_000))
