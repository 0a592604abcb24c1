"""What notices say: what happened, in the words of the surface that was asked, and no more than can
be sent.

Where it stands is read when a notice is first sent: its event says what it tells of. Files are told
by where they are, and whoever fetches one shows the credential that its surface asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.http import generation_status
from app.http.batch_status import PLURALS, bulk_item, file_path, kind_of, why_failed
from app.http.job_status import ended_as
from app.strict_json import moment
from app.trade.catalogue import Kind
from db import batches, items, jobs, sessions
from db.batches import BatchView, Pace
from db.engine import Database
from db.items import ItemView
from db.webhooks import ToSend
from pricing.money import msat_to_sats, sats_down, usd_shown
from statemachine.batch import MOST_ITEMS
from statemachine.item import ItemState
from statemachine.notice import Topic

MOST_SHOWN: Final = 100  # items of a batch; the rest is where the batch is
FAILED: Final = {Topic.GENERATION: "GENERATION_FAILED", Topic.SPELL: "SPELL_CAST_FAILED"}

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoticeShapes:
    """Makes the payloads of notices."""

    db: Database

    async def payload_of(self, notice: ToSend) -> Payload:
        """Return what a notice says; only what happened, where its owner is there no more."""
        owner_id, told = notice.owner.id, self._told(notice)
        match notice.topic:
            case Topic.JOB:
                said = await self._job(owner_id, notice)
            case Topic.SESSION:
                said = await self._session(owner_id, notice)
            case _:
                said = await self._batch(owner_id, notice)
        # The document's own fields first, in its order; ours beside them.
        return {**told, **said, "noticeId": notice.id}

    def _told(self, notice: ToSend) -> Payload:
        return {"event": notice.event, **notice.facts}

    async def _job(self, job_id: str, notice: ToSend) -> Payload:
        row = await jobs.view(self.db, job_id)
        said: Payload = {"jobId": job_id, "state": _word(notice)}
        if row is not None:
            said |= ended_as(row)
            if row.charge is not None:
                said["chargedSats"] = msat_to_sats(row.eval_msat + row.charge["total_msat"])
            if row.to_pay is not None and not row.is_final:
                said["workInvoice"] = {
                    "paymentRequest": row.to_pay.bolt11,
                    "amountSats": msat_to_sats(row.to_pay.amount_msat),
                    "expiresAt": moment(row.to_pay.expires_at),
                }
        return said | _where(notice, f"/api/jobs/{job_id}")

    async def _session(self, session_id: str, notice: ToSend) -> Payload:
        row = await sessions.get(self.db, session_id)
        said: Payload = {"sessionId": session_id, "state": _word(notice)}
        if row is not None:
            said["balanceSats"] = sats_down(row.balance_msat)
            said["expiresAt"] = moment(row.expires_at)
            if row.ended is not None:
                said["ended"] = row.ended.value
        return said | _where(notice, f"/api/sessions/{session_id}")

    async def _batch(self, batch_id: str, notice: ToSend) -> Payload:
        row = await batches.view(self.db, batch_id)
        if row is None:
            return {"status": _word(notice), "timestamp": moment(notice.created_at)}
        page = await items.page(self.db, batch_id, 0, MOST_ITEMS)
        pace = await batches.pace(self.db, batch_id)
        match notice.topic:
            case Topic.GENERATION:
                return _generation(row, page, pace, notice)
            case Topic.SPELL:
                return _spell(row, page, pace, notice)
            case _:
                return _bulk(row, page, pace, notice)


def _bulk(row: BatchView, page: Sequence[ItemView], pace: Pace | None, notice: ToSend) -> Payload:
    kind = kind_of(row)
    many = PLURALS[kind]
    shown = [bulk_item(row.id, kind, item) for item in page[:MOST_SHOWN]]
    for each in shown:
        each.pop("prompt", None)  # whoever asked knows it, and it is the longest of all
        if "url" in each:
            each["url"] = f"{notice.base or ''}{each['url']}"
    return {
        "jobId": row.id,
        "status": _word(notice),
        f"total_{many}": row.items,
        f"succeeded_{many}": row.delivered,
        f"failed_{many}": row.failed + row.cancelled,
        **_cost(pace),
        many: shown,
        **_where(notice, f"/api/jobs/{row.id}"),
    }


def _generation(
    row: BatchView, page: Sequence[ItemView], pace: Pace | None, notice: ToSend
) -> Payload:
    said: Payload = {"generationId": row.id, **notice.facts, "status": _word(notice)}
    if _word(notice) == "completed":
        said["outputs"] = outputs_of(row, page, notice.base)
        said |= _cost(pace)
    else:
        said |= _error(row, page, notice.topic)
    return said | {"timestamp": moment(notice.created_at)}


def _spell(row: BatchView, page: Sequence[ItemView], pace: Pace | None, notice: ToSend) -> Payload:
    said: Payload = {"castId": row.id, **notice.facts, "status": _word(notice)}
    said["generationIds"] = [item.id for item in page]
    if _word(notice) == "completed":
        said["finalOutputs"] = outputs_of(row, page[-1:], notice.base)
        said |= _cost(pace)
    else:
        said |= _error(row, page, notice.topic)
    return said | {"startedAt": moment(row.created_at), "completedAt": _ended(row, notice)}


def outputs_of(row: BatchView, page: Sequence[ItemView], base: str | None) -> list[Payload]:
    """Return what was made, by where it is, in the words of a tool's answer."""
    kind = kind_of(row)
    if kind in (Kind.TOOL, Kind.AGENT):
        return generation_status.outputs_of(page, base)
    return [
        {
            "type": kind.value,
            "data": {PLURALS[kind]: [{"url": f"{base or ''}{file_path(row.id, kind, item.id)}"}]},
        }
        for item in page
        if item.state is ItemState.COMPLETED
    ]


def _error(row: BatchView, page: Sequence[ItemView], topic: Topic) -> Payload:
    error = {"code": FAILED[topic], "message": why_failed(row, page)}
    return {"error": error, "costUsd": None}


def _cost(pace: Pace | None) -> Payload:
    """Return what it cost in dollars, to four places, and exactly in millionths."""
    if pace is None:
        return {"costUsd": None}
    return {
        "costUsd": usd_shown(pace.charged_microusd),
        "costMicroUsd": pace.charged_microusd,
    }


def _ended(row: BatchView, notice: ToSend) -> str:
    ended: datetime = row.completed_at or notice.created_at
    return moment(ended)


def _where(notice: ToSend, path: str) -> Payload:
    return {"url": f"{notice.base or ''}{path}", "timestamp": moment(notice.created_at)}


def _word(notice: ToSend) -> str:
    return notice.event.partition(".")[2]
