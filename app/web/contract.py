"""The contract for people: its guides, then every operation with a curl command, every shape.

It is drawn here, once, from the same file that machines read, and kept as bytes.
"""

import asyncio
import json
import re
import shlex
from functools import lru_cache
from threading import Lock
from typing import Any
from urllib.parse import quote_plus

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.contract import document as contract
from app.http.guides import guides
from app.web.page import answer, drawn, offered, page
from app.web.prose import rendered

METHODS = ("get", "post", "put", "patch", "delete")
DEPTH = 4  # of $refs that are followed for what a body looks like

SHOWN = {  # what a command shows of the caller, by the name of what secures an operation
    "sessionMacaroon": '-H "Authorization: Bearer $MACAROON"',
    "l402": '-H "Authorization: L402 $MACAROON:$PREIMAGE"',
    "visitorCookie": "-b cookies -c cookies",
    "sessionCookie": "-b cookies -c cookies",
    "sessionToken": '-H "Authorization: Bearer $TOKEN"',
    "apiKey": '-H "x-api-key: $API_KEY"',
    "workerToken": '-H "Authorization: Bearer $WORKER_TOKEN"',
    "hordeKey": '-H "apikey: $HORDE_KEY"',
    "webhookSecret": '-H "X-Webhook-Secret: $SECRET"',
}

_DRAWING = Lock()

Node = dict[str, Any]
Head = tuple[tuple[str, bool], ...]  # what every page says of this server


@page
async def show(request: Request) -> Response:
    """GET /docs."""
    head = tuple(offered(house_of(request)).items())
    return answer(await asyncio.to_thread(_drawn, head))


def _drawn(head: Head) -> bytes:
    with _DRAWING:  # by the first who ask for it at once, once
        return _page(head)


@lru_cache(maxsize=2)
def _page(head: Head) -> bytes:
    return drawn("docs.html", path="/docs", **dict(head), **_read())


def _read() -> Node:
    """Return all that the page says."""
    document: Node = contract()
    reader = _Reader(document)
    groups = [
        {
            "name": tag["name"],
            "html": rendered(tag.get("description", ""), 2),
            "operations": list(reader.operations(tag["name"])),
        }
        for tag in document["tags"]
    ]
    schemas = document["components"]["schemas"]
    return {
        "info": document["info"],
        "guides": list(guides().values()),
        "intro": rendered(document["info"].get("description", ""), 2),
        "groups": [group for group in groups if group["operations"]],
        "schemas": [reader.schema(name, schemas[name]) for name in sorted(schemas)],
    }


