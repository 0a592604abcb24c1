"""What is sold by the tier: how large, for how many credits, and who can make it now."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.body import json_response
from app.http.image_job_shapes import model_shape, tiers_shape
from app.trade.tiers import DEFAULT_MODEL, TIERED


async def tiers(request: Request) -> Response:
    """GET /api/v1/tiers: each tier, as the default model has it."""
    return json_response({"tiers": tiers_shape(house_of(request).catalogue.tiered(DEFAULT_MODEL))})


async def models(request: Request) -> Response:
    """GET /api/v1/models: each model, with its tiers and how many can make it now."""
    house = house_of(request)
    shapes = {}
    for model, tiered in TIERED.items():
        listed = house.catalogue.tiered(model)
        there = await house.availability.of(listed, tiered.tiers)
        shapes[model] = model_shape(listed, there)
    return json_response({"models": shapes, "default_model": DEFAULT_MODEL})
