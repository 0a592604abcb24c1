"""A tool as the tools API tells of it."""

from typing import Any

from app.plain_text import one_line
from app.refusal import Refusal, Why
from app.trade.catalogue import Listed, Surface
from app.trade.runtimes import Typical
from pricing.money import BtcPrice, msat_to_sats, usd_number


def unknown_tool(tool_id: str) -> Refusal:
    """Return what is said of a tool that is not there."""
    return Refusal(Why.UNKNOWN, f"Tool with ID '{one_line(tool_id, 80)}' not found.")


def tool_shape(
    listed: Listed, typical: Typical, price: BtcPrice | None, *, whole: bool
) -> dict[str, Any]:
    """Return a tool as the document writes one; `whole`: with its inputs, as a form needs them."""
    offering = listed.offering
    most = offering.most_microusd
    costing: dict[str, Any] = {**offering.costing(), "mostUsd": usd_number(most)}
    if price is not None:
        costing["mostSats"] = msat_to_sats(price.to_msat(most))
    shape: dict[str, Any] = {
        "displayName": offering.name,
        "description": listed.description,
        "toolId": offering.id,
        "commandName": offering.command,
        "costingModel": costing,
        "metadata": {
            "kind": offering.kind.value,
            "outputs": list(offering.outputs),
            "madeBy": listed.made_by,
            "standsIn": listed.stands_in,
            "open": listed.is_open,
            "typicalRuntimeMs": typical.ms,
            "measuredRuns": typical.runs,
            "version": offering.version,
        },
    }
    if offering.licence:
        shape["metadata"]["licence"] = offering.licence
    if whole:
        shape["inputSchema"] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": offering.name,
            **offering.inputs[Surface.TOOLS],
        }
    return shape
