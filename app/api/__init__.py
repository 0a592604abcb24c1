"""The route table: the whole surface on one page."""

from starlette.routing import Route

from app.api import kinds
from app.api.accounts import balances, lightning, logins, wallets
from app.api.batches import batches
from app.api.discovery import DISCOVERY_ROUTES
from app.api.generations import generations
from app.api.horde import HORDE_ROUTES
from app.api.jobs import (
    ask,
    demo,
    estimate,
    gemini,
    receipts,
    requests,
    sessions,
    withdrawals,
)
from app.api.notices import deliveries
from app.api.site import dev, health
from app.api.studio import STUDIO_ROUTES
from app.api.v1 import V1_ROUTES, counted
from app.api.workers import leases, workers
from app.http.routes import Alone

# They are tried in this order: what is polled stands first.
ROUTES = (
    Alone("/api/jobs/quote", batches.quote, methods=["POST"]),
    Route("/api/jobs/{id}", kinds.show),
    Route("/api/sessions/{id}/requests/{request_id}", requests.show),
    Route("/api/healthz", health.healthz),
    Route("/api/readyz", health.readyz),
    Route("/v1/generations/{id}", generations.show),
    Route("/api/jobs", kinds.create, methods=["POST"]),
    Route("/api/jobs/{id}/refund", kinds.refund, methods=["POST"]),
    Route("/api/jobs/{id}/cancel", kinds.cancel, methods=["POST"]),
    Route("/api/jobs/{id}/events", kinds.events),
    Route("/api/jobs/{id}/images/{item_id}", batches.image),
    Route("/api/jobs/{id}/videos/{item_id}", batches.video),
    Route("/api/jobs/{id}/previews/{item_id}", batches.look),
    Route("/api/models", batches.models),
    Route("/v1/images/generate", generations.image, methods=["POST"]),
    Route("/v1/videos/generate", generations.video, methods=["POST"]),
    Route("/api/jobs/{id}/receipt", receipts.receipt),
    Route("/api/sessions", sessions.create, methods=["POST"]),
    Route("/api/sessions/{id}", sessions.show),
    Route("/api/sessions/{id}/request", requests.submit, methods=["POST"]),
    Route("/api/sessions/{id}/topup", sessions.topup, methods=["POST"]),
    Route("/api/sessions/{id}/close", sessions.close, methods=["POST"]),
    Route("/api/sessions/{id}/refund", sessions.refund, methods=["POST"]),
    Route("/api/sessions/{id}/revoke", sessions.revoke, methods=["POST"]),
    Route("/api/ask", ask.ask, methods=["GET", "POST"]),
    Route("/api/lnurl/withdraw/{secret}", withdrawals.offer),
    Route("/api/lnurl/withdraw/{secret}/callback", withdrawals.accept),
    Route("/api/lnurl/withdraw/{id}/{which}", withdrawals.gone),
    Route("/api/lnurl/withdraw/{id}/{which}/callback", withdrawals.gone),
    Route("/api/estimate", estimate.estimate, methods=["POST"]),
    Route("/api/demo", demo.demo),
    Route("/api/gemini/conversations", gemini.collection, methods=["GET", "POST"]),
    Route("/api/gemini/conversations/{id}", gemini.one, methods=["GET", "DELETE"]),
    Route("/api/gemini/conversations/{id}/messages", gemini.messages, methods=["GET", "POST"]),
    Route("/api/gemini/generate-image", gemini.generate_image, methods=["POST"]),
    Route("/api/auth/login", logins.log_in, methods=["POST"]),
    Route("/api/auth/logout", logins.log_out, methods=["POST"]),
    Route("/api/auth/me", logins.me),
    Route("/api/auth/logins", logins.logins),
    Route("/api/auth/logins/{id}", logins.end_login, methods=["DELETE"]),
    Route("/api/auth/password", logins.change_password, methods=["POST"]),
    Route("/api/auth/recover", logins.recover, methods=["POST"]),
    Route("/api/auth/nonce", wallets.nonce),
    Route("/api/auth/siwe", wallets.sign_in, methods=["POST"]),
    Route("/api/auth/wallets", wallets.join, methods=["POST"]),
    Route("/api/auth/lnurl", lightning.ask, methods=["POST"]),
    Route("/api/auth/lnurl/login", lightning.log_in, methods=["POST"]),
    Route("/api/auth/lnurl/join", lightning.join, methods=["POST"]),
    Route("/api/lnurl/auth/{k1}", lightning.sign),
    Route("/api/account", balances.show),
    Route("/api/account/history", balances.history),
    Route("/api/account/deposits", balances.deposit, methods=["POST"]),
    Route("/api/account/withdrawals", balances.withdraw, methods=["POST"]),
    Route("/api/account/refund", balances.refund, methods=["POST"]),
    *STUDIO_ROUTES,
    *V1_ROUTES,
    Route("/api/v1/workers", workers.register, methods=["POST"]),
    Route("/api/v1/workers/me", workers.me, methods=["GET", "PATCH"]),
    Route("/api/v1/workers/me/payouts", workers.payouts, methods=["GET", "POST"]),
    Route("/api/v1/workers/claims", workers.claims, methods=["POST"]),
    Route("/api/v1/workers/market", counted(workers.market)),
    Route("/api/v1/leases/{id}/heartbeat", leases.heartbeat, methods=["POST"]),
    Route("/api/v1/leases/{id}/result", leases.result, methods=["PUT"]),
    Route("/api/v1/leases/{id}/fail", leases.fail, methods=["POST"]),
    Route("/api/v1/leases/{id}/release", leases.release, methods=["POST"]),
    Route("/api/v1/user/withdraw", counted(balances.withdraw), methods=["POST"]),
    Route("/api/notices/{id}", deliveries.show),
    Route("/api/notices/{id}/redeliver", deliveries.redeliver, methods=["POST"]),
    *HORDE_ROUTES,
    Route("/.well-known/jwks.json", receipts.jwks),
    *DISCOVERY_ROUTES,
)

# Only where the rail is the stub, and the environment is not production.
DEV_ROUTES = (
    Route("/api/dev/stub/pay/{payment_hash}", dev.pay, methods=["POST"]),
    Route("/api/dev/stub/invoice", dev.invoice, methods=["POST"]),
    Route("/api/dev/stub/faults", dev.faults, methods=["POST", "DELETE"]),
)
