"""The contract as a judge: whatever a server answers, and openapi.yaml does not promise, is an
AssertionError that says which answer it was and what is wrong with it.

Clients are told to expect new fields in answers; here they are refused, so that no field is
answered which the contract does not name.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx2
import yaml
from jsonschema import Draft202012Validator, ValidationError

FILE = Path(__file__).parents[2] / "openapi.yaml"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
FILES = ("image/", "video/")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # all of it is read by every run
OF_NOW = ("x-payment-info", "x-offerings")  # of an operation, where it is handed out as JSON
STREAM = "text/event-stream"  # has no end to read to
READ: dict[str, Callable[[str], Any]] = {
    "application/json": json.loads,
    "application/problem+json": json.loads,
    "application/linkset+json": json.loads,
    "application/yaml": partial(yaml.load, Loader=LOADER),
}


class Contract:
    """One OpenAPI document, asked about one answer at a time."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._closed: dict[str, Any] = _closed(document)

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (method, path, operation) of everything that the contract offers."""
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), path, item[method]

    def methods(self, path: str) -> set[str]:
        """Return the methods that a path answers; a GET also answers HEAD."""
        offered = {method for method, other, _ in self.operations() if other == path}
        return offered | ({"HEAD"} if "GET" in offered else set())

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return what a node says, or what its $ref points to."""
        while "$ref" in node:
            found = self._closed
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def problems(self, schema: dict[str, Any], value: Any) -> list[str]:
        """Return what a value breaks of a schema of this document."""
        whole = {**schema, "components": self._closed["components"]}
        judge = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        found = [each for error in judge.iter_errors(value) for each in _plain(error)]
        return [f"{error.json_path}: {error.message}" for error in found]

    def request_schema(self, method: str, path: str) -> dict[str, Any] | None:
        """Return the schema of the body that goes to this address; None where none does."""
        template = self._template(path)
        operation = self._closed["paths"].get(template, {}).get(method.lower(), {})
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        return self.resolve(body["schema"]) if body else None

    def promised(self, method: str, path: str, status: int) -> dict[str, Any] | None:
        """Return what the contract says of an answer with this status; None when nothing."""
        template, shared = self._template(path), self._closed["components"]["responses"]
        if template is None:
            return shared["UnknownAddress"] if status == 404 else None
        if method not in self.methods(template):
            return shared["UnknownMethod"] if status == 405 else None
        verb = "get" if method == "HEAD" else method.lower()
        answers = self._closed["paths"][template][verb]["responses"]
        return self.resolve(answers[str(status)]) if str(status) in answers else None

    def check(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        """Raise AssertionError unless the contract promises this answer.

        `headers` is asked by lower-case name. A body that was not read is None.
        """
        what = f"{method} {path[:80]} answered {status}"
        promise = self.promised(method, path, status)
        assert promise is not None, f"{what}, and the contract knows no such answer"
        for name, header in promise.get("headers", {}).items():
            self._check_header(f"{what}: the header {name}", self.resolve(header), headers, name)
        if status == 405:
            allowed = {each.strip() for each in headers["allow"].split(",")}
            offered = self.methods(self._template(path) or "")
            assert allowed == offered, f"{what}: Allow is {allowed}, and should be {offered}"
        media = headers.get("content-type", "").partition(";")[0].strip()
        content = promise.get("content", {})
        if not content:
            assert not body, f"{what} with a body, and the contract has none there"
            return
        assert media in content, f"{what} as {media!r}, and the contract has {[*content]}"
        if method == "HEAD":
            assert not body, f"{what} with a body"
        elif body is not None:
            self._check_body(what, content[media].get("schema", {}), media, body)

    def _check_header(
        self, what: str, header: dict[str, Any], headers: Mapping[str, str], name: str
    ) -> None:
        given = headers.get(name.lower())
        if given is None:
            assert not header.get("required"), f"{what} is missing"
            return
        whole = header["schema"].get("type") == "integer" and given.isdecimal()
        broken = self.problems(header["schema"], int(given) if whole else given)
        assert not broken, f"{what} is {given!r}: {'; '.join(broken)}"

    def _check_body(self, what: str, schema: dict[str, Any], media: str, body: bytes) -> None:
        if media.startswith(FILES):
            assert body, f"{what} with an empty file"
            return
        text = body.decode("utf-8")
        broken = self.problems(schema, READ.get(media, str)(text))
        assert not broken, f"{what} with a body that breaks the contract: {'; '.join(broken)}"

    async def on_response(self, response: httpx2.Response) -> None:
        """Judge an answer that a client got, and the body that was accepted with it."""
        request, headers = response.request, {k.lower(): v for k, v in response.headers.items()}
        if headers.get("content-type", "").startswith(STREAM):
            body = None
        else:
            body = await response.aread()
        self.check(request.method, request.url.path, response.status_code, headers, body)
        schema = self.request_schema(request.method, request.url.path)
        is_json = "yaml" not in request.headers.get("content-type", "")
        if response.is_success and schema is not None and is_json:
            sent = await request.aread()
            broken = self.problems(schema, json.loads(sent)) if sent.strip() else []
            assert not broken, f"{request.url.path} took what the contract refuses: {broken}"

    def _template(self, path: str) -> str | None:
        return next((name for shape, name in self._shapes if shape.fullmatch(path)), None)

    @cached_property
    def _shapes(self) -> list[tuple[re.Pattern[str], str]]:
        # As the router reads them: a parameter takes anything but a slash; plain paths win.
        names = sorted(self.document["paths"], key=lambda name: "{" in name)
        parts = {name: re.split(r"\{[^}]+\}", name) for name in names}
        return [
            (re.compile("[^/]+".join(re.escape(part) for part in parts[name]), re.DOTALL), name)
            for name in names
        ]


# Image jobs for credits, which say it as another network's document does.
FLAT = tuple(f"/api/v1/{name}" for name in ("jobs", "users/", "credits", "tiers", "models"))


def refused(answer: httpx2.Response, status: int, says: str = "") -> None:
    """Hold a refusal to the envelope: a sentence for a person, an id, nothing of our insides."""
    assert answer.status_code == status, answer.text
    envelope = answer.json()
    path = answer.request.url.path
    in_v1 = path.startswith("/v1/")  # there `error` is the code
    lends = path.startswith(("/api/v1/workers", "/api/v1/leases/"))
    is_flat = lends or path.startswith(FLAT)
    if path.startswith("/api/v1/") and not is_flat:  # and there it holds both
        in_v1, envelope = True, {**envelope["error"], "error": envelope["error"]["code"]}
        del envelope["code"]
    elif path in ("/mcp", "/l402/quote"):  # and there it holds all of it
        whole = envelope["error"]
        sentence = {"error": whole.pop("message")}
        envelope = sentence | (whole["data"] if path == "/mcp" else whole)
    elif path.startswith("/api/v2/"):  # and there it is the message
        envelope["error"], envelope["code"] = envelope.pop("message"), envelope.pop("rc")
    must = {"error", "message" if in_v1 else "code", "requestId"}
    may = {"next", "leastSats", "balanceSats", "neededSats"} | (
        {"state", "signedChanges"} if lends else set()
    )
    may |= {"retry_after"} if is_flat else set()
    may |= {"credits", "credits_needed"} if is_flat and not lends else set()
    assert must <= set(envelope) <= must | may
    sentence = envelope["message" if in_v1 else "error"]
    assert sentence[0].isupper() and sentence.endswith(".") and says in sentence, sentence
    assert envelope["requestId"] == answer.headers["x-request-id"]
    for inside in ("Traceback", ".py", "pydantic", "psycopg", "Exception", "json_invalid"):
        assert inside not in answer.text


def _plain(error: ValidationError) -> list[ValidationError]:
    """Return what is wrong where a value may be one of several: with the one it is nearest to."""
    ways: dict[Any, list[ValidationError]] = {}
    for each in error.context or ():
        ways.setdefault(each.schema_path[0], []).extend(_plain(each))
    return min(ways.values(), key=len) if ways else [error]


def _closed(node: Any) -> Any:
    """Return a copy in which no object is open to fields that it does not name."""
    if isinstance(node, dict):
        copy = {key: _closed(value) for key, value in node.items()}
        if copy.get("additionalProperties") is True:
            copy["additionalProperties"] = False
        return copy
    return [_closed(item) for item in node] if isinstance(node, list) else node


def without_prices(document: dict[str, Any]) -> dict[str, Any]:
    """Return a contract without what is told of the prices of one server."""
    paths = {
        path: {
            method: {name: said for name, said in each.items() if name not in OF_NOW}
            for method, each in item.items()
        }
        for path, item in document["paths"].items()
    }
    return {**document, "paths": paths}


CONTRACT = Contract(yaml.load(FILE.read_text(), Loader=LOADER))


DOCUMENT = CONTRACT.document
SCHEMAS = DOCUMENT["components"]["schemas"]


def kind(schema: dict[str, Any]) -> str:
    """Return a property's type in a word or three."""
    schema = CONTRACT.resolve(schema)
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    own = schema.get("format") if schema.get("format") == "date-time" else None
    words = [str(own or name) if name == "string" else name for name in names]
    return " or ".join(words)
