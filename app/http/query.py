"""A query, read as strictly as a body: UTF-8, each parameter once. Unknown ones are ignored."""

from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.strict_json import BadInput

MOST_PARAMETERS = 100

M = TypeVar("M", bound=BaseModel)


def parse_query(request: Request, shape: type[M]) -> M:
    """Return a query as the shape it must have, or raise BadInput with one sentence."""
    known = {field.alias or name for name, field in shape.model_fields.items()}
    values: dict[str, str] = {}
    for name, value in _pairs(request.scope["query_string"]):
        if name in values:
            raise BadInput(f"The parameter {name!r} is given twice. Give it once.")
        if name in known:
            values[name] = value
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "value_error":
            raise BadInput(
                str(first["ctx"]["error"]).replace("The field", "The parameter")
            ) from None
        raise BadInput(f"The parameter {name!r} is missing. Add it.") from None


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except UnicodeDecodeError:
        raise BadInput("The query is not UTF-8 in percent-encoding. Encode it that way.") from None
    except ValueError:
        raise BadInput(f"The query has over {MOST_PARAMETERS} parameters. Send fewer.") from None
