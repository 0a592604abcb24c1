"""What a server answers of accounts and their keys, checked strictly before it is used."""

from collections.abc import Mapping
from typing import Any, cast

from app.buyer import answer_fields as fields
from app.buyer.answer_fields import Invoice


def user(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose an account is, and what is on it."""
    fields.read(
        "the account",
        parsed,
        {"accountId": fields.id_, "balanceSats": fields.whole, "balanceUsdc": fields.dollars},
    )
    return dict(parsed)


def history(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an account has spent: by the day, and by what it was spent on."""
    amounts: dict[str, fields.Check] = {"sats": fields.whole, "usdc": fields.dollars}
    fields.read("the history", parsed, {**amounts, "days": fields.list_, "tools": fields.list_})
    for name, what in (("days", "date"), ("tools", "toolId")):
        for line in parsed[name]:
            fields.read("the history", line, {what: fields.text, **amounts})
    return dict(parsed)


def deposit(parsed: Mapping[str, Any]) -> Invoice:
    """Return the invoice of a deposit."""
    fields.read("the deposit", parsed, {"invoice": fields.invoice})
    return cast(Invoice, parsed["invoice"])


def deposits(parsed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the invoices of an account that wait to be paid."""
    fields.read("the account", parsed, {"deposits": fields.list_})
    for one in parsed["deposits"]:
        fields.read("the deposit", one, {"paymentRequest": fields.text})
    return list(parsed["deposits"])


def withdrawn(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a withdrawal stands."""
    may: dict[str, fields.Check] = {
        "lnurlWithdraw": fields.text,
        "amountSats": fields.whole,
        "amountUsdc": fields.text,
    }
    fields.read("the answer", parsed, {"withdrawal": fields.mapping})
    fields.read("the withdrawal", parsed["withdrawal"], {"refundState": fields.word}, may)
    return dict(parsed["withdrawal"])


def api_keys(parsed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of an account."""
    fields.read("the keys", parsed, {"apiKeys": fields.list_})
    for one in parsed["apiKeys"]:
        fields.read(
            "the key",
            one,
            {"id": fields.id_, "name": fields.text, "key": fields.text, "spentSats": fields.whole},
        )
    return list(parsed["apiKeys"])


def made_key(parsed: Mapping[str, Any]) -> tuple[str, str]:
    """Return the id of a key that was just made, and the key."""
    fields.read("the key", parsed, {"id": fields.id_, "apiKey": fields.text})
    return parsed["id"], parsed["apiKey"]


def connecting(parsed: Mapping[str, Any]) -> tuple[str, Invoice]:
    """Return the id of a request to connect a wallet, which is a secret, and its invoice."""
    needed: dict[str, fields.Check] = {
        "requestId": fields.id_,
        "depositToAddress": fields.text,
        "amountSats": fields.whole,
    }
    fields.read("the request", parsed, needed, {"paymentHash": fields.text})
    invoice = Invoice(paymentRequest=parsed["depositToAddress"], amountSats=parsed["amountSats"])
    if "paymentHash" in parsed:
        invoice["paymentHash"] = parsed["paymentHash"]
    return parsed["requestId"], invoice


def connected(parsed: Mapping[str, Any]) -> str | None:
    """Return the key of a request that is paid; None while it isn't."""
    fields.read("the request", parsed, {"status": fields.text}, {"apiKey": fields.text})
    return parsed.get("apiKey")
