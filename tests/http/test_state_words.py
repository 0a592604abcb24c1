"""Every surface has a word for every state of the law: one that is new there fails here."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from app.api.jobs import jobs, withdrawals
from app.buyer import display, purchase
from app.buyer.payer import Exit
from app.commands import receiving
from app.trade.catalogue import Kind
from app.web import batch_words, job_view, words
from app.web.job_words import head_of
from db.batches import BatchView
from db.jobs import JobView
from statemachine import batch
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.job import JOB, Funding, JobState
from statemachine.payout import PayoutState
from statemachine.session import SessionState
from statemachine.wallet import WalletState

TOTAL: dict[str, tuple[Mapping[Any, object], type[StrEnum]]] = {
    "when to ask for a job again": (jobs.RETRY_AFTER_S, JobState),
    "steps of a job": (job_view.STEPS, Funding),
    "how far a job has come": (job_view.BEHIND, Funding),
    "headlines of a session": (words.SESSION_HEADS, SessionState),
    "sentences of a session": (words.SESSION_WORDS, SessionState),
    "receiving wallets": (receiving.WORDS, WalletState),
}
TOTAL |= {
    "items of a batch": (batch_words.ITEM_WORDS, ItemState),
    "where the rest of a batch is": (batch_words.WHERE_THE_REST_IS, batch.Funding),
}
for one in Funding:
    TOTAL[f"steps behind, {one}"] = job_view.BEHIND[one], JobState


@pytest.mark.parametrize("what", TOTAL)
def test_a_surface_has_a_word_for_every_state(what: str) -> None:
    """No state is shown by a guess, and none that is gone keeps its word."""
    said, states = TOTAL[what]
    assert set(said) == set(states)


def test_a_wallet_hears_why_it_takes_no_refund() -> None:
    """Of a refund in every state but the one in which it can be taken."""
    assert set(withdrawals.SAYS) == set(PayoutState) - {PayoutState.OWED}


@pytest.mark.parametrize("funding", Funding)
@pytest.mark.parametrize("state", JobState)
def test_a_page_has_a_headline_for_every_state(state: JobState, funding: Funding) -> None:
    """With a sentence that says what happens, or what to do."""
    now = datetime.now(UTC)
    row = JobView(
        id="a job", state=state, version=1, funding=funding, session_id=None, credential=None,
        eval_microusdc=2_000, paid_by=None, account_id=None, balance_msat=None, eval_msat=5_000,
        quote=None, charge=None, reason=None, result=None, truncated=False, error=None,
        created_at=now, completed_at=None, pays_for=None, bolt11=None, payment_hash=None,
        invoice_msat=None, expires_at=None, payouts=[],
    )  # fmt: skip
    headline, sentence = head_of(row)
    assert headline and sentence.endswith(".")


@pytest.mark.parametrize("state", JobState)
def test_the_command_says_every_state(state: JobState) -> None:
    """While a job goes on it says what is waited for; at its end its exit code does. It knows no
    law, and so shows a state of a newer server by its name."""
    if JOB.final(state):
        assert purchase.code_of(state) is Exit[state.name]
    else:
        assert display.SAYS[state]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("funding", batch.Funding)
@pytest.mark.parametrize("state", batch.BatchState)
def test_a_page_has_a_headline_for_every_state_of_a_batch(
    state: batch.BatchState, funding: batch.Funding, count: int
) -> None:
    """However it is paid for, with a sentence; and a step that it has come to."""
    row = BatchView(
        id="a batch", state=state, version=1, funding=funding, asset=Asset.MSAT, price_amount=9,
        charged_amount=0, items=count, delivered=0, failed=0, cancelled=0, called_off=False,
        session_id=None, account_id=None, paid_by=None, credential=None, quote={},
        created_at=datetime.now(UTC), completed_at=None, forgotten_at=None,
        payouts=[],
    )  # fmt: skip
    headline, sentence = batch_words.head_of(row, kind=Kind.IMAGE)
    assert headline and sentence.endswith(".")
    assert [stands for _, stands in batch_words.steps_of(row)].count("next") < 3
