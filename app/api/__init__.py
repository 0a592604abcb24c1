"""The route table: the whole surface on one page."""

from starlette.routing import Route

from app.api import contract, dev, estimate, health, jobs

ROUTES = (
    Route("/api/healthz", health.healthz),
    Route("/api/readyz", health.readyz),
    Route("/api/jobs", jobs.create, methods=["POST"]),
    Route("/api/jobs/{id}", jobs.show),
    Route("/api/jobs/{id}/refund", jobs.refund, methods=["POST"]),
    Route("/api/estimate", estimate.estimate, methods=["POST"]),
    Route("/openapi.yaml", contract.openapi_yaml),
)

# Only where the rail is the stub, and the environment is not production.
DEV_ROUTES = (
    Route("/api/dev/stub/pay/{payment_hash}", dev.pay, methods=["POST"]),
    Route("/api/dev/stub/invoice", dev.invoice, methods=["POST"]),
    Route("/api/dev/stub/faults", dev.faults, methods=["POST", "DELETE"]),
)
