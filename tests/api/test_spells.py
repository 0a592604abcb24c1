"""Spells over HTTP: published, found, priced, cast by every door, resumed and cancelled."""

from collections.abc import AsyncIterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import advance
from app.advance import Applied
from db import lapsed
from db.audit import audit
from db.lapsed import Unpaid
from db.spells import by_slug
from pricing.money import author_share
from statemachine.owner import Purpose
from tests.world.batch_doors import proof_of
from tests.world.notice_server import NoticeServer
from tests.world.session_fixtures import held
from tests.world.spell_fixtures import CHAIN, Stage, stage_on


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server with an author and a caster."""
    async with stage_on(database_url, tmp_path) as running:
        yield running
        assert [finding.line for finding in await audit(running.at.built.db)] == []


async def shares(stage: Stage, account: str = "author") -> list[tuple[int, int]]:
    """Return what each delivered step was charged, and what the author has of it, in msat."""
    rows = await stage.at.built.db.read_all(
        "SELECT i.share_amount, coalesce(-sum(p.amount) FILTER (WHERE p.account = 'user:' ||"
        " b.author_id), 0)::bigint AS theirs FROM item i JOIN batch b ON b.id = i.batch_id"
        " JOIN entry e ON e.key = 'item:' || i.id || ':delivered'"
        " JOIN posting p ON p.entry_id = e.id WHERE i.state = 'completed'"
        " GROUP BY i.id, i.share_amount, i.step ORDER BY i.step"
    )
    return [(row["share_amount"], row["theirs"]) for row in rows]


async def test_a_spell_is_published_found_and_shown(stage: Stage) -> None:
    """In the document's fields; a new version is another row, and what was is not changed."""
    made = await stage.publish(CHAIN)
    assert (made["slug"], made["version"], made["castable"]) == ("five-steps", 1, True)
    for query in ("tag=landscape", "search=five+steps", "search=changd", "tag=test&search=picture"):
        found = (await stage.at.http.get(f"/api/v1/spells/marketplace?{query}")).json()
        mine = [each for each in found if each["slug"] == "five-steps"]
        assert len(mine) == 1, query
        told = ("spellId", "slug", "name", "description", "uses", "author", "tags", "createdAt")
        assert set(mine[0]) == set(told)
    found = (await stage.at.http.get("/api/v1/spells/marketplace?search=submarine")).json()
    assert found == []
    again = await stage.publish({**CHAIN, "description": "Changed."})
    assert again["version"] == 2 and again["spellId"] == made["spellId"]
    shown = (await stage.at.http.get("/api/v1/spells/five-steps")).json()
    assert shown["description"] == "Changed." and len(shown["steps"]) == 5


async def test_a_spell_may_be_written_in_yaml(stage: Stage) -> None:
    """By the body's media type."""
    headers = {**stage.author, "Content-Type": "application/yaml"}
    text = yaml.safe_dump(CHAIN, sort_keys=False)
    answer = await stage.at.http.post("/api/v1/spells", content=text, headers=headers)
    assert answer.status_code == 201, answer.text


async def test_a_slug_is_one_authors_for_ever(stage: Stage) -> None:
    """Another account can't publish under it, and nobody without an account at all."""
    await stage.publish(CHAIN)
    answer = await stage.at.post("/api/v1/spells", CHAIN, headers=stage.caster)
    assert answer.status_code == 403
    assert (await stage.at.post("/api/v1/spells", CHAIN)).status_code == 401


async def test_what_is_wrong_with_a_document_is_named(stage: Stage) -> None:
    """In the surface's envelope, with a pointer."""
    wrong: dict[str, Any] = deepcopy(CHAIN)
    wrong["steps"][1]["inputs"]["image"] = "{{steps.4.outputs.0}}"
    answer = await stage.at.post("/api/v1/spells", wrong, headers=stage.author)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BAD_REQUEST"
    assert "/steps/1/inputs/image" in answer.json()["error"]["message"]


