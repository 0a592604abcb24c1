"""Images by the tier, for credits: users, credits, tiers, models and jobs."""

from starlette.routing import Route

from app.api.studio import jobs, offers, users

STUDIO_ROUTES = (
    Route("/api/v1/jobs/{id}", jobs.show),
    Route("/api/v1/jobs/{id}/result", jobs.result),
    Route("/api/v1/jobs", jobs.create, methods=["POST"]),
    Route("/api/v1/users/me", users.me),
    Route("/api/v1/users/me/credits", users.credits_left),
    Route("/api/v1/credits", users.buy, methods=["POST"]),
    Route("/api/v1/tiers", offers.tiers),
    Route("/api/v1/models", offers.models),
)
