"""What Prometheus scrapes: counts, times and states, and nothing of what was asked or paid for.

Labels are names of ours: a stranger makes no new one. What is asked of the parts themselves, each
time that somebody looks, is in app/api/site/gauges.py; the books tell of theirs at each review.
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# When each began to count is of no use, and as long as all the rest.
disable_created_metrics()  # type: ignore[no-untyped-call]

QUICK = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)

STREAMS_OPEN = Gauge("boltwork_streams_open", "Event streams that are open in this process")
STREAM_ENDS = Counter(
    "boltwork_stream_ends_total",
    "Event streams that are over: ended, left, dropped for not reading, or refused",
    ["how"],
)
STREAM_EVENTS = Counter("boltwork_stream_events_total", "Stored events made for streams")

CALLS = Counter(
    "boltwork_calls_total",
    "Calls to the outside by part (rail, agent, executor, oracle, lnurl), and what came of them",
    ["part", "call", "outcome"],
)
CALL_SECONDS = Histogram(
    "boltwork_call_seconds", "Time of calls to the outside", ["part", "call"], buckets=QUICK
)

PROMISES = Counter(
    "boltwork_promises_total",
    "Promises kept, to be tried again, or broke: something nobody foresaw, tried again too",
    ["kind", "outcome"],
)
PROMISE_SECONDS = Histogram(
    "boltwork_promise_seconds", "Time of one try to keep a promise", ["kind"], buckets=QUICK
)
PROMISE_WAIT_SECONDS = Histogram(
    "boltwork_promise_wait_seconds",
    "Time from when a promise that was kept was due, until somebody began with it",
    ["kind"],
    buckets=QUICK,
)

NOTICE_TRIES = Counter(
    "boltwork_notice_tries_total",
    "Tries to send a notice (webhook), and what came of them: accepted, missed or unwelcome",
    ["outcome"],
)
