"""The contract as a server hands it out, to machines that read YAML and to those that read JSON."""

import yaml

from tests.world.contract import CONTRACT, FILE, without_prices
from tests.world.house_fixtures import Instance

JSON = ("/openapi.json", "/swagger.json", "/api/openapi.json")


def test_only_the_stubs_doors_are_for_development() -> None:
    """Each development route is tagged so, and says that it is not always there."""
    tagged = {path for _, path, op in CONTRACT.operations() if op["tags"] == ["development"]}
    assert tagged == {path for path in CONTRACT.document["paths"] if path.startswith("/api/dev/")}
    for _, path, operation in CONTRACT.operations():
        if path in tagged:
            assert "only on the stub rail, outside production" in " ".join(
                operation["description"].split()
            )


async def test_the_server_hands_out_its_contract(instance: Instance) -> None:
    """GET /openapi.yaml is the file at the root."""
    answer = await instance.http.get("/openapi.yaml")
    assert answer.content == FILE.read_bytes()
    assert yaml.safe_load(answer.text) == CONTRACT.document


async def test_the_contract_is_handed_out_as_json_too(instance: Instance) -> None:
    """GET /openapi.json says what /openapi.yaml says, value by value, and the prices of now; so it
    is at the other addresses that crawlers try."""
    first = await instance.http.get(JSON[0])
    assert first.headers["content-type"] == "application/json"
    assert without_prices(first.json()) == without_prices(CONTRACT.document)
    for path in JSON[1:]:
        assert (await instance.http.get(path)).content == first.content
