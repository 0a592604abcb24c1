"""The pages: what people see. Server-made HTML, one style sheet, one small script, no build step.

Whatever a page does works without JavaScript, and nothing is asked of another host.
"""

from starlette.routing import BaseRoute, Route

from app.web import (
    assets,
    batch,
    casts,
    contract,
    demo,
    home,
    job,
    operator,
    operator_door,
    session,
    spells,
    studio,
)

PAGES: tuple[BaseRoute, ...] = (
    Route("/", home.show),
    Route("/estimate", home.estimate, methods=["POST"]),
    Route("/demo", demo.show),
    Route("/jobs", home.buy, methods=["POST"]),
    Route("/jobs/{id}", batch.or_job(batch.show, job.show)),
    Route("/jobs/{id}/pay", batch.or_job(batch.pay, job.pay), methods=["POST"]),
    Route("/jobs/{id}/cancel", batch.or_job(batch.cancel, job.cancel), methods=["POST"]),
    Route("/jobs/{id}/refund", batch.or_job(batch.refund, job.refund), methods=["POST"]),
    Route("/jobs/{id}/items/{item}", batch.file),
    Route("/jobs/{id}/files.zip", batch.bundle),
    Route("/studio", studio.show),
    Route("/studio", studio.buy, methods=["POST"]),
    Route("/studio/price", studio.price, methods=["POST"]),
    Route("/spells", spells.listed),
    Route("/spells/{slug}", spells.show),
    Route("/spells/{slug}", spells.cast, methods=["POST"]),
    Route("/casts/{id}", casts.show),
    Route("/casts/{id}/pay", casts.pay, methods=["POST"]),
    Route("/casts/{id}/resume", casts.resume, methods=["POST"]),
    Route("/sessions", session.begin, methods=["POST"]),
    Route("/sessions/{id}", session.show),
    Route("/sessions/{id}/pay", session.pay, methods=["POST"]),
    Route("/sessions/{id}/unlock", session.unlock, methods=["POST"]),
    Route("/sessions/{id}/lock", session.lock, methods=["POST"]),
    Route("/sessions/{id}/macaroon", session.macaroon, methods=["POST"]),
    Route("/sessions/{id}/ask", session.ask, methods=["POST"]),
    Route("/sessions/{id}/estimate", session.estimate, methods=["POST"]),
    Route("/sessions/{id}/topup", session.topup, methods=["POST"]),
    Route("/sessions/{id}/close", session.close, methods=["POST"]),
    Route("/sessions/{id}/refund", session.refund, methods=["POST"]),
    Route("/operator", operator.show),
    Route("/operator/books", operator.books),
    Route("/operator/login", operator_door.login, methods=["POST"]),
    Route("/operator/logout", operator_door.logout, methods=["POST"]),
    Route("/operator/payouts", operator.act, methods=["POST"]),
    Route("/operator/switches", operator.switch, methods=["POST"]),
    Route("/docs", contract.show),
    Route("/static/{name}", assets.static),
    Route("/favicon.ico", assets.favicon),
)
