"""The law, held to its stories: each is played, together they are the whole of every table."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections import Counter, defaultdict
from dataclasses import replace
from enum import StrEnum
from typing import Any

import pytest

import statemachine
from statemachine import entries
from statemachine.decision import Decision
from statemachine.entries import Asset, Entry, Kind
from statemachine.machine import IllegalTransition, Machine
from statemachine.owner import Purpose, Reason
from statemachine.promises import KINDS
from tests.stories.shelf import LAWS, STORIES
from tests.stories.telling import Law, Move, Step, Story

TOLD = [story for stories in STORIES.values() for story in stories]
# Of people's accounts, which have no states: tests/trade/test_accounts.py tells of them.
NO_STATES = {Reason.WITHDRAWN, Purpose.CREDIT}
STEPS = [step for story in TOLD for step in story.steps]


def titled(story: Story) -> str:
    """Return a story as a test id."""
    return f"{story.law.machine.name}: {story.title}"


def posted(booked: tuple[Entry, ...]) -> dict[tuple[str, Asset], dict[str, int]]:
    """Return what entries post, by their names, assets and accounts: debits are positive."""
    names = Counter(entry.key for entry in booked)
    assert max(names.values(), default=1) == 1
    return {(e.key, e.asset): {p.account.name: p.amount for p in e.postings} for e in booked}


def moved(moves: tuple[Move, ...]) -> dict[tuple[str, Asset], dict[str, int]]:
    """Return what the moves of a story post, likewise."""
    told: dict[tuple[str, Asset], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for move in moves:
        told[move.under, move.asset][move.source] += move.amount
        told[move.under, move.asset][move.target] -= move.amount
    return {key: dict(legs) for key, legs in told.items()}


def follows(step: Step, before: Any, decision: Decision[Any]) -> None:
    """Hold a decision to all that a step says, and to nothing else."""
    first = decision.facts if step.source is None else before
    assert decision.facts == replace(first, state=step.state, **dict(step.facts))
    assert posted(decision.entries) == moved(step.moves)
    assert decision.promises == step.promises
    assert tuple((w.id, w.purpose, w.amount_msat) for w in decision.wanted) == step.wants
    assert tuple((o.id, o.reason, o.amount, o.asset) for o in decision.owed) == step.owes
    assert decision.dropped == step.drops


@pytest.mark.parametrize("story", TOLD, ids=titled)
def test_the_law_goes_as_it_is_told(story: Story) -> None:
    """Facts, money, promises, invoices and payouts of each step are those told, and no others."""
    facts = story.first
    for step in story.steps:
        if step.error is not None:
            with pytest.raises(step.error):
                step.decided(story.law, facts)
            continue
        decision = step.decided(story.law, facts)
        follows(step, facts, decision)
        facts = decision.facts


@pytest.mark.parametrize("name", LAWS)
def test_the_stories_are_the_whole_table(name: str) -> None:
    """Every arc of a machine is told in a story, and no machine has another."""
    told = {arc for story in STORIES[name] for step in story.steps for arc in step.arcs}
    assert told == set(LAWS[name].machine.arcs)


def cells() -> list[tuple[str, StrEnum, type]]:
    """Return every state with every event of every machine."""
    return [
        (name, state, event)
        for name, law in LAWS.items()
        for state in law.machine.states
        for event in law.events
    ]


@pytest.mark.parametrize(
    ("name", "state", "kind"), cells(), ids=[f"{n}-{s}-{e.__name__}" for n, s, e in cells()]
)
def test_what_no_story_tells_is_refused(name: str, state: StrEnum, kind: type) -> None:
    """In every state, an event goes through where a story says so, and is refused elsewhere."""
    law, stories = LAWS[name], STORIES[name]
    steps = [step for story in stories for step in story.steps]
    event = next(step.event for step in steps if isinstance(step.event, kind))
    assert event is not None
    told = any(event.kind is e and state is s for step in steps for e, s, _ in step.arcs)
    assert law.machine.allows(state, event.kind) is told
    if not told:
        facts = next(story.first for story in stories if story.first is not None)
        with pytest.raises(IllegalTransition):
            law.decide(replace(facts, state=state), event)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_every_event_can_be_told(law: Law) -> None:
    """An event of a table is told to it, or added by the law itself in a story."""
    added = {event for step in STEPS for _, event in step.passes}
    kinds = [event.kind for event in law.events]
    assert len(kinds) == len(set(kinds))
    events = {event for event, _, _ in law.machine.arcs}
    assert set(kinds) | (added & events) == events == set(law.machine.events.__members__.values())


def test_every_machine_of_the_law_has_its_stories() -> None:
    """No table escapes: what a file of the law declares is what is told here."""
    declared: dict[str, Machine[Any, Any]] = {}
    for module in pkgutil.iter_modules(statemachine.__path__):
        parts = vars(importlib.import_module(f"statemachine.{module.name}"))
        machines = [part for part in parts.values() if isinstance(part, Machine)]
        declared |= {machine.name: machine for machine in machines}
    assert declared == {name: law.machine for name, law in LAWS.items()}
    assert LAWS.keys() == STORIES.keys()
    for name, law in LAWS.items():
        assert all(story.law is law for story in STORIES[name])


def test_titles_are_told_once() -> None:
    """A story has a title of its own: it is how people speak of it."""
    assert max(Counter(map(titled, TOLD)).values()) == 1


def test_every_entry_of_the_books_is_in_a_story() -> None:
    """Each kind of entry is posted in one at least, under the name that is told."""
    shapes = set()
    for node in ast.walk(ast.parse(inspect.getsource(entries))):
        called = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_entry"
        if called and isinstance(node, ast.Call):
            name = ast.unparse(node.args[0])
            shapes.add(re.sub(r"\{[^}]*\}", "[^ ]+", name.removeprefix("f").strip("'\"")))
    names = {move.under for step in STEPS for move in step.moves}
    assert len(shapes) > 10
    assert {shape for shape in shapes if not any(re.fullmatch(shape, n) for n in names)} == set()


def test_every_promise_is_in_a_story() -> None:
    """Nothing is promised to the outside world that no story tells of."""
    assert {type(promise) for step in STEPS for promise in step.promises} == set(KINDS)


def test_accounts_are_of_their_kinds() -> None:
    """What we hold is an asset, what we earn income, what we spend expense; all else is owed."""
    kinds = {"rail": Kind.ASSET, "revenue": Kind.INCOME, "expense": Kind.EXPENSE}
    seen = set()
    for story in TOLD:
        facts = story.first
        for step in story.steps:
            if step.error is None:
                decision = step.decided(story.law, facts)
                facts = decision.facts
                seen |= {p.account for entry in decision.entries for p in entry.postings}
    for account in seen:
        assert account.kind is kinds.get(account.name.partition(":")[0], Kind.LIABILITY)
    assert {account.kind for account in seen} == set(Kind)


def test_every_reason_to_owe_is_told() -> None:
    """For each reason there is a story in which money is owed for it, and for no other."""
    assert {reason for step in STEPS for _, reason, _, _ in step.owes} == {*Reason} - NO_STATES


def test_every_purpose_of_an_invoice_is_told() -> None:
    """For each purpose there is a story that wants an invoice for it."""
    assert {purpose for step in STEPS for _, purpose, _ in step.wants} == {*Purpose} - NO_STATES