class _Reader:
    """Reads one document, following its references."""

    def __init__(self, document: Node) -> None:
        self._document = document

    def operations(self, tag: str) -> Any:
        """Yield the operations of a tag."""
        for path, item in self._document["paths"].items():
            for method in METHODS:
                operation = item.get(method)
                if operation and tag in operation.get("tags", ()):
                    yield self._operation(path, method, operation)

    def _operation(self, path: str, method: str, operation: Node) -> Node:
        body = self._resolved(operation.get("requestBody", {}))
        return {
            "id": operation["operationId"],
            "verb": method,
            "path": path,
            "summary": operation.get("summary", ""),
            "html": rendered(operation.get("description", ""), 3),
            "curl": self._curl(path, method, operation),
            "parameters": [self._parameter(each) for each in operation.get("parameters", ())],
            "body": self._body(body) if body else None,
            "answers": [
                self._answer(status, each) for status, each in operation["responses"].items()
            ],
        }

    def _curl(self, path: str, method: str, operation: Node) -> str:
        """Return a command that sends this, with the contract's own example."""
        needed = [self._resolved(each) for each in operation.get("parameters", ())]
        query = "&".join(
            f"{each['name']}={quote_plus(str(each.get('example', each['name'].upper())))}"
            for each in needed
            if each["in"] == "query" and each.get("required")
        )
        where = re.sub(r"\{(\w+)\}", lambda name: f"${_shouted(name[1])}", path)
        lines = [f'curl -s "$BOLTWORK{where}{"?" + query if query else ""}"']
        if method in ("delete", "patch", "put"):
            lines[0] = lines[0].replace("curl -s", f"curl -s -X {method.upper()}")
        schemes = [name for each in operation.get("security", ()) for name in each]
        if "visitorCookie" in schemes:
            lines.append(SHOWN["visitorCookie"])
        elif schemes and {} not in operation["security"]:
            lines.append(SHOWN[schemes[0]])
        body = self._resolved(operation.get("requestBody", {}))
        if body:
            media, first = _first(body.get("content", {}))
            if media == "image/*":
                lines += ['-H "Content-Type: image/png"', "--data-binary @picture.png"]
                return " \\\n  ".join(lines)
            example = json.dumps(_example_of(first) or {}, ensure_ascii=False)
            lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(example)}"]
        elif method == "post":
            lines[0] = lines[0].replace("curl -s", "curl -s -X POST")
        return " \\\n  ".join(lines)

    def _parameter(self, node: Node) -> Node:
        given = self._resolved(node)
        return {
            "name": given["name"],
            "where": given["in"],
            "required": given.get("required", False),
            "kind": self._kind(given.get("schema", {})),
            "html": rendered(given.get("description", ""), 4),
        }

    def _body(self, body: Node) -> Node:
        content = body.get("content", {})
        media, first = _first(content)
        schema = first.get("schema", {})
        return {
            "media": media,
            "html": rendered(body.get("description", ""), 4),
            "schema": _name(schema),
            "fields": self._fields(schema),
            "example": _example(first),
        }

    def _answer(self, status: str, node: Node) -> Node:
        answer = self._resolved(node)
        content = answer.get("content", {})
        media, first = _first(content)
        return {
            "status": status,
            "html": rendered(answer.get("description", ""), 4),
            "media": media,
            "schema": _name(first.get("schema", {})),
            "headers": [name for name in answer.get("headers", {}) if name != "X-Request-Id"],
            "example": _example(first) if status.startswith("2") or status == "402" else "",
        }

    def schema(self, name: str, node: Node) -> Node:
        """Return one shape, with its fields."""
        return {
            "name": name,
            "html": rendered(node.get("description", ""), 3),
            "kind": self._kind(node),
            "fields": self._fields(node),
        }

    def _fields(self, node: Node, depth: int = 0) -> list[Node]:
        node = self._resolved(node)
        if depth > DEPTH:
            return []
        found: list[Node] = []
        for part in (*node.get("allOf", ()), *node.get("oneOf", ()), *node.get("anyOf", ())):
            known = {field["name"] for field in found}
            found += [each for each in self._fields(part, depth + 1) if each["name"] not in known]
        required = node.get("required", ())
        for name, given in node.get("properties", {}).items():
            whole = self._resolved(given)
            found.append(
                {
                    "name": name,
                    "required": name in required,
                    "kind": self._kind(given),
                    "schema": _name(given) or _name(given.get("items", {})),
                    "html": rendered(given.get("description") or whole.get("description", ""), 4),
                }
            )
        return found

    def _kind(self, node: Node) -> str:
        """Return what a value is, in a few words."""
        named = _name(node)
        whole = self._resolved(node)
        if named and whole.get("type") == "object":
            return named
        if "const" in whole:
            return json.dumps(whole["const"])
        if "enum" in whole:
            return " | ".join(json.dumps(each) for each in whole["enum"])
        for word in ("oneOf", "anyOf"):
            if word in whole:
                return " or ".join(dict.fromkeys(self._kind(each) for each in whole[word]))
        kinds = whole.get("type", "object" if "properties" in whole else "anything")
        kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
        if kind == "array":
            return f"list of {self._kind(whole.get('items', {}))}"
        return f"{kind}{_limits(whole)}"

    def _resolved(self, node: Node) -> Node:
        while "$ref" in node:
            found: Node = self._document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            node = found
        return node


def _shouted(name: str) -> str:
    """Return a name as variables of a shell are written: requestId is REQUEST_ID."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def _first(content: Node) -> tuple[str, Node]:
    return next(iter(content.items())) if content else ("", {})


def _name(node: Node) -> str:
    reference = str(node.get("$ref", ""))
    return reference.rpartition("/")[2] if "/schemas/" in reference else ""


def _limits(node: Node) -> str:
    said = []
    if "format" in node:
        said.append(str(node["format"]))
    for least, most, of in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if least in node and most in node:
            said.append(f"{node[least]:,} to {node[most]:,}{of}")
        elif least in node:
            said.append(f"at least {node[least]:,}{of}")
        elif most in node:
            said.append(f"at most {node[most]:,}{of}")
    return f" ({', '.join(said)})" if said else ""


def _example_of(media: Node) -> Any:
    if "example" in media:
        return media["example"]
    _, named = _first(media.get("examples", {}))
    return named.get("value")


def _example(media: Node) -> str:
    example = _example_of(media)
    if example is None:
        return ""
    if isinstance(example, str):
        return example
    return json.dumps(example, indent=2, ensure_ascii=False, default=str)
