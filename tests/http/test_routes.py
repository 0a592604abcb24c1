"""An address finds the route that it would find if all were tried in their order."""

import pytest
from starlette.routing import Match, Route
from starlette.types import Scope

from app.api import DEV_ROUTES, ROUTES
from app.http.routes import Table
from app.web import PAGES

ALL = [route for route in (*ROUTES, *PAGES, *DEV_ROUTES) if isinstance(route, Route)]
ID = "0123456789abcdef" * 2


def asked(path: str, method: str) -> Scope:
    """Return a request as a server hands it on."""
    return {"type": "http", "path": path, "method": method, "headers": [], "root_path": ""}


def by_trying(scope: Scope) -> tuple[Match, Route | None]:
    """Return what trying one after the other finds."""
    partly: Route | None = None
    for route in ALL:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return match, route
        if match is Match.PARTIAL and partly is None:
            partly = route
    return (Match.NONE if partly is None else Match.PARTIAL), partly


def paths() -> set[str]:
    """Return addresses of all routes, with ids, with ids that read like a part of an address, and
    with a part too many or too few.
    """
    found = {"", "/", "//", "/nothing", "/api", "/api/", "/api/jobs/quote/quote/quote/quote/quote"}
    for route in ALL:
        for given in (ID, "jobs", "status", "casts", "quote", ""):
            path = route.path
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", given)
            found |= {path, f"{path}/", f"{path}/more", path.rpartition("/")[0]}
    return found


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_a_route_is_found_as_by_trying_them_all(method: str) -> None:
    """The same one, by the same method, with the same parts; or none."""
    table = Table(ALL)
    for path in sorted(paths()):
        scope = asked(path, method)
        match, route = by_trying(scope)
        found, child = table.matches(scope)
        assert (found, child.get("route")) == (match, route), path
        if route is not None:
            assert child["path_params"] == route.matches(scope)[1]["path_params"]


def test_few_are_tried() -> None:
    """Wherever a route stands in the order, some others at most stand before it."""
    table = Table(ALL)
    most = max(len(each) for each in table._by_key.values())
    assert len(ALL) > 100 and most <= 8
