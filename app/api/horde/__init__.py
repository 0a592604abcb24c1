"""The dialect of another network's workers: as much of it as they need to be paid here."""

from starlette.routing import Route

from app.api.horde import generate, users
from app.api.workers import stock_key

HORDE_ROUTES = (
    Route("/api/v2/generate/pop", generate.pop, methods=["POST"]),
    Route("/api/v2/generate/submit", generate.submit, methods=["POST"]),
    Route("/api/v2/uploads/{id}/{mark}", generate.upload, methods=["PUT"]),
    Route("/api/v2/find_user", users.find_user),
    Route("/api/v2/workers", users.workers),
    Route("/api/v2/workers/name/{name}", users.named),
    Route("/api/v2/workers/{id}", users.worker, methods=["GET", "PUT"]),
    Route("/api/v2/status/heartbeat", users.heartbeat),
    Route("/api/v1/workers/me/horde-key", stock_key.make, methods=["POST"]),
)
