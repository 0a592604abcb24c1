"""What is owed back is collected by the buyer's wallet, or shown where the wallet can't do that."""

from collections.abc import Sequence

from app.buyer.answers import Owed
from app.buyer.client import Client
from app.buyer.display import Display
from app.buyer.failures import Away, Refused
from app.buyer.payer import Payer
from payments.bolt11 import whole_sats
from payments.rail import Unavailable
from statemachine.public_id import public_id


async def take_back(
    client: Client, payer: Payer, shows: Display, owner_id: str, refunds: Sequence[Owed] | None
) -> bool:
    """Collect what a job or a batch owes back; return whether something changed."""
    changed = False
    for owed in refunds or ():
        if owed["refundState"] != "pending":
            continue
        if owed.get("destination") == "known":
            shows.say(f"{whole_sats(owed['amountSats'])} on the way back to you.")
            continue
        memo = f"What Boltwork owes back of job {public_id(owner_id)[:8]}"
        made = await payer.wallet.make_invoice(owed["amountSats"], memo)
        if isinstance(made, Unavailable):
            _show_owed(shows, owner_id, owed)
            continue
        try:
            taken = await client.refund(owner_id, made)
            changed = True
            shows.say(f"refund: {taken.get('message', '')}")
        except (Refused, Away) as trouble:
            shows.say(f"refund: {trouble}")
            _show_owed(shows, owner_id, owed)
    return changed


def _show_owed(shows: Display, owner_id: str, owed: Owed) -> None:
    by_hand = f"POST /api/jobs/{owner_id}/refund takes it, with an invoice of that amount"
    shows.owed(owed["amountSats"], owed.get("lnurlWithdraw", ""), by_hand)
