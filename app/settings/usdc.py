"""The settings of the second rail: USDC, by x402."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from app.settings.artifacts import is_here
from app.settings.forms import HttpAddress

# What reads addresses and keys takes a while to import: it is, where there is one to read.


def _safe(given: str) -> str:
    """Plain HTTP would show the header to everybody on the way, who could then answer for it."""
    address = re.fullmatch(r"http://(\[[^\]]*\]|[^/:]*).*", given)
    if address and not is_here(address[1].strip("[]")):
        raise ValueError("must begin with https://, unless it is on this machine")
    return given


def _header(given: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+( [!-~]+)*", given.get_secret_value()):
        raise ValueError("must be a header's value, like `Bearer` and a key, on one line")
    return given


def _network(given: str) -> str:
    from payments.usdc.network import NETWORKS

    if given not in NETWORKS:
        known = " or ".join(f"{name} ({network.title})" for name, network in NETWORKS.items())
        raise ValueError(f"must be {known}")
    return given


def _address(given: str) -> str:
    from payments.usdc.address import read_address

    address = read_address(given)
    if address is None or int(address, 16) == 0:
        raise ValueError(
            "must be an address of yours, 0x and 40 hex digits; capitals, where there are any, are"
            " its checksum"
        )
    return address


def _private_key(given: SecretStr) -> SecretStr:
    from payments.usdc.address import address_of_key

    digits = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{64})", given.get_secret_value())
    try:
        if digits is not None and address_of_key(bytes.fromhex(digits[1])):
            return given
    except ValueError:  # zero, or beyond the last key of the curve
        pass
    raise ValueError("must be a private key, 64 hex digits")


class UsdcSettings(BaseSettings):
    """Payments in USDC. Each field is the environment variable of its alias."""

    facilitator_url: Annotated[HttpAddress, AfterValidator(_safe)] | None = Field(
        None,
        validation_alias="FACILITATOR_URL",
        description="an x402 facilitator, which settles payments in USDC; without it the stub rail"
        " has a stub of one beside it, and LNbits has none",
    )
    facilitator_authorization: Annotated[SecretStr, AfterValidator(_header)] | None = Field(
        None,
        validation_alias="FACILITATOR_AUTHORIZATION",
        description="the header `Authorization` that it wants from you",
    )
    settle_wait_s: Annotated[int, Field(ge=1, le=60)] = Field(
        3,
        validation_alias="SETTLE_WAIT_S",
        description="how long an answer waits for a payment in USDC; stock clients give up after 5",
    )
    usdc_network: Annotated[str, AfterValidator(_network)] = Field(
        "eip155:84532",
        validation_alias="USDC_NETWORK",
        description="the chain: `eip155:8453` (Base), or `eip155:84532` (its testnet)",
    )
    usdc_pay_to: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        validation_alias="USDC_PAY_TO",
        description="your address there, which buyers pay; its key is not needed here",
    )
    chain_rpc_url: Annotated[HttpAddress, AfterValidator(_safe)] | None = Field(
        None,
        validation_alias="CHAIN_RPC_URL",
        description="a node of that chain (JSON-RPC), asked what became of a payment",
    )
    chain_depth: Annotated[int, Field(ge=0, le=10_000)] = Field(
        12,
        validation_alias="CHAIN_DEPTH",
        description="blocks on top of a block after which what it says is believed",
    )
    refund_key: Annotated[SecretStr, AfterValidator(_private_key)] | None = Field(
        None,
        validation_alias="REFUND_KEY",
        description="private key of the address that refunds in USDC come from; keep little on it",
    )

    def troubles_of_usdc(self, production: bool) -> tuple[tuple[bool, str], ...]:
        """Return what does not go together, each with whether it is so."""
        without = self.facilitator_url is None
        theirs = (self.facilitator_authorization, self.usdc_pay_to, self.chain_rpc_url)
        return (
            (
                without and any(each is not None for each in theirs),
                "FACILITATOR_AUTHORIZATION, USDC_PAY_TO and CHAIN_RPC_URL are of no use without"
                " FACILITATOR_URL",
            ),
            (
                not without and self.usdc_pay_to is None,
                "FACILITATOR_URL needs USDC_PAY_TO, the address of yours that buyers pay",
            ),
            (
                not without and self.chain_rpc_url is None,
                "FACILITATOR_URL needs CHAIN_RPC_URL: only the chain itself can say what became of"
                " a payment that a facilitator did not answer for",
            ),
            (
                production and not without and self.usdc_network != "eip155:8453",
                "BOLTWORK_ENV=production needs USDC that is real: set USDC_NETWORK=eip155:8453",
            ),
        )
