"""The chains that USDC is taken on, and its contract there.

The name that a signature is made under (EIP-712) is not the same on all of them: a client that is
told the wrong one signs what the contract refuses.
"""

from dataclasses import dataclass, field
from typing import Final

from payments.usdc.address import Address, keccak

_DOMAIN: Final = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


@dataclass(frozen=True, slots=True)
class Network:
    """A chain with its USDC contract."""

    caip2: str  # how x402 names it
    chain_id: int
    title: str  # for people
    token: Address
    token_name: str
    token_version: str
    domain_separator: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        separator = domain_separator(self.token_name, self.token_version, self.chain_id, self.token)
        object.__setattr__(self, "domain_separator", separator)


def domain_separator(name: str, version: str, chain_id: int, contract: Address) -> bytes:
    """Return the hash that binds a signature to one contract on one chain (EIP-712)."""
    return keccak(
        _DOMAIN
        + keccak(name.encode())
        + keccak(version.encode())
        + chain_id.to_bytes(32, "big")
        + bytes.fromhex(contract[2:]).rjust(32, b"\0")
    )


BASE: Final = Network(
    "eip155:8453",
    8453,
    "Base",
    Address("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"),
    "USD Coin",
    "2",
)
BASE_SEPOLIA: Final = Network(
    "eip155:84532",
    84532,
    "Base Sepolia (testnet)",
    Address("0x036CbD53842c5426634e7929541eC2318f3dCF7e"),
    "USDC",
    "2",
)
NETWORKS: Final = {network.caip2: network for network in (BASE, BASE_SEPOLIA)}
