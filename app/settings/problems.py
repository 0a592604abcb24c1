"""What is wrong with the settings: a sentence for each.

Every sentence names its variable and what that takes; none quotes a value, which may be a secret.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from app.settings import Settings

# Variables of the same beginning that are no settings of a server's.
OTHERS = {"BOLTWORK_URL", "BOLTWORK_MACAROON"}
LIKE = 0.88  # how alike two names must be for one to be a slip of the other
LEAST_LIKE = 8  # letters: shorter names are alike by chance


def of_settings(error: ValidationError) -> list[str]:
    """Return a sentence for each setting that is wrong."""
    properties = Settings.model_json_schema()["properties"]
    sentences = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        said = _said(problem, properties.get(name, {}))
        sentences.append(f"{name} {said}".strip() + ".")
    return sentences


def _said(problem: Any, schema: Mapping[str, Any]) -> str:
    """Return what one setting must be, in words of ours."""
    kind, told = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(told["error"])
    if kind == "bool_parsing":
        return "must be true or false"
    if kind in ("too_short", "string_too_short"):
        return f"must have at least {told['min_length']} characters"
    if kind in ("enum", "literal_error"):
        return f"must be {told['expected']}".replace("'", "")
    limits: dict[str, int] = {}
    for part in (schema, *schema.get("anyOf", ())):
        limits |= {key: part[key] for key in ("minimum", "maximum") if key in part}
        if "exclusiveMinimum" in part:
            limits["minimum"] = part["exclusiveMinimum"] + 1
    if kind.startswith(("int", "greater", "less")):
        least, most = limits.get("minimum"), limits.get("maximum")
        if most is not None:
            return f"must be a whole number from {least or 0:,} to {most:,}"
        return "must be a whole number" + ("" if least is None else f" of at least {least:,}")
    return f"can't be read; it is this: {schema.get('description', 'see the README')}"


def strangers(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield variables that look like a slip of a setting's name: nothing reads them."""
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    for variable in sorted(set(environment) - known - OTHERS):
        like = difflib.get_close_matches(variable, known - set(environment), 1, LIKE)
        if not like and variable.startswith("BOLTWORK_"):
            like = difflib.get_close_matches(variable, known, 1, 0.6)
            meant = f"; is {like[0]} meant?" if like else ""
            yield f"{variable} is no setting of Boltwork's{meant}"
        elif like and len(variable) >= LEAST_LIKE:
            yield f"{variable} is no setting of Boltwork's; is {like[0]} meant?"
