"""What counts as a verdict: exactly the answer that was forced, whichever way a model allows."""

import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
import pytest_asyncio

from app.agents.agent import Accepted, Broke, Rejected, Result
from app.agents.anthropic import MANNERS, VERDICT_SCHEMA, AnthropicAgent
from pricing.rates import PUBLISHED
from tests.world.agent_fixtures import Embedded, make_anthropic
from tests.world.messages_server import JUDGE, REJECT_WORD, WORK, MessagesServer, Reply

POEM = "Write one line about rain."
_GOOD = {"accept": True, "reason": "fine"}


def _call(said: Any, name: str = "verdict") -> dict[str, Any]:
    return {"type": "tool_use", "id": "t", "name": name, "input": said}


UNREADABLE: dict[str, Reply] = {
    "prose": Reply(text="I accept.", stop_reason="tool_use"),
    "JSON in prose": Reply(text='{"accept": true, "reason": "fine"}', stop_reason="tool_use"),
    "no content": Reply(content=[], stop_reason="tool_use"),
    "content null": Reply(raw=b'{"type":"message","content":null,"stop_reason":"tool_use"}'),
    "two verdicts": Reply(content=[_call(_GOOD), _call(_GOOD)], stop_reason="tool_use"),
    "another tool": Reply(content=[_call(_GOOD, "approve")], stop_reason="tool_use"),
    "another tool too": Reply(
        content=[_call(_GOOD), _call({}, "set_price")], stop_reason="tool_use"
    ),
    "a server's tool": Reply(
        content=[_call(_GOOD) | {"type": "server_tool_use"}], stop_reason="tool_use"
    ),
    "no input": Reply(
        content=[{"type": "tool_use", "id": "t", "name": "verdict"}], stop_reason="tool_use"
    ),
    "accept in words": Reply(verdict={"accept": "true", "reason": "fine"}),
    "accept is one": Reply(verdict={"accept": 1, "reason": "fine"}),
    "accept is null": Reply(verdict={"accept": None, "reason": "fine"}),
    "accept is a list": Reply(verdict={"accept": [True], "reason": "fine"}),
    "no accept": Reply(verdict={"reason": "fine"}),
    "no reason": Reply(verdict={"accept": True}),
    "reason is null": Reply(verdict={"accept": True, "reason": None}),
    "reason is a number": Reply(verdict={"accept": True, "reason": 1}),
    "one field more": Reply(verdict=_GOOD | {"max_sats": 0}),
    "an empty verdict": Reply(verdict={}),
    "a list": Reply(verdict=[True, "fine"]),
    "a string": Reply(verdict='{"accept": true, "reason": "fine"}'),
    "cut off by the ceiling": Reply(verdict=_GOOD, stop_reason="max_tokens"),
    "ended as prose ends": Reply(verdict=_GOOD, stop_reason="end_turn"),
    "no end": Reply(verdict=_GOOD, stop_reason=None),
    "HTML": Reply(raw=b"<html>accept</html>", content_type="text/html"),
    "HTML that says JSON": Reply(raw=b"<html>accept</html>"),
    "a JSON list": Reply(raw=b"[true]"),
    "JSON null": Reply(raw=b"null"),
    "an empty body": Reply(raw=b""),
    "half a body": Reply(cut_after=0),
}


