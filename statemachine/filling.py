"""What a step asks for, while some of it is yet to be made: a template, and how it is filled.

All but two shapes in a template stand for themselves: `{"$from": [step, output]}` is that output,
and `{"$text": […]}` is a text of pieces, each a text or such a reference. A template is filled
once; what is put into it is never read as a template, whatever it says.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

FROM: Final = "$from"
TEXT: Final = "$text"
MOST: Final = "most"  # characters that the field takes

Outputs = Mapping[int, Sequence[str]]  # of each step that was made: `artifact:<id>`, or a text


class Unfit(Exception):
    """What was made doesn't fit where it is needed. Its text is a sentence for the buyer."""


def reference(step: int, output: int, most: int | None = None) -> dict[str, Any]:
    """Return what stands for an output of a step."""
    made: dict[str, Any] = {FROM: [step, output]}
    return made if most is None else made | {MOST: most}


def text(pieces: Sequence[str | tuple[int, int]], most: int | None = None) -> dict[str, Any]:
    """Return what stands for a text with outputs of steps in it."""
    told = [piece if isinstance(piece, str) else reference(*piece) for piece in pieces]
    made: dict[str, Any] = {TEXT: told}
    return made if most is None else made | {MOST: most}


def needs(template: object) -> set[int]:
    """Return the steps that must be made before a template can be filled."""
    if isinstance(template, Mapping):
        if FROM in template:
            return {template[FROM][0]}
        if TEXT in template:
            return needs(template[TEXT])
        return set().union(*(needs(value) for value in template.values()))
    if isinstance(template, list):
        return set().union(*(needs(value) for value in template))
    return set()


def fill(template: Any, outputs: Outputs, name: str = "") -> Any:
    """Return a template with outputs in their places. Raises Unfit, and KeyError for no output.

    `name` is the field's, for the sentence.
    """
    if isinstance(template, Mapping):
        if FROM in template:
            step, output = template[FROM]
            return _bounded(_output(outputs, step, output), template, name)
        if TEXT in template:
            pieces = [fill(piece, outputs, name) for piece in template[TEXT]]
            return _bounded("".join(pieces), template, name)
        return {key: fill(value, outputs, key) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, outputs, name) for value in template]
    return template


def _output(outputs: Outputs, step: int, output: int) -> str:
    made = outputs[step]
    if output >= len(made):
        raise Unfit(f"Step {step} made no output {output}.")
    return made[output]


def _bounded(filled: str, template: Mapping[str, Any], name: str) -> str:
    most = template.get(MOST)
    if most is not None and len(filled) > most:
        raise Unfit(
            f"Its input {name!r} would have {len(filled)} characters, and takes {most} at most."
        )
    return filled


WIDEST: Final = "\N{GRINNING FACE}"  # no character has more bytes
LONGEST: Final = 20_000  # characters, where a field takes any number


def worst(template: Any) -> Any:
    """Return a template with the longest texts in its places, by which a price is a maximum."""
    if isinstance(template, Mapping):
        if FROM in template or TEXT in template:
            return WIDEST * template.get(MOST, LONGEST)
        return {key: worst(value) for key, value in template.items()}
    if isinstance(template, list):
        return [worst(value) for value in template]
    return template
