"""Answers about jobs and batches, kept by the version they were made from.

Nothing here is believed by itself: each poll asks Postgres for the version, and an answer
made from another one is not given. So it saves work, and can't be stale.
"""

from collections import OrderedDict
from dataclasses import dataclass

MOST_BYTES = 32 * 1024 * 1024
MOST_NAMES = 50_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered for a job at a version."""

    version: int
    body: bytes
    retry_after_s: int | None = None  # None: it has ended
    tag: str = ""  # its ETag, where a version doesn't tell all


class Remembered:
    """The most recently asked-for answers, up to so many bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self.batches = Names()  # ids that are batches'

    def find(self, job_id: str) -> Answer | None:
        """Return what was kept of a job."""
        answer = self._answers.get(job_id)
        if answer is not None:
            self._answers.move_to_end(job_id)
        return answer

    def keep(self, job_id: str, answer: Answer) -> None:
        """Keep an answer, and let the oldest go where there is no room."""
        before = self._answers.pop(job_id, None)
        if before is not None:
            self._bytes -= len(before.body)
        if len(answer.body) > self._most_bytes:
            return
        self._answers[job_id] = answer
        self._bytes += len(answer.body)
        while self._bytes > self._most_bytes:
            _, oldest = self._answers.popitem(last=False)
            self._bytes -= len(oldest.body)


class Names:
    """The most recently seen of some names, up to so many: what each is never changes."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        """Say whether it was seen, as far as that is remembered."""
        return name in self._seen

    def see(self, name: str) -> None:
        """See a name, and forget the one that was seen longest ago where there is no room."""
        self._seen[name] = None
        self._seen.move_to_end(name)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
