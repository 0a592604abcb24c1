"""The tools that a model is shown: what each takes, says and may do.

What they take is what the contract says of the address that they ask: its limits stand there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.http.contract import schema_of
from app.http.fields import HELD_S, LEAST_KEY

Schema = Mapping[str, Any]
LONGEST_KEY: Final = 255

KINDS: Final = ("job", "run", "cast")  # of what is bought, and how it is looked at
KIND: Final = {
    "type": "string",
    "enum": list(KINDS),
    "default": "job",
    "description": "As the purchase was answered: a job of buy_job or draw, a run of run_tool, or a"
    " cast of cast_spell.",
}
ID: Final = {"type": "string", "description": "The id that the purchase was answered with."}
PURCHASE: Final = {
    "type": "string",
    "minLength": LEAST_KEY,
    "maxLength": LONGEST_KEY,
    "description": "Make it once for this purchase, such as 32 random hex digits, and send the same"
    " on every retry of it: it is then bought once.",
}
MOST: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": 100_000_000,
    "description": "The most that it may cost, in sats. What costs more is refused, and not"
    " charged.",
}
WAIT: Final = {
    "type": "integer",
    "minimum": 0,
    "maximum": HELD_S,
    "description": "How many seconds to wait for the end of it, at most.",
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, as a client lists it."""

    name: str
    title: str
    says: str
    takes: Schema = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    spends: bool = False
    only_reads: bool = False  # it changes nothing

    @property
    def input_schema(self) -> dict[str, Any]:
        """Return what it takes as JSON Schema."""
        takes, needs = dict(self.takes), list(self.needs)
        if self.spends:
            takes |= {"maxSats": MOST, "purchaseKey": PURCHASE}
            needs += ["maxSats", "purchaseKey"]
        return {
            "type": "object",
            "properties": takes,
            "required": needs,
            "additionalProperties": False,
        }


def tools() -> tuple[Tool, ...]:
    """Return all tools, in the order in which a buyer needs them."""
    return (*_looking(), *_buying(), *_after())


def _pictures() -> Schema:
    fields = schema_of("CreateBatchRequest")
    return {name: fields[name] for name in ("job_type", "defaults", "images")}


def _run() -> Schema:
    fields = schema_of("ExecuteRequest")
    return {name: fields[name] for name in ("toolId", "inputs")}


def _spell() -> Schema:
    overrides = {"type": "object", "description": "Values of the spell's parameters."}
    return {"slug": schema_of("CastRequest")["slug"], "parameterOverrides": overrides}


def _request() -> Schema:
    return {"request": schema_of("AskRequest")["request"]}


def _refund_to() -> Schema:
    return {"refundTo": _text(schema_of("CastRequest")["refundTo"])}


def _looking() -> tuple[Tool, ...]:
    return (
        Tool(
            "list_tools",
            "List what is sold",
            "All that is sold here, with its price: tools, models of pictures and films, and spells"
            " (workflows of several tools). With toolId or slug: that one whole, with its inputs.",
            {
                "toolId": _run()["toolId"],
                "slug": _spell()["slug"],
                "search": {"type": "string", "maxLength": 200, "description": "Words of a spell."},
            },
            only_reads=True,
        ),
        Tool(
            "quote",
            "Get a price",
            "What something would cost, for free: send the same fields as you would buy it with"
            " (request for buy_job; images for draw; toolId for run_tool; slug for cast_spell).",
            {**_request(), **_pictures(), **_run(), **_spell()},
            only_reads=True,
        ),
    )


def _buying() -> tuple[Tool, ...]:
    return (
        Tool(
            "buy_job",
            "Buy a text by an agent",
            "An agent reads the request, declines it with a reason or does it, and answers with"
            " text. What isn't used of the price is owed back.",
            {**_request(), **_refund_to(), "waitS": {**WAIT, "default": 25}},
            ("request",),
            spends=True,
        ),
        Tool(
            "draw",
            "Buy pictures or films",
            "Pictures or films from text, 1 to 500 at once. What isn't delivered isn't charged."
            " list_tools names the models.",
            {**_pictures(), **_refund_to()},
            ("images",),
            spends=True,
        ),
        Tool(
            "run_tool",
            "Buy a run of a tool",
            "Runs one tool on the inputs that list_tools shows for its toolId.",
            {**_run(), **_refund_to()},
            ("toolId",),
            spends=True,
        ),
        Tool(
            "cast_spell",
            "Buy a cast of a spell",
            "Runs all the steps of a spell, each on what the ones before it have made.",
            {**_spell(), **_refund_to()},
            ("slug",),
            spends=True,
        ),
    )


def _after() -> tuple[Tool, ...]:
    return (
        Tool(
            "get_job",
            "Look at a purchase",
            "Where it stands, and its result. With waitS it waits for the end.",
            {"id": ID, "kind": KIND, "waitS": {**WAIT, "default": 0}},
            ("id",),
            only_reads=True,
        ),
        Tool(
            "cancel",
            "Cancel a purchase",
            "What nobody has begun yet is not made, and not charged.",
            {"id": ID, "kind": KIND},
            ("id",),
        ),
        Tool(
            "balance",
            "Show the balance",
            "What the session of the macaroon, or the account of the key, has left that this"
            " connection sends as Authorization.",
            only_reads=True,
        ),
        Tool(
            "claim_refund",
            "Take back what is owed",
            "Pays what is owed back for a purchase, or of a session or an account, to a BOLT11"
            " invoice of exactly that amount or to a Lightning address or LNURL.",
            {
                "id": {**ID, "description": "Of the purchase; left out for an account's."},
                "kind": {**KIND, "enum": [*KINDS, "session", "account"]},
                "invoice": _text(schema_of("ClaimRefundRequest")["invoice"]),
                **_refund_to(),
            },
        ),
    )


def _text(schema: Schema) -> Schema:
    """Return a text's rule without what only this project's readers of schemas know."""
    known = ("minLength", "maxLength", "description")
    return {"type": "string", **{name: schema[name] for name in known if name in schema}}
