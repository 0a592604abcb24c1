"""The auditor on prepaid money: whatever is broken by hand is found and named."""

import itertools
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import sqlalchemy

from db.audit import audit
from db.migrate import migrate
from tests.world.house_fixtures import instance_of
from tests.world.prepaid_town import build, build_under_way
from tests.world.scripted_agent import ScriptedAgent
from tests.world.town import Town, copied, found, tamper

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
async def town(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """The town, built once; each test gets a copy of its database."""
    name = f"prepaid_town_{next(_numbers)}"
    template = sqlalchemy.make_url(postgres)
    admin = template.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}".encode())
    url = template.set(database=name).render_as_string(hide_password=False)
    migrate(url)
    folder, names = tmp_path_factory.mktemp("town"), dict[str, str]()
    async with instance_of(url, folder, agent=ScriptedAgent()) as instance:
        names |= await build(instance)
        assert await audit(instance.built.db) == []
    async with instance_of(url, folder, agent=ScriptedAgent(), worker=False) as instance:
        names |= await build_under_way(instance)
        assert await audit(instance.built.db) == []
    yield Town(url, names)


@pytest.fixture
def copy(town: Town) -> Iterator[Town]:
    """A copy of the town, to be broken."""
    with copied(town.url) as url:
        yield Town(url, town.jobs)


async def test_healthy_balances_give_no_finding(copy: Town) -> None:
    """Sessions, requests, budgets, holds and firm prices in every place: nothing is wrong."""
    assert await found(copy.url) == []


def entry(key: str) -> str:
    """Return the id of an entry, in SQL."""
    return f"(SELECT id FROM entry WHERE key = '{key}')"


