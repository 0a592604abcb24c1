"""What the doctor says of the second rail: who settles, what the chain says, and refunds."""

import sqlite3

from app.adapters import make_usdc
from app.commands.findings import Finding, ok, warn, wrong
from app.loops.readiness import trouble_with_usdc
from app.main import utc_now
from app.ports import UsdcRail
from app.settings import Settings
from payments.usdc.outcome import Unknown
from pricing.money import split_usd


async def of_usdc(settings: Settings) -> list[Finding]:
    """Ask the facilitator and the chain, where payments in USDC are accepted."""
    try:
        usdc = make_usdc(settings, utc_now)
    except (OSError, sqlite3.Error):
        return [wrong("USDC", "the stub's file can't be kept", "see BOLTWORK_DATA in the README")]
    if usdc is None:
        return [ok("USDC", "is not accepted: FACILITATOR_URL is not set")]
    try:
        trouble = await trouble_with_usdc(usdc)
        if trouble is not None:
            mend = "check FACILITATOR_URL, FACILITATOR_AUTHORIZATION and CHAIN_RPC_URL"
            return [wrong("USDC", trouble, mend)]
        said = f"is accepted on {usdc.network.title}, by {usdc.pay_to}"
        if settings.facilitator_url is None:
            mend = "set FACILITATOR_URL, USDC_PAY_TO and CHAIN_RPC_URL to earn"
            return [warn("USDC", f"{said}, from a stub: no real money moves", mend)]
        return [ok("USDC", said), await _refunds(usdc)]
    finally:
        await usdc.facilitator.close()
        await usdc.ledger.close()


async def _refunds(usdc: UsdcRail) -> Finding:
    if usdc.refunds is None:
        said = "REFUND_KEY is not set: what is owed in USDC waits"
        return warn("USDC refunds", said, "set it to the key of an address with a little USDC")
    balance = await usdc.ledger.balance_microusdc(usdc.refunds.address)
    if isinstance(balance, Unknown):
        return wrong("USDC refunds", balance.reason, "check CHAIN_RPC_URL")
    whole, millionths = split_usd(balance)
    said = f"come from {usdc.refunds.address}, which has {whole:,}.{millionths:06} USDC"
    return ok("USDC refunds", said) if balance else warn("USDC refunds", said, "send it some")
