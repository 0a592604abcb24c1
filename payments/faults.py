"""The words for how a rail can be made to go wrong: which call, and in which way."""

from typing import Literal

Call = Literal["create_invoice", "look_up_invoice", "pay", "look_up_payment", "balance"]
Fault = Literal["slow", "429", "5xx", "garbage", "cut", "pending", "settle_later", "failed"]