# What was done by hand → the invariants that name it, and what they name.
BROKEN: dict[str, tuple[list[str], list[tuple[int, str]]]] = {
    "a balance raised": (
        ["UPDATE account SET balance = balance + 1000 WHERE name = 'session:{used}'"],
        [(1, "session:{used}")],
    ),
    "a balance raised by a thief who keeps the books in balance": (
        [
            "INSERT INTO entry (id, key, asset, at) VALUES (99999, 'gift', 'msat', now())",
            "INSERT INTO posting VALUES (99999, 'revenue:work', 7000),"
            " (99999, 'session:{used}', -7000)",
            "UPDATE account SET balance = balance + 7000 WHERE name = 'session:{used}'",
            "UPDATE account SET balance = balance - 7000 WHERE name = 'revenue:work'",
        ],
        [(5, "gift")],
    ),
    "a balance moved from one session to another": (
        [
            "INSERT INTO entry (id, key, asset, at) VALUES (99999, 'move', 'msat', now())",
            "INSERT INTO posting VALUES (99999, 'session:{other}', 7000),"
            " (99999, 'session:{used}', -7000)",
            "UPDATE account SET balance = balance + 7000 WHERE name = 'session:{used}'",
            "UPDATE account SET balance = balance - 7000 WHERE name = 'session:{other}'",
        ],
        [(5, "move")],
    ),
    "a session deleted": (
        ["DELETE FROM session WHERE id = '{other}'"],
        [(7, "session:{other}")],
    ),
    "a session set to expired, and its balance kept": (
        ["UPDATE session SET state = 'expired' WHERE id = '{paused}'"],
        [(7, "session:{paused}")],
    ),
    "a session set to active without its deposit": (
        ["UPDATE session SET state = 'active' WHERE id = '{unpaid}'"],
        [(4, "{unpaid}")],
    ),
    "a deposit taken back from under its session": (
        ["UPDATE invoice SET state = 'expired' WHERE id = '{other}:deposit'"],
        [(4, "{other}")],
    ),
    "a deposit set to settled by hand": (
        ["UPDATE invoice SET state = 'settled', received_msat = 100000"
         " WHERE id = '{unpaid}:deposit'"],
        [(5, "invoice:{unpaid_hash}:settled")],
    ),
    "more set aside than requests hold": (
        ["UPDATE session SET reserved_msat = reserved_msat + 1 WHERE id = '{running}'"],
        [(2, "{running}")],
    ),
    "nothing set aside for a request that runs": (
        ["UPDATE session SET reserved_msat = 0 WHERE id = '{running}'"],
        [(2, "{running}")],
    ),
    "nothing set aside for a hold": (
        ["UPDATE session SET reserved_msat = 0 WHERE id = '{holding}'"],
        [(2, "{holding}")],
    ),
    "the rest of a closed session kept": (
        ["DELETE FROM payout WHERE id = '{over}:rest1'"],
        [(7, "refund:{over}:rest1"), (5, "payout:{over}:rest1:owed")],
    ),
    "the rest of a closed session made smaller": (
        ["UPDATE payout SET amount = amount - 1000 WHERE id = '{over}:rest1'"],
        [(7, "refund:{over}:rest1"), (5, "payout:{over}:rest1:owed")],
    ),
    "a budget used beyond its limit": (
        [
            "ALTER TABLE allowance DROP CONSTRAINT ck_allowance_used_within_limit",
            "UPDATE allowance SET used_msat = limit_msat + 1 WHERE link = '{helper}'",
        ],
        [(2, "{helper}")],
    ),
    "a budget that has forgotten what was used": (
        ["UPDATE allowance SET used_msat = 0 WHERE link = '{helper}'"],
        [(2, "{helper}")],
    ),
    "a budget that has forgotten what is set aside": (
        ["UPDATE allowance SET used_msat = 0 WHERE link = '{running_helper}'"],
        [(2, "{running_helper}")],
    ),
    "a budget deleted": (
        ["DELETE FROM allowance WHERE link = '{helper}'"],
        [(2, "{helper}")],
    ),
    "a request moved to another session": (
        ["UPDATE job SET session_id = '{other}' WHERE id = '{request}'"],
        [(6, "job:{request}:reserved"), (6, "job:{request}:ended")],
    ),
    "a request that lost what was set aside for it": (
        [f"DELETE FROM posting WHERE entry_id = {entry('job:{running_request}:reserved')}",
         "DELETE FROM entry WHERE key = 'job:{running_request}:reserved'"],
        [(6, "job:{running_request}:reserved"), (1, "job:{running_request}")],
    ),
    "a request charged more than its rows say": (
        [
            f"UPDATE posting SET amount = amount - 1000 WHERE account = 'revenue:work'"
            f" AND entry_id = {entry('job:{request}:ended')}",
            f"UPDATE posting SET amount = amount + 1000 WHERE account = 'session:{{used}}'"
            f" AND entry_id = {entry('job:{request}:ended')}",
            "UPDATE account SET balance = balance + 1000 WHERE name = 'revenue:work'",
            "UPDATE account SET balance = balance - 1000 WHERE name = 'session:{used}'",
        ],
        [(6, "job:{request}:ended")],
    ),
    "a request whose promise is lost": (
        ["DELETE FROM procrastinate_jobs WHERE lock = '{running_request}:judge'"],
        [(8, "{running_request}:judge")],
    ),
    "a request set to failed by hand": (
        ["UPDATE job SET state = 'failed', completed_at = now() WHERE id = '{running_request}'"],
        [(6, "job:{running_request}:ended"), (7, "job:{running_request}"), (2, "{running}")],
    ),
    "a hold set to dropped by hand": (
        ["UPDATE hold SET state = 'dropped', ended_at = now() WHERE id = '{early}'"],
        [(7, "hold:{early}"), (5, "hold:{early}:ended"), (2, "{holding}")],
    ),
    "a hold deleted": (
        ["DELETE FROM hold WHERE id = '{early}'"],
        [(7, "hold:{early}"), (5, "hold:{early}:held"), (2, "{holding}")],
    ),
    "a hold charged more than its entry says": (
        ["UPDATE hold SET charge_msat = charge_msat + 1 WHERE id = '{late}'"],
        [(5, "hold:{late}:ended")],
    ),
    "what a call that broke has cost forgotten": (
        ["UPDATE hold SET spent_msat = 0 WHERE id = '{broken}'"],
        [(5, "hold:{broken}:failed")],
    ),
    "what a call that broke has cost made up": (
        ["UPDATE hold SET state = 'dropped', spent_msat = 1 WHERE id = '{late}'"],
        [(5, "hold:{late}:failed")],
    ),
    "a free hold that a session is made to pay": (
        ["UPDATE hold SET day = NULL, session_id = '{holding}' WHERE id = '{free_late}'"],
        [(5, "hold:{free_late}:held"), (5, "hold:{free_late}:ended"), (2, "{day}")],
    ),
    "a free day that has forgotten what was given": (
        ["UPDATE free_day SET used_msat = used_msat - 1"],
        [(2, "{day}")],
    ),
    "a free day deleted": (["DELETE FROM free_day"], [(2, "{day}")]),
    "a free hold deleted": (
        ["DELETE FROM hold WHERE id = '{free_early}'"],
        [(2, "{day}"), (7, "hold:{free_early}"), (5, "hold:{free_early}:held")],
    ),
    "a firm price raised after it was offered": (
        ["UPDATE invoice SET amount_msat = amount_msat + 1000 WHERE id = '{unasked}:ask'"],
        [(6, "{unasked}")],
    ),
    "a firm price never paid, and its job done": (
        ["UPDATE invoice SET state = 'expired' WHERE id = '{asked}:ask'"],
        [(4, "{asked}"), (6, "{asked}")],
    ),
    "what a job at a firm price did not need kept": (
        ["DELETE FROM payout WHERE id = '{asked}:back'"],
        [(6, "{asked}"), (7, "refund:{asked}:back")],
    ),
    "the price of work that was rejected kept": (
        ["DELETE FROM payout WHERE id = '{declined}:back'"],
        [(6, "{declined}"), (7, "refund:{declined}:back")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_broken_by_hand_is_found_and_named(copy: Town, what: str) -> None:
    """Each invariant, broken in SQL: the finding has its number and names what is wrong."""
    statements, expected = BROKEN[what]
    tamper(copy.url, *(statement.format(**copy.jobs) for statement in statements))
    findings = await found(copy.url)
    named = {(finding.invariant, finding.who) for finding in findings}
    assert {(number, who.format(**copy.jobs)) for number, who in expected} <= named, findings
    touched = [name for name, each in copy.jobs.items() if any(each in who for _, who in named)]
    assert len(touched) <= 4, findings  # what is healthy is not accused
    assert all(finding.what and str(finding.invariant) in finding.line for finding in findings)