async def test_a_quote_is_what_a_cast_costs(stage: Stage) -> None:
    """Its lines and the author's share add up to the total, in whole sats; a cast costs that, and
    nothing is bought of whoever wants to pay less."""
    await stage.publish(CHAIN)
    path = "/api/v1/spells/five-steps/quote"
    told = (await stage.at.post(path, {"sampleSize": 10}, headers=stage.caster)).json()
    lines = [step["estimatedCostPts"] for step in told["stepBreakdown"]]
    assert [step["stepId"] for step in told["stepBreakdown"]] == [1, 2, 3, 4, 5]
    assert told["totalCostPts"] == sum(lines) + told["authorSharePts"] > 0
    assert told["authorSharePts"] > 0 and told["authorSharePct"] == 30
    before = await stage.sats(stage.caster)
    dear = {"slug": "five-steps", "maxSats": told["totalCostPts"] - 1}
    for headers in (stage.caster, {}):
        over = await stage.at.post("/api/v1/spells/cast", dear, headers=headers)
        assert (over.status_code, over.json()["error"]["code"]) == (409, "OVER_MAX_SATS")
    cast = await stage.ended(await stage.cast("five-steps"))
    assert cast["status"] == "completed" and len(set(cast["stepGenerationIds"])) == 5
    assert before - await stage.sats(stage.caster) == told["totalCostPts"]
    again = (await stage.at.post(path, {}, headers=stage.caster)).json()
    assert all(step["runtimeMeasured"] for step in again["stepBreakdown"])
    listed = (await stage.at.http.get("/api/v1/spells/marketplace?tag=test")).json()
    assert listed[0]["uses"] == 1


async def test_steps_are_made_from_what_was_made_before_them(stage: Stage) -> None:
    """Each executor is asked with the artifact of the step before, and its bytes."""
    await stage.publish(CHAIN)
    cast = await stage.ended(await stage.cast("five-steps", what="a {{steps.1.outputs.0}} lake"))
    assert cast["status"] == "completed"
    assert stage.painter.asked[0].inputs["prompt"] == "a {{steps.1.outputs.0}} lake, wide"
    rows = await stage.at.built.db.read_all("SELECT step, artifact FROM item ORDER BY step")
    made = {row["step"]: f"artifact:{row['artifact']}" for row in rows}
    asked = {wanted.model: wanted.inputs for wanted in stage.toolbox.asked}
    assert asked["resize"]["image"] == made[1]
    assert asked["retouch"]["input_image"] == made[2]
    assert asked["caption"]["text"] == "a {{steps.1.outputs.0}} lake"


