"""What a payer does at the third door of a 402: reads what it asks for, signs, reads the answer."""

import base64
import json
from typing import Any

import httpx2

from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.payment import UsdcOffer
from payments.usdc.x402 import read_header
from pricing.money import MicroUsdc
from tests.world.house_fixtures import Instance
from tests.world.usdc_fixtures import Payer, header


def asked_in(answer: httpx2.Response) -> dict[str, Any]:
    """Return what a 402 asks for, by its header."""
    told = read_header(answer.headers["PAYMENT-REQUIRED"])
    assert told is not None
    return told


def told_in(answer: httpx2.Response) -> dict[str, Any]:
    """Return what became of a payment, by the answer's header."""
    told: dict[str, Any] = json.loads(base64.b64decode(answer.headers["PAYMENT-RESPONSE"]))
    return told


def signed(shop: Instance, payer: Payer, asked: dict[str, Any], **changed: Any) -> dict[str, str]:
    """Return the header of a payment for what is asked, as a stock client makes it."""
    [offered] = asked["accepts"]
    usdc = shop.built.usdc
    assert usdc is not None and offered["payTo"] == usdc.pay_to
    amount, window_s = MicroUsdc(int(offered["amount"])), offered["maxTimeoutSeconds"]
    offer = UsdcOffer(BASE_SEPOLIA, usdc.pay_to, amount, window_s)
    now_s = int(shop.built.clock().timestamp())
    changed = {"valid_before_s": now_s + window_s, **changed}
    return {"PAYMENT-SIGNATURE": header(payer.pays(offer, now_s, **changed))}
