"""The route table: the whole surface on one page."""

from starlette.routing import Route

from app.api import contract, dev, estimate, health, jobs, receipts, withdrawals

ROUTES = (
    Route("/api/healthz", health.healthz),
    Route("/api/readyz", health.readyz),
    Route("/api/jobs", jobs.create, methods=["POST"]),
    Route("/api/jobs/{id}", jobs.show),
    Route("/api/jobs/{id}/refund", jobs.refund, methods=["POST"]),
    Route("/api/jobs/{id}/cancel", jobs.cancel, methods=["POST"]),
    Route("/api/jobs/{id}/receipt", receipts.receipt),
    Route("/api/lnurl/withdraw/{id}/{which}", withdrawals.offer),
    Route("/api/lnurl/withdraw/{id}/{which}/callback", withdrawals.accept),
    Route("/api/estimate", estimate.estimate, methods=["POST"]),
    Route("/.well-known/jwks.json", receipts.jwks),
    Route("/openapi.yaml", contract.openapi_yaml),
)

# Only where the rail is the stub, and the environment is not production.
DEV_ROUTES = (
    Route("/api/dev/stub/pay/{payment_hash}", dev.pay, methods=["POST"]),
    Route("/api/dev/stub/invoice", dev.invoice, methods=["POST"]),
    Route("/api/dev/stub/faults", dev.faults, methods=["POST", "DELETE"]),
)
