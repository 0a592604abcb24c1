"""Sign-In with Ethereum (ERC-4361): a message for people, read strictly, and who has signed it.

A message is for one server, has a nonce of that server, and is signed within minutes of its time.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from payments.usdc.address import Address, keccak, read_address
from payments.usdc.authorization import signer_of

LONGEST: Final = 4096  # characters
NOT_SIGNED: Final = "The signature isn't that of the address in the message."
SIGN_IN: Final = "Sign in to Boltwork. This costs nothing, and moves no money."
AGE: Final = timedelta(minutes=10)  # of a message that is still taken
AHEAD: Final = timedelta(minutes=1)  # the wallet's clock may be

_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
_URI: Final = r"[^\s\x00-\x20\x7f]+"
_MESSAGE: Final = re.compile(
    r"(?:(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://)?(?P<domain>[^\s/?#]+)"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n\n(?:(?P<statement>[^\n]+)\n)?\n"
    rf"URI: (?P<uri>{_URI})\nVersion: 1\nChain ID: (?P<chain>[1-9][0-9]{{0,15}})\n"
    rf"Nonce: (?P<nonce>[a-zA-Z0-9]{{8,96}})\nIssued At: (?P<issued>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expires>{_TIME}))?(?:\nNot Before: (?P<before>{_TIME}))?"
    rf"(?:\nRequest ID: (?P<request>[^\n]*))?"
    rf"(?:\nResources:(?P<resources>(?:\n- {_URI}){{0,32}}))?"
)
_SIGNATURE: Final = re.compile(r"0x[0-9a-fA-F]{130}")


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who has signed to be let in, and with which nonce."""

    address: Address
    nonce: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a message says, and the hash of it that is signed."""

    address: Address
    nonce: str
    chain_id: int
    statement: str | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a message lets nobody in, for its sender."""

    sentence: str


def message(
    domain: str,
    uri: str,
    address: Address,
    nonce: str,
    chain_id: int,
    issued_at: datetime,
    statement: str = SIGN_IN,
) -> str:
    """Return a message as a wallet shows it, and signs it."""
    return (
        f"{domain} wants you to sign in with your Ethereum account:\n{address}\n\n"
        f"{statement}\n\n"
        f"URI: {uri}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\n"
        f"Issued At: {issued_at.isoformat(timespec='seconds').replace('+00:00', 'Z')}"
    )


def personal_digest(text: str) -> bytes:
    """Return what a wallet signs of a text (ERC-191)."""
    said = text.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(said)).encode() + said)


def read_message(text: str, domain: str, now: datetime) -> Message | Wrong:
    """Return what a message says that is for our server, and may be signed at this time. Neither
    its nonce nor a signature is looked at.
    """
    found = _MESSAGE.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return Wrong("The message is not one of ERC-4361.")
    if found["domain"] != domain or urlsplit(found["uri"]).netloc != domain:
        return Wrong(f"The message is for another server: this one is {domain}.")
    address = read_address(found["address"])
    if address is None:
        return Wrong("The address in the message has a wrong checksum (EIP-55).")
    try:
        issued, expires, before = (_moment(found[name]) for name in ("issued", "expires", "before"))
    except ValueError:
        return Wrong("A time in the message can't be read.")
    assert issued is not None, "no message is without it"
    if not now - AGE <= issued <= now + AHEAD:
        return Wrong("The message is too old, or from the future. Ask for a new nonce.")
    if (expires is not None and now >= expires) or (before is not None and now < before):
        return Wrong("The message isn't valid at this time.")
    digest = personal_digest(text)
    return Message(address, found["nonce"], int(found["chain"]), found["statement"], digest)


def is_signed(message: Message, signature: str) -> bool:
    """Say whether the key of the address in a message has signed it. A contract has no key."""
    return signer_of(message.digest, _in_one_form(signature)) == message.address


def signed_in(text: str, signature: str, domain: str, now: datetime) -> SignIn | Wrong:
    """Return who has signed this message to our server by a key. The nonce is not looked at."""
    message = read_message(text, domain, now)
    if isinstance(message, Wrong):
        return message
    if not is_signed(message, signature):
        return Wrong(NOT_SIGNED)
    return SignIn(message.address, message.nonce)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _in_one_form(signature: str) -> str:
    """Return a signature as it is read here: some wallets write its last byte as 0 or 1."""
    if _SIGNATURE.fullmatch(signature) is not None and signature[-2:] in ("00", "01"):
        return signature[:-2] + ("1b" if signature[-2:] == "00" else "1c")
    return signature
