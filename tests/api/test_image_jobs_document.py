"""Image jobs as another network's document has them, sent by schemathesis: what is written for that
is served here, with nothing but the address changed.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from db.audit import audit
from tests.world.batch_doors import sold_by
from tests.world.image_jobs import DOCUMENT, promised
from tests.world.scripted_maker import ScriptedMaker
from tests.world.tool_fixtures import person

CREDITS, CREDIT_SATS = 3, 25
# Whoever keeps the form of the document may still ask for more than a tier allows, or has.
ALSO_RIGHT = ["2xx", "400", "402", "404"]
SEEN_ELSEWHERE = {"202", "402", "429"}  # of a job that waits; of who has too little, or asks on


class Sent:
    """What was answered, and what is wrong with it."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []

    def add(self, recorder: ScenarioRecorder) -> None:
        """Take what a scenario has sent."""
        for case_id, node in recorder.cases.items():
            answer = recorder.interactions.get(case_id)
            if answer is not None and answer.response is not None:
                status = str(answer.response.status_code)
                self.answers[node.value.operation.label, status] += 1
            for check in recorder.checks.get(case_id, ()):
                if check.status == Status.FAILURE and check.failure_info is not None:
                    failure = check.failure_info.failure
                    self.wrong.append(f"{check.name}: {failure.title}\n{failure.message}")


def send(url: str, key: str) -> Sent:
    """Send what the document allows, and what it does not."""
    phases: dict[str, Any] = {
        "examples": {"enabled": False}, "coverage": {"enabled": True},
        "fuzzing": {"enabled": True}, "stateful": {"enabled": True},
    }  # fmt: skip
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "base-url": url,
            "cache": {"enabled": False},
            "suppress-health-check": ["all"],
            "continue-on-failure": True,
            "request-timeout": 60,
            "auth": {"openapi": {"BearerAuth": {"bearer": key}}},
            "generation": {"max-examples": 3, "database": "none", "no-shrink": True},
            "phases": phases,
            "checks": {
                "enabled": True,
                "positive_data_acceptance": {"expected-statuses": ALSO_RIGHT},
            },
        }
    )
    sent = Sent()
    for event in from_schema(schemathesis.openapi.from_dict(DOCUMENT, config=config)).execute():
        if isinstance(event, events.ScenarioFinished):
            sent.add(event.recorder)
        elif isinstance(event, events.NonFatalError):
            sent.wrong.append(f"{event.label}: {event.info.title}\n{event.info.message}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return sent


async def test_all_that_the_document_allows_is_answered_as_it_says(
    database_url: str, tmp_path: Path
) -> None:
    """Every operation; no answer that it does not know, and no credential that opens too much."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as at:
        key = (await person(at, CREDITS * CREDIT_SATS))["x-api-key"]
        sent = await asyncio.to_thread(send, at.url, key)
        assert not sent.wrong, "\n\n".join(sent.wrong)
        wanted = {
            (f"{method} {path}", status)
            for method, path, status, _ in promised()
            if status not in SEEN_ELSEWHERE and (method, status) != ("GET", "200")
        }
        wanted |= {
            (f"GET {path}", "200") for path in DOCUMENT["paths"]
            if "get" in DOCUMENT["paths"][path] and "{id}" not in path
        }  # fmt: skip
        assert wanted <= set(sent.answers), wanted - set(sent.answers)
        assert await audit(at.built.db) == []
