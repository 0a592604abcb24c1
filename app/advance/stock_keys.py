"""Keys of workers that speak another network's dialect."""

from app.advance.act import Act
from app.advance.outcome import Applied, Missing
from db import stock_keys, workers


async def give(act: Act, worker_id: str, sha256: str) -> Applied | Missing:
    """Give a worker a key, known by its hash; the one that it had opens nothing any more."""
    if await workers.lock(act.tx, worker_id) is None:
        return Missing()
    await stock_keys.put(act.tx, worker_id, sha256, act.now)
    return Applied()