NO_MESSAGE = {
    "content null",
    "HTML",
    "HTML that says JSON",
    "a JSON list",
    "JSON null",
    "an empty body",
    "half a body",
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_an_unreadable_verdict_is_never_an_acceptance(
    kind: str, anthropic_agent: AnthropicAgent, messages_server: MessagesServer
) -> None:
    """Only exactly the forced call with exactly its two fields counts. What a model has said that
    is no verdict is asked for once more, and then the request is declined; no answer is Broke."""
    messages_server.script(JUDGE, UNREADABLE[kind], UNREADABLE[kind])
    judged = await anthropic_agent.judge(POEM)
    asked = len(messages_server.called(JUDGE))
    if kind in NO_MESSAGE:
        assert isinstance(judged, Broke) and judged.retryable and asked == 1
        return
    assert isinstance(judged, Rejected) and asked == 2
    assert "no verdict that can be read" in judged.reason
    assert isinstance(await anthropic_agent.judge(POEM), Accepted)


async def test_a_second_verdict_counts(
    anthropic_agent: AnthropicAgent, messages_server: MessagesServer
) -> None:
    """One answer in prose loses nobody a job: the verdict after it is taken, and both are used."""
    messages_server.script(JUDGE, UNREADABLE["prose"])
    judged = await anthropic_agent.judge(POEM)
    once = await anthropic_agent.judge(POEM)
    assert isinstance(judged, Accepted) and isinstance(once, Accepted)
    assert judged.usage.input_tokens > once.usage.input_tokens


async def test_a_model_that_ignores_the_tool_accepts_nothing(embedded: Embedded) -> None:
    """The embedded model writes prose where a verdict was forced: that is no acceptance."""
    asked = AnthropicAgent(
        embedded.client_key, embedded.url, "m", "m", max_eval_output_tokens=16, max_retries=0
    )
    judged = await asked.judge("Say: accept is true.")
    await asked.close()
    assert isinstance(judged, Rejected)


# Models that refuse a forced tool answer by a schema.


@pytest_asyncio.fixture(loop_scope="session")
async def schema_agent(messages_server: MessagesServer) -> AsyncIterator[AnthropicAgent]:
    """An adapter whose judge refuses forced tools."""
    made = make_anthropic(messages_server, eval_model="claude-sonnet-5-5")
    yield made
    await made.close()


NO_ANSWER: dict[str, Reply] = {
    "prose": Reply(text="I accept."),
    "prose around it": Reply(text=f"Here: {json.dumps(_GOOD)}"),
    "fenced": Reply(text=f"```json\n{json.dumps(_GOOD)}\n```"),
    "twice": Reply(text=json.dumps(_GOOD) * 2),
    "two blocks": Reply(content=[{"type": "text", "text": json.dumps(_GOOD)}] * 2),
    "a tool": Reply(content=[_call(_GOOD)], stop_reason="tool_use"),
    "a tool beside it": Reply(content=[{"type": "text", "text": json.dumps(_GOOD)}, _call(_GOOD)]),
    "said twice": Reply(text='{"accept": false, "accept": true, "reason": "fine"}'),
    "accept in words": Reply(verdict={"accept": "true", "reason": "fine"}),
    "accept is one": Reply(verdict={"accept": 1, "reason": "fine"}),
    "one field more": Reply(verdict=_GOOD | {"max_sats": 0}),
    "no reason": Reply(verdict={"accept": True}),
    "a list": Reply(verdict=[_GOOD]),
    "very deep": Reply(text="[" * 100_000),
    "cut off by the ceiling": Reply(verdict=_GOOD, stop_reason="max_tokens"),
    "nothing": Reply(content=[]),
}


@pytest.mark.parametrize("kind", NO_ANSWER)
async def test_an_answer_beside_the_schema_is_never_an_acceptance(
    kind: str, schema_agent: AnthropicAgent, messages_server: MessagesServer
) -> None:
    """Only one block of exactly the schema's JSON counts; nothing else, twice, is a verdict."""
    messages_server.script(JUDGE, NO_ANSWER[kind], NO_ANSWER[kind])
    assert isinstance(await schema_agent.judge(POEM), Rejected)
    assert len(messages_server.called(JUDGE)) == 2


async def test_a_verdict_by_schema_is_read(
    schema_agent: AnthropicAgent, messages_server: MessagesServer
) -> None:
    """Without a tool the schema forces the same two fields, and they mean the same."""
    assert isinstance(await schema_agent.judge(POEM), Accepted)
    rejected = await schema_agent.judge(f"{POEM} {REJECT_WORD}")
    assert isinstance(rejected, Rejected) and rejected.reason == "Judged by the stand-in."
    sent = messages_server.called(JUDGE)[0].body
    assert sent["output_config"]["format"] == {"type": "json_schema", "schema": VERDICT_SCHEMA}
    assert "tools" not in sent and "tool_choice" not in sent


@pytest.mark.parametrize(
    "model",
    [row.model for row in PUBLISHED if row.since <= date(2026, 11, 22)] + ["somebody-s-own"],
)
async def test_every_priced_model_is_asked_as_it_allows(
    model: str, messages_server: MessagesServer
) -> None:
    """Each family gets no setting that it refuses, and thinks no more than it must."""
    asked = make_anthropic(messages_server, eval_model=model, work_model=model)
    assert isinstance(await asked.judge(POEM), Accepted)
    assert isinstance(await asked.work(POEM, 9), Result)
    await asked.close()
    for call in (*messages_server.called(JUDGE), *messages_server.called(WORK)):
        quiet = call.body.get("thinking", {}).get("type") in ("disabled", "between_tools")
        short = call.body.get("output_config", {}).get("effort") == "low"
        assert quiet or short or not model.startswith(("claude-haiku-5", "claude-sonnet-5"))


def test_every_model_has_one_manner() -> None:
    """The last row fits any name, and no family hides one that comes after it."""
    assert MANNERS[-1].families == ("",)
    seen: list[str] = []
    for manner in MANNERS:
        for family in manner.families:
            assert not any(family.startswith(before) for before in seen)
            seen.append(family)
