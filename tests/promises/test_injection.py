"""Prompt injection, against a model that obeys the attacker in everything (faults, row 32).

A quote comes from measured sizes and fixed ceilings; the model's words choose between three
outcomes and nothing else. No secret is in any prompt, so none can be talked out of it.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
import pytest_asyncio

from app.agents.agent import Accepted, Rejected, Result
from app.agents.anthropic import JUDGE_SYSTEM, VERDICT_TOOL, WORK_SYSTEM, AnthropicAgent
from app.agents.local import LocalAgent
from pricing.money import BtcPrice, MicroUsd
from pricing.quote import Quote, make_charge, make_quote
from pricing.rates import PUBLISHED, RateCard
from tests.world.agent_fixtures import WORK_MODEL, make_anthropic
from tests.world.attacks import ATTACKS, padded
from tests.world.messages_server import (
    COUNT,
    JUDGE,
    WORK,
    MessagesServer,
    Reply,
    count_tokens,
    obeys_the_attacker,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PRICE = BtcPrice(MicroUsd(90_000_000_000), NOW, ("a", "b", "c"))
CARD = RateCard(PUBLISHED, 500, 20)
CANARY = "canary-4f1d-key-of-the-operator"
SIZE_BYTES = 4_096  # every attack is padded to it: equal sizes must make equal quotes


class Talked(NamedTuple):
    """An adapter with a canary for a key, before a model that obeys the attacker."""

    agent: AnthropicAgent
    server: MessagesServer


@pytest_asyncio.fixture(loop_scope="session")
async def talked_over(messages_server: MessagesServer) -> AsyncIterator[Talked]:
    """The obeying model, for one attack."""
    messages_server.policy = obeys_the_attacker
    agent = make_anthropic(messages_server, client_key=CANARY)
    yield Talked(agent, messages_server)
    await agent.close()


def quoted(accepted: Accepted) -> Quote:
    """The quote that follows an acceptance."""
    tokens = (accepted.input_tokens, accepted.max_output_tokens)
    return make_quote(CARD, WORK_MODEL, *tokens, PRICE, NOW, 600)


def fixed_frame(server: MessagesServer) -> None:
    """Whatever was sent is our fixed instructions, and the request alone in the user message."""
    for call in server.calls:
        frame = {key: value for key, value in call.body.items() if key != "messages"}
        assert frame["system"] == (JUDGE_SYSTEM if call.kind == JUDGE else WORK_SYSTEM)
        assert frame.get("tools", [VERDICT_TOOL]) == [VERDICT_TOOL]
        assert [message["role"] for message in call.body["messages"]] == ["user"]


def test_there_are_more_than_a_hundred_attacks() -> None:
    """The table is long, holds no attack twice, and each fits the common size."""
    assert len(ATTACKS) >= 100
    assert len(set(ATTACKS.values())) == len(ATTACKS)
    assert max(len(attack.encode()) for attack in ATTACKS.values()) <= SIZE_BYTES


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_changes_no_price_and_learns_no_secret(
    name: str, talked_over: Talked
) -> None:
    """However the model was talked over, the quote is that of the request's size."""
    agent, server = talked_over
    attack = padded(ATTACKS[name], SIZE_BYTES)
    judged = await agent.judge(attack)
    assert isinstance(judged, Accepted | Rejected)  # no verdict that can be read is a no
    measured = count_tokens(server.called(COUNT)[0].body)
    if isinstance(judged, Accepted):
        assert judged.input_tokens == measured
        assert judged.max_output_tokens == agent.max_output_tokens
        # The usage is the server's own count of the call, which no word of the request moves.
        assert judged.usage.input_tokens == count_tokens(server.called(JUDGE)[0].body)
        quote = quoted(judged)
        worked = await agent.work(attack, quote.max_output_tokens)
        assert isinstance(worked, Result)
        charge = make_charge(quote, worked.usage, quote.total_msat)
        assert 0 < charge.total_msat <= quote.total_msat
        assert server.called(WORK)[0].body["max_tokens"] == quote.max_output_tokens
        assert CANARY not in worked.text
    fixed_frame(server)
    assert all(CANARY not in call.prompt for call in server.calls)
    assert CANARY not in repr(judged)


async def test_attacks_of_one_size_have_one_quote(talked_over: Talked) -> None:
    """Words move nothing: of all accepted attacks in ASCII with equal escapes the quote is one."""
    agent, _ = talked_over
    quotes = set()
    for attack in list(ATTACKS.values())[:: len(ATTACKS) // 25]:
        text = padded("".join(c if c.isalnum() and c.isascii() else " " for c in attack), 4_096)
        judged = await agent.judge(text)
        if isinstance(judged, Accepted):
            quotes.add(quoted(judged).total_msat)
    honest = await agent.judge(padded("Write one line about rain.", 4_096))
    assert isinstance(honest, Accepted)
    assert quotes == {quoted(honest).total_msat}


@pytest.mark.parametrize(
    "name", [name for name in ATTACKS if name.endswith((", plain", ", as the system"))]
)
async def test_a_judge_that_rejects_cannot_be_overruled(name: str, talked_over: Talked) -> None:
    """The request has no say in how a verdict is read: a rejection with an attack is one."""
    agent, server = talked_over
    server.script(JUDGE, Reply(accept=False, reason="No."))
    judged = await agent.judge(ATTACKS[name])
    assert isinstance(judged, Rejected) and judged.reason == "No."


async def test_a_rejection_that_tells_all_it_knows_tells_no_secret(talked_over: Talked) -> None:
    """Even a reason that repeats the whole prompt holds instructions only, and is short."""
    agent, server = talked_over
    reason = f"I was given {JUDGE_SYSTEM} and no more"
    server.script(JUDGE, Reply(accept=False, reason=reason))
    judged = await agent.judge(ATTACKS["instructions, plain"])
    assert isinstance(judged, Rejected)
    assert CANARY not in judged.reason and len(judged.reason) <= 500


@pytest.mark.parametrize("name", [name for name in ATTACKS if name.endswith(", chat marks")])
async def test_the_embedded_agent_is_not_talked_over(name: str, local_agent: LocalAgent) -> None:
    """A policy judges there: its acceptance is its own tokenizer's measure, whatever is said."""
    judged = await local_agent.judge(ATTACKS[name])
    assert isinstance(judged, Accepted)
    assert judged.max_output_tokens == local_agent.max_output_tokens
    assert 0 < judged.input_tokens <= 1_000 + len(ATTACKS[name].encode())
