"""Asks every part of an installation how it is; a finding that is bad says how to mend it."""

from dataclasses import dataclass

from app.key_rotation import check_secret
from app.main import make_parts
from app.parts import Parts
from app.settings import Settings
from db.engine import DatabaseAway
from payments.seal import BadSecret


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, and how it is."""

    part: str
    well: bool
    said: str
    mend: str = ""

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        mark = "ok " if self.well else "BAD"
        return f"{mark} {self.part}: {self.said}" + (f" -> {self.mend}" if self.mend else "")


async def examine(settings: Settings, database_url: str) -> list[Finding]:
    """Return what each part says of itself."""
    parts = make_parts(settings, database_url)
    findings = []
    try:
        await parts.db.open()
        await parts.db.read_one("SELECT count(*) AS n FROM job")
        findings.append(Finding("database", True, "answers, and its tables are current"))
        findings.append(await _keys(parts))
    except DatabaseAway as away:
        findings.append(Finding("database", False, str(away), "check DATABASE_URL"))
    finally:
        await parts.db.close()
    rail = await parts.rail.healthy()
    said = rail.reason if rail else f"{parts.rail.name} answers"
    findings.append(
        Finding("rail", rail is None, said, "check LNBITS_URL and LNBITS_API_KEY" if rail else "")
    )
    price = await parts.oracle.price()
    bad = not hasattr(price, "microusd_per_btc")
    findings.append(
        Finding(
            "price",
            not bad,
            getattr(price, "reason", "") or getattr(price, "note", "") or "sources agree",
            "check BTC_PRICE_SOURCES, or set BTC_PRICE_USD_FALLBACK" if bad else "",
        )
    )
    agent = await parts.agent.healthy()
    said = agent.reason if agent else f"{parts.agent.name} can be asked"
    mend = "check ANTHROPIC_API_KEY, or run scripts/setup for the embedded model" if agent else ""
    findings.append(Finding("agents", agent is None, said, mend))
    await parts.rail.close()
    await parts.agent.close()
    await parts.oracle.close()
    return findings


async def _keys(parts: Parts) -> Finding:
    try:
        count = await check_secret(parts.db, parts.credentials.seal)
    except BadSecret as bad:
        return Finding("keys", False, "the secret is not theirs", str(bad))
    return Finding("keys", True, f"the secret opens all {count}" if count else "none is made yet")
