"""What Prometheus is told of: counts, times and states, and nothing of what was asked or paid for.

Each name and its labels stand here once. Labels are names of ours: a stranger makes no new one.
"""

from prometheus_client import Counter, Gauge

STREAMS_OPEN = Gauge("boltwork_streams_open", "Event streams that are open in this process")
STREAM_ENDS = Counter(
    "boltwork_stream_ends_total",
    "Event streams that are over: ended, left, dropped for not reading, or refused",
    ["how"],
)
STREAM_EVENTS = Counter("boltwork_stream_events_total", "Stored events made for streams")
