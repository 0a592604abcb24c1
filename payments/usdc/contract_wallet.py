"""Wallets that are contracts: whether one says that a signature is its own (ERC-1271), if need be
before it has come to be (ERC-6492).

The chain's node is asked by one call that makes no transaction and meets no contract of ours: what
is called is code that we send with it. It makes the wallet, where that is not there yet and the
signature says how, asks it, and returns its answer. Nothing of it stays.
"""

from typing import Final

from payments.usdc.address import Address, keccak

LONGEST_SIGNATURE: Final = 8_192  # bytes
MAGIC: Final = "0x1626ba7e" + "00" * 28  # what a wallet answers that has signed

_IS_VALID: Final = keccak(b"isValidSignature(bytes32,bytes)")[:4]
_UNDEPLOYED: Final = bytes.fromhex("6492" * 16)  # how a signature of one ends (ERC-6492)

# Of the machine that runs contracts.
_LT, _AND, _ISZERO, _EXTCODESIZE, _CODECOPY = b"\x10", b"\x16", b"\x15", b"\x3b", b"\x39"
_RETURNED, _COPY_RETURNED, _POP, _JUMPI, _GAS = b"\x3d", b"\x3e", b"\x50", b"\x57", b"\x5a"
_HERE, _CALL, _STATICCALL, _RETURN, _STOP = b"\x5b", b"\xf1", b"\xfa", b"\xf3", b"\x00"


def program(signer: Address, digest: bytes, signature: bytes) -> str | None:
    """Return the code that asks a wallet whether it has signed a hash, as 0x and hex digits.

    What it returns is MAGIC where that is so. None for a signature that can't be read.
    """
    wallet = bytes.fromhex(signer[2:])
    if len(signature) > LONGEST_SIGNATURE:
        return None
    made = None
    if signature.endswith(_UNDEPLOYED):
        made = _how_it_is_made(signature[:-32])
        if made is None:
            return None
        factory, how, signature = made
    else:
        factory, how = b"", b""
    asked = _IS_VALID + digest + _word(64) + _word(len(signature)) + _padded(signature)
    asking = len(_asking(wallet, 0, 0, 0))
    making = len(_making(wallet, factory, 0, 0)) if made else 0
    data = making + asking
    code = _making(wallet, factory, data, len(how)) if made else b""
    code += _asking(wallet, data + len(how), len(asked), making)
    return "0x" + (code + how + asked).hex()


def _how_it_is_made(wrapped: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return who makes the wallet, by which call, and the signature itself: ABI's (address, bytes,
    bytes).
    """
    if len(wrapped) < 96 or any(wrapped[:12]):
        return None
    how, signature = (_bytes_at(wrapped, at) for at in (32, 64))
    return None if how is None or signature is None else (wrapped[12:32], how, signature)


def _bytes_at(told: bytes, at: int) -> bytes | None:
    begins = int.from_bytes(told[at : at + 32], "big")
    if begins + 32 > len(told):
        return None
    length = int.from_bytes(told[begins : begins + 32], "big")
    found = told[begins + 32 : begins + 32 + length]
    return found if len(found) == length else None


def _making(wallet: bytes, factory: bytes, at: int, length: int) -> bytes:
    """Have the wallet made, unless it is there: whatever comes of it, it is asked then."""
    call = _copied(at, length) + _push(0) * 2 + _push(length) + _push(0) * 2
    call += b"\x73" + factory + _GAS + _CALL + _POP
    look = b"\x73" + wallet + _EXTCODESIZE
    after = len(look) + len(_push(0)) + 1 + len(call)
    return look + _push(after) + _JUMPI + call + _HERE


def _asking(wallet: bytes, at: int, length: int, begins: int) -> bytes:
    """Ask the wallet, and return its first word; nothing where it has answered less.

    An account without code answers nothing, and that is no failure: its length is looked at.
    """
    ask = _copied(at, length) + _push(0) * 2 + _push(length) + _push(0)
    ask += b"\x73" + wallet + _GAS + _STATICCALL
    ask += _RETURNED + b"\x60\x1f" + _LT + _AND + _ISZERO
    told = _push(32) + _push(0) * 2 + _COPY_RETURNED + _push(32) + _push(0) + _RETURN
    nothing = begins + len(ask) + len(_push(0)) + 1 + len(told)
    return ask + _push(nothing) + _JUMPI + told + _HERE + _STOP


def _copied(at: int, length: int) -> bytes:
    """Have what lies behind the code in memory, from its beginning."""
    return _push(length) + _push(at) + _push(0) + _CODECOPY


def _push(number: int) -> bytes:
    return b"\x62" + number.to_bytes(3, "big")


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 32)
