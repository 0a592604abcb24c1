"""The buyers' wallets: they make real BOLT11 invoices, signed, from the world's own dice."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import bolt11 as lightning

NETWORK = "bcrt"
_FEATURES = lightning.Features.from_feature_list(
    {
        lightning.Feature.var_onion_optin: lightning.FeatureState.required,
        lightning.Feature.payment_secret: lightning.FeatureState.required,
    }
)


@dataclass(eq=False)
class Theirs:
    """An invoice of somebody's wallet, and what it received."""

    bolt11: str
    payment_hash: str
    preimage: str
    amount_msat: int
    expires_at: datetime
    received_msat: int = 0


def secret(dice: Random) -> tuple[str, str]:
    """Return a preimage and its hash, hex."""
    preimage = dice.randbytes(32)
    return preimage.hex(), hashlib.sha256(preimage).hexdigest()


class Wallets:
    """Every invoice that a buyer's wallet ever made, by its text and by its hash."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._key = dice.randbytes(32).hex()
        self.by_text: dict[str, Theirs] = {}
        self.by_hash: dict[str, Theirs] = {}

    def make(
        self,
        amount_msat: int,
        expiry_s: int,
        now: datetime,
        payment_hash: str | None = None,
        *,
        signed: bool = True,
    ) -> Theirs:
        """Make an invoice; with a `payment_hash` of another's, as a thief might.

        It costs time to sign one, and is needed only where it is decoded again.
        """
        preimage, own_hash = secret(self._dice)
        payment_hash = payment_hash or own_hash
        expires_at = now.replace(microsecond=0) + timedelta(seconds=expiry_s)
        text = f"lnbcrt-{own_hash}"
        if signed:
            text = self._sign(payment_hash, amount_msat, expiry_s, now)
        theirs = Theirs(text, payment_hash, preimage, amount_msat, expires_at)
        self.by_text[text] = theirs
        self.by_hash.setdefault(payment_hash, theirs)
        return theirs

    def _sign(self, payment_hash: str, amount_msat: int, expiry_s: int, now: datetime) -> str:
        tags = lightning.Tags()
        for char, value in (
            ("p", payment_hash),
            ("s", self._dice.randbytes(32).hex()),
            ("d", "refund"),
            ("x", expiry_s),
            ("9", _FEATURES),
        ):
            tags.add(lightning.TagChar(char), value)
        made_at_s = int(now.timestamp())
        invoice = lightning.Bolt11(NETWORK, made_at_s, tags, lightning.MilliSatoshi(amount_msat))
        return lightning.encode(invoice, self._key)
