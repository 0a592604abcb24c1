"""How the Boltwork is that runs here already: whether money moves through it, by its own readyz."""

from typing import Any

from app.buyer.client import Client
from app.buyer.failures import ClientError, Refused
from app.commands.findings import Finding, ok, warn, wrong

ANSWER_S = 20.0  # its first look at its parts may take a while
MENDS = {
    "promises": "run `boltwork worker`, and look at its log",
    "listener": "look at its log, and at what lies between it and Postgres; else restart it",
    "loops": "look at its log; else restart it",
}
LOOK = "look at its log"
STOPPED = {"selling": "nothing new is sold", "paying-out": "what is owed waits"}


async def answers(url: str, within_s: float) -> bool:
    """Say whether a Boltwork answers there."""
    async with Client(url, timeout_s=within_s, tries=1) as client:
        try:
            return await client.call("GET", "/api/healthz") == {"status": "ok"}
        except ClientError:
            return False


async def of_running(url: str) -> list[Finding]:
    """Return what the Boltwork at this address sees of itself: its parts, loops and switches."""
    async with Client(url, timeout_s=ANSWER_S, tries=1) as client:
        try:
            told = await client.call("GET", "/api/readyz")
        except Refused as refused:
            told = refused.body
        except ClientError as away:
            return [wrong("running", str(away), LOOK)]
    return about_running(told)


def about_running(told: dict[str, Any]) -> list[Finding]:
    """Return the findings of what a readyz has answered."""
    ill = [
        wrong(
            f"running {part}", str(said.get("reason", "it is unavailable")), MENDS.get(part, LOOK)
        )
        for part, said in told.items()
        if isinstance(said, dict) and said.get("status") == "unavailable" and part != "chat"
    ]
    if not ill and told.get("status") != "ok":
        ill = [wrong("running", "it does not say how it is", LOOK)]
    switches = told.get("switches")
    for name, is_on in switches.items() if isinstance(switches, dict) else ():
        if is_on is False:
            what = STOPPED.get(name, "it is off")
            ill.append(warn(name, f"switched off: {what}", f"`boltwork {name} on`, when you like"))
    return ill or [ok("running", "money moves: its loops turn, and promises are kept")]
