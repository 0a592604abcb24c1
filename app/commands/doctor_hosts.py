"""How several hosts of a Postgres stand, for the doctor: who leads, who follows, who is gone."""

import asyncio

from app.commands.findings import Finding, ok, warn
from db.hosts import are_several
from db.reach import Member, members


async def of_hosts(url: str) -> list[Finding]:
    """Return how each host stands; nothing where there is one."""
    if not are_several(url):
        return []
    return about_hosts(await asyncio.to_thread(members, url))


def about_hosts(found: list[Member]) -> list[Finding]:
    """Say who leads, whom the leader waits for, and who lets nobody in."""
    leaders = [member.at for member in found if member.leads]
    followers = [member.at for member in found if not member.leads and member.trouble is None]
    said = f"{' and '.join(leaders) or 'nobody'} leads"
    said += f", {', '.join(followers)} can take over" if followers else ""
    findings = [ok("hosts", said)]
    if len(leaders) > 1:
        mend = "see what the cluster says: each must follow the one leader"
        findings = [warn("hosts", f"{' and '.join(leaders)} both take writes", mend)]
    if not any(member.waits for member in found if member.leads):
        mend = "let a standby be synchronous (Patroni's synchronous_mode), and bring it back"
        findings.append(
            warn("hosts", "a commit that was answered may be lost with the leader", mend)
        )
    mend = "bring it back: until then there is nobody else to take over"
    findings += [warn("hosts", member.trouble, mend) for member in found if member.trouble]
    return findings