async def test_a_cast_whose_third_step_fails_is_resumed_from_there(stage: Stage) -> None:
    """1 and 2 are charged and the rest is back; resumed, 3 to 5 alone are made, and charged once;
    the author has thirty of each hundred and thirty, to the msat."""
    await stage.publish(CHAIN)
    whole = await stage.sats(stage.caster)
    stage.toolbox.refuses = {"retouch"}
    cast_id = await stage.cast("five-steps")
    cast = await stage.ended(cast_id)
    assert cast["status"] == "failed" and cast["resumable"]
    assert [step["status"] for step in cast["steps"]] == ["completed"] * 2 + ["failed"] * 3
    assert "can’t be made" in cast["steps"][2]["error"]
    told = await shares(stage)
    assert len(told) == 2 and all(theirs == author_share(paid, 30) for paid, theirs in told)
    charged = -(-sum(paid for paid, _ in told) // 1_000)
    assert whole - await stage.sats(stage.caster) == charged == cast["chargedSats"]

    stage.toolbox.refuses = set()
    made = len(stage.painter.asked), [w.model for w in stage.toolbox.asked].count("resize")
    path = f"/api/v1/spells/casts/{cast_id}/resume"
    answer = await stage.at.post(path, {}, headers=stage.caster)
    assert (answer.status_code, answer.json()["castId"]) == (202, cast_id)
    cast = await stage.ended(cast_id)
    assert cast["status"] == "completed" and cast["stepGenerationIds"][:2]
    assert made == (1, 1) == (
        len(stage.painter.asked), [w.model for w in stage.toolbox.asked].count("resize"),
    )  # fmt: skip
    told = await shares(stage)
    assert len(told) == 5 and all(theirs == author_share(paid, 30) for paid, theirs in told)
    spent = whole - await stage.sats(stage.caster)
    assert spent == cast["chargedSats"]
    again = await stage.at.post(path, {}, headers=stage.caster)
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert whole - await stage.sats(stage.caster) == spent
    account = (await by_slug(stage.at.built.db, "five-steps")).author_id  # type: ignore[union-attr]
    rests = await stage.at.built.db.read_one(
        "SELECT balance FROM account WHERE name = %(name)s AND asset = 'msat'",
        name=f"user:{account}",
    )
    assert rests is not None and rests["balance"] == sum(theirs for _, theirs in told)


async def test_a_cast_is_paid_for_by_the_call_and_so_is_its_resumption(stage: Stage) -> None:
    """Without an account: a 402, the proof, and the cast; its rest is owed back, and resumed it is
    a 402 for what is missing."""
    await stage.publish(CHAIN)
    stage.toolbox.refuses = {"crop"}
    body = {"slug": "five-steps", "context": {"parameterOverrides": {"what": "a lake"}}}
    offer = await stage.at.post("/api/v1/spells/cast", body)
    proof = await proof_of(stage.at, offer)
    bought = await stage.at.post("/api/v1/spells/cast", body, headers=proof)
    assert bought.status_code == 202, bought.text
    cast_id = bought.json()["castId"]
    assert offer.json()["instance"].endswith(f"/api/v1/spells/casts/{cast_id}")
    cast = await stage.ended(cast_id, {"Accept": "*/*"})
    assert cast["status"] == "failed" and cast["refunds"][0]["amountSats"] > 0
    stage.toolbox.refuses = set()
    path = f"/api/v1/spells/casts/{cast_id}/resume"
    first = await stage.at.post(path, {})
    second = await stage.at.post(path, {})
    assert first.status_code == second.status_code == 402
    assert second.json()["amountSats"] < offer.json()["amountSats"]
    where = (await stage.at.http.get(second.json()["instance"])).json()
    assert (where["castId"], "invoice" in where) == (cast_id, True)  # though not by its own id
    proof = await proof_of(stage.at, second)
    resumed = await stage.at.post(path, {}, headers=proof)
    assert resumed.status_code == 202, resumed.text
    assert (await stage.ended(cast_id, {"Accept": "*/*"}))["status"] == "completed"


async def test_a_session_pays_for_a_cast_of_tools_that_it_may_use(stage: Stage) -> None:
    """By its macaroon, which must allow each of them; what is not made is on its balance again, and
    its resumption is paid from there."""
    await stage.publish(CHAIN)
    holder = await held(stage.at, 100)
    spell: dict[str, Any] = CHAIN
    tools = [step["tool"] for step in spell["steps"]]
    body, path = {"slug": "five-steps"}, "/api/v1/spells/cast"
    fewer = holder.child(f"tools={','.join(tools[:4])}")
    refused = await stage.at.post(path, body, headers=fewer.headers)
    assert refused.status_code == 403 and "'caption'" in refused.json()["error"]["message"]
    stage.toolbox.refuses = {"retouch"}
    enough = holder.child(f"tools={','.join(tools)}")
    begun = await stage.at.post(path, body, headers=enough.headers)
    assert begun.status_code == 202, begun.text
    cast_id = begun.json()["castId"]
    failed = await stage.ended(cast_id, {"Accept": "*/*"})
    assert (failed["status"], failed["paidWith"]) == ("failed", "session")
    assert (await holder.status())["balanceSats"] == 100 - failed["chargedSats"]
    stage.toolbox.refuses = set()
    path = f"/api/v1/spells/casts/{cast_id}/resume"
    resumed = await stage.at.post(path, {}, headers=enough.headers)
    assert resumed.status_code == 202, resumed.text
    done = await stage.ended(cast_id, {"Accept": "*/*"})
    assert done["status"] == "completed" and "refunds" not in done
    assert (await holder.status())["balanceSats"] == 100 - done["chargedSats"]


async def test_a_cast_is_its_payers_alone(stage: Stage) -> None:
    """Another account, and nobody, knows no such cast: not to look at, not to resume or cancel."""
    await stage.publish(CHAIN)
    cast_id = await stage.cast("five-steps")
    path = f"/api/v1/spells/casts/{cast_id}"
    for headers in (stage.author, {"Accept": "*/*"}):
        assert (await stage.at.http.get(path, headers=headers)).status_code == 404
        for action in ("resume", "cancel"):
            answer = await stage.at.post(f"{path}/{action}", {}, headers=headers)
            assert answer.status_code == 404, answer.text
    assert (await stage.ended(cast_id))["status"] == "completed"


async def test_a_spell_that_an_operator_hides_is_cast_no_more(stage: Stage) -> None:
    """It is in no list, and no address but to its author, who reads why."""
    await stage.publish(CHAIN)
    do, slug = stage.at.built.shell.do, "five-steps"
    hidden = await do(advance.spells.hide, slug, "It copies another one.")
    assert hidden == Applied()
    assert (await stage.at.http.get("/api/v1/spells/marketplace?tag=test")).json() == []
    assert (await stage.at.http.get("/api/v1/spells/five-steps")).status_code == 404
    mine = await stage.at.http.get("/api/v1/spells/five-steps", headers=stage.author)
    assert mine.json()["hidden"] == "It copies another one."
    body = {"slug": "five-steps"}
    answer = await stage.at.post("/api/v1/spells/cast", body, headers=stage.caster)
    assert answer.status_code == 404
    assert await do(advance.spells.hide, slug, None) == Applied()
    assert (await stage.ended(await stage.cast("five-steps")))["status"] == "completed"


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown spell": ({"slug": "no-such"}, 404, "NOT_FOUND"),
    "a slug that none can have": ({"slug": "no\0such"}, 404, "NOT_FOUND"),
    "an unknown parameter": (
        {"slug": "five-steps", "context": {"parameterOverrides": {"x": 1}}}, 400, "BAD_REQUEST",
    ),
    "no slug": ({}, 400, "BAD_REQUEST"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_can_not_be_cast_is_said_in_the_envelope(stage: Stage, name: str) -> None:
    """Before anything is paid."""
    await stage.publish(CHAIN)
    body, status, code = WRONG[name]
    answer = await stage.at.post("/api/v1/spells/cast", body, headers=stage.caster)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_cast_may_be_cancelled(stage: Stage) -> None:
    """What nobody makes yet is not made; a cast that has ended can't be cancelled."""
    await stage.publish(CHAIN)
    cast_id = await stage.cast("five-steps")
    path = f"/api/v1/spells/casts/{cast_id}/cancel"
    answer = await stage.at.post(path, {}, headers=stage.caster)
    assert answer.status_code in (200, 409), answer.text
    await stage.ended(cast_id)
    again = await stage.at.post(path, {}, headers=stage.caster)
    assert again.status_code == 409


async def test_a_cast_that_nobody_pays_for_leaves_nothing(stage: Stage) -> None:
    """Its row goes with its batch and its items, once its invoice has lapsed for long."""
    await stage.publish(CHAIN)
    offer = await stage.at.post("/api/v1/spells/cast", {"slug": "five-steps"})
    assert offer.status_code == 402
    db, batch_id = stage.at.built.db, offer.json()["instance"].rpartition("/")[2]
    await stage.at.built.shell.do(advance.batches.cancel, batch_id)
    rows = [Unpaid(f"{batch_id}:batch", None, None, batch_id, None, Purpose.BATCH)]
    assert await db.run("purged", partial(lapsed.purge, rows=rows)) == 1
    for table in ("batch", "item", "spell_cast"):
        assert await db.read_all(f"SELECT 1 FROM {table}") == []


async def test_the_end_of_a_cast_is_told_by_a_signed_notice(stage: Stage) -> None:
    """In the fields of the document's own example; a cast of which a step is lost has failed."""
    published = await stage.publish(CHAIN)
    async with NoticeServer().running() as server:
        context = {"webhookUrl": server.url, "webhookSecret": "a-secret-of-the-casters"}
        body = {"slug": "five-steps", "context": context}
        begun = await stage.at.post("/api/v1/spells/cast", body, headers=stage.caster)
        assert begun.status_code == 202, begun.text
        [came] = await server.until(1)
        cast = await stage.ended(begun.json()["castId"])
        stage.toolbox.refuses = {"crop"}
        lost = await stage.at.post("/api/v1/spells/cast", body, headers=stage.caster)
        _, failed = await server.until(2)
        stage.toolbox.refuses = set()
        path = f"/api/v1/spells/casts/{lost.json()['castId']}/resume"
        resumed = await stage.at.post(path, {"context": context}, headers=stage.caster)
        assert resumed.status_code == 202, resumed.text
        *_, again = await server.until(3)
    told = came.told
    assert told["event"] == "spell.completed" and told["castId"] == cast["castId"]
    assert (told["spellId"], told["spellSlug"]) == (published["spellId"], "five-steps")
    assert told["generationIds"] == cast["stepGenerationIds"]
    assert len(told["finalOutputs"]) == 1 and told["costUsd"] == cast["costUsd"]
    assert failed.told["event"] == "spell.failed" and failed.told["status"] == "failed"
    assert again.told["event"] == "spell.completed"
    assert again.told["castId"] == lost.json()["castId"]
    assert came.headers["webhook-id"] == told["noticeId"] and came.headers["x-webhook-signature"]


async def test_a_secret_without_a_receiver_is_refused(stage: Stage) -> None:
    """And so is a receiver that can't be one; nothing is bought."""
    await stage.publish(CHAIN)
    for context in ({"webhookSecret": "x" * 24}, {"webhookUrl": "file:///etc/passwd"}):
        body = {"slug": "five-steps", "context": context}
        answer = await stage.at.post("/api/v1/spells/cast", body, headers=stage.caster)
        assert answer.status_code == 400, answer.text
