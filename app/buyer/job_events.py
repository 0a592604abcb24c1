"""What the events of a job's stream tell. One that can't be read is passed over."""

import contextlib
from collections.abc import Callable
from typing import Any

from app.buyer import answers
from app.buyer.answer_fields import Unreadable
from app.buyer.answers import Job
from app.buyer.event_reader import Event


def tell(event: Event, progress: Callable[[dict[str, Any]], None] | None) -> None:
    """Pass on what the agent has written, where an event has that and can be read."""
    if event.kind == "progress" and progress is not None:
        with contextlib.suppress(Unreadable):
            progress(answers.progress(event.data))


def told_of(event: Event, job_id: str) -> Job | None:
    """Return the job as an event shows it, where it shows one that can be read."""
    try:
        return answers.job(event.data["job"], job_id) if "job" in event.data else None
    except Unreadable:
        return None
