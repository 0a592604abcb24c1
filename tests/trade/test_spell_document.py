"""A spell's document: what it may say, and what is refused with a pointer to it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.strict_json import BadInput
from app.trade.spell_checks import Tool, check, compiled
from app.trade.spell_document import BadSpell, parse, pointer, read
from statemachine.filling import fill


def schema(required: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    """Return a tool's schema."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


PROMPT = {"type": "string", "maxLength": 40, "minLength": 1}
WIDTH = {"type": "integer", "minimum": 256, "maximum": 2_048, "default": 512}
PICTURE = {"type": "string", "x-ui": {"widget": "image"}}
TOOLS = {
    "paint": Tool(schema(("prompt",), prompt=PROMPT, width=WIDTH), ("image",), "p1"),
    "upscale": Tool(
        schema(("image",), image=PICTURE, mode={"type": "string", "enum": ["soft", "sharp"]}),
        ("image",),
        "u1",
    ),
    "write": Tool(schema(("prompt",), prompt={"type": "string", "maxLength": 200}), ("text",), "w"),
}


def spell(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a document of these steps."""
    numbered = [{"id": place, **step} for place, step in enumerate(steps, start=1)]
    told = {"slug": "a-spell", "name": "A spell", "parameters": {"what": {"type": "string"}}}
    return {**told, "steps": numbered, **more}


def step(tool: str, **inputs: Any) -> dict[str, Any]:
    """Return a step."""
    return {"tool": tool, "inputs": inputs}


PAINT = step("paint", prompt="a cat")
WHOLE = spell(
    step("write", prompt="Describe {{parameters.what}} in five words."),
    step("paint", prompt="{{ steps.1.outputs.0 }}, wide", width={"$from": "#/parameters/size"}),
    step("upscale", image={"$from": "#/steps/2/outputs/0"}, mode="sharp"),
    step("upscale", image="{{steps.2.outputs.0}}"),
    tags=["landscape", "vfx"],
    author_share_pct=10,
    parameters={
        "what": {"type": "string", "default": "a valley", "maxLength": 100},
        "size": {"type": "integer", "default": 1_024, "minimum": 256, "maximum": 2_048},
    },
)
AS_YAML = """
slug: a-spell
name: A spell
tags: [landscape, vfx]
author_share_pct: 10
parameters:
  what: {type: string, default: a valley, maxLength: 100}
  size: {type: integer, default: 1024, minimum: 256, maximum: 2048}
steps:
  - id: 1
    tool: write
    inputs: {prompt: "Describe {{parameters.what}} in five words."}
  - id: 2
    tool: paint
    inputs:
      prompt: "{{ steps.1.outputs.0 }}, wide"
      width: {$from: "#/parameters/size"}
  - id: 3
    tool: upscale
    inputs: {image: {$from: "#/steps/2/outputs/0"}, mode: sharp}
  - id: 4
    tool: upscale
    inputs: {image: "{{steps.2.outputs.0}}"}
"""


def test_yaml_and_json_say_the_same() -> None:
    """A document is the same in both, and what is kept of it is read as the same again."""
    document = parse(json.dumps(WHOLE).encode(), is_yaml=False)
    assert parse(AS_YAML.encode(), is_yaml=True) == document
    assert read(document.to_json()) == document
    assert check(document, TOOLS) == {"write": "w", "paint": "p1", "upscale": "u1"}


def test_a_cast_has_what_its_caster_gave_and_waits_for_the_rest() -> None:
    """Parameters are put in, defaults are the tools' own, and steps need those they refer to."""
    steps, values = compiled(read(WHOLE), TOOLS, {"what": "a lake"})
    assert values == {"what": "a lake", "size": 1_024}
    assert [sorted(each.needs) for each in steps] == [[], [1], [2], [2]]
    assert steps[0].inputs == {"prompt": "Describe a lake in five words."}
    made = {1: ["Still, deep, cold and blue."], 2: ["artifact:a"]}
    assert fill(steps[1].inputs, made) == {
        "prompt": "Still, deep, cold and blue., wide",
        "width": 1_024,
    }
    assert fill(steps[2].inputs, made) == {"image": "artifact:a", "mode": "sharp"}
    assert fill(steps[3].inputs, made) == {"image": "artifact:a"}


HOSTILE: dict[str, tuple[dict[str, Any], str, str]] = {
    "no slug": ({**spell(PAINT), "slug": None}, "/slug", "missing"),
    "a slug that is a path": (spell(PAINT, slug="../../etc"), "/slug", "lower case"),
    "a slug that is an address of ours": (spell(PAINT, slug="marketplace"), "/slug", "lower case"),
    "no steps": (spell(), "/steps", "1 to 20"),
    "21 steps": (spell(*[PAINT] * 21), "/steps", "1 to 20"),
    "steps out of order": ({**spell(PAINT), "steps": [{"id": 2, **PAINT}]}, "/steps/0/id", "order"),
    "an unknown field": (spell(PAINT, loop=3), "/loop", "isn't known"),
    "an unknown field of a step": (spell({**PAINT, "if": "x"}), "/steps/0/if", "isn't known"),
    "an unknown tool": (spell(step("rm -rf /")), "/steps/0/tool", "no tool"),
    "an unknown input": (spell(step("paint", cmd="y")), "/steps/0/inputs/cmd", "no such"),
    "an input that is missing": (spell(step("paint")), "/steps/0/inputs", "'prompt' is missing"),
    "an input of another type": (spell(step("paint", prompt=1)), "/steps/0/inputs", "string"),
    "an input beyond its limit": (
        spell(step("paint", prompt="x", width=9_999)), "/steps/0/inputs", "256 to 2048",
    ),
    "a share of more than 30 %": (
        spell(PAINT, author_share_pct=31), "/author_share_pct", "0 to 30",
    ),
    "a share that is true": (spell(PAINT, author_share_pct=True), "/author_share_pct", "0 to 30"),
    "a share below nothing": (spell(PAINT, author_share_pct=-1), "/author_share_pct", "0 to 30"),
    "a step that needs itself": (
        spell(step("upscale", image="{{steps.1.outputs.0}}")), "/steps/0/inputs/image", "before it",
    ),
    "steps that need each other": (
        spell(step("upscale", image="{{steps.2.outputs.0}}"), PAINT),
        "/steps/0/inputs/image", "before it",
    ),
    "a step that isn't there": (
        spell(PAINT, step("upscale", image={"$from": "#/steps/9/outputs/0"})),
        "/steps/1/inputs/image", "before it",
    ),
    "an output that isn't there": (
        spell(PAINT, step("upscale", image="{{steps.1.outputs.1}}")),
        "/steps/1/inputs/image", "1 outputs",
    ),
    "a text for a picture": (
        spell(step("write", prompt="x"), step("upscale", image="{{steps.1.outputs.0}}")),
        "/steps/1/inputs/image", "kind text",
    ),
    "a picture in a text": (
        spell(PAINT, step("paint", prompt="like {{steps.1.outputs.0}}")),
        "/steps/1/inputs/prompt", "no text",
    ),
    "a picture for a text": (
        spell(PAINT, step("paint", prompt="{{steps.1.outputs.0}}")),
        "/steps/1/inputs/prompt", "kind image",
    ),
    "a text of others for a choice": (
        spell(step("write", prompt="x"), PAINT,
              step("upscale", image="{{steps.2.outputs.0}}", mode="{{steps.1.outputs.0}}")),
        "/steps/2/inputs/mode", "kind text",
    ),
    "a picture's address that is put together": (
        spell(step("upscale", image="http://169.254.169.254/{{parameters.what}}")),
        "/steps/0/inputs/image", "Only a text",
    ),
    "a parameter that isn't there": (
        spell(step("paint", prompt="{{parameters.who}}")), "/steps/0/inputs/prompt", "no parameter",
    ),
    "a text for a number": (
        spell(step("paint", prompt="x", width={"$from": "#/parameters/what"})),
        "/steps/0/inputs/width", "kind text",
    ),
    "an expression": (
        spell(step("paint", prompt="{{ 7*7 }}")), "/steps/0/inputs/prompt", "nothing is computed",
    ),
    "code": (
        spell(step("paint", prompt="{{ ''.__class__.__mro__ }}")),
        "/steps/0/inputs/prompt", "nothing is computed",
    ),
    "braces without an end": (
        spell(step("paint", prompt="a {{parameters.what")), "/steps/0/inputs/prompt", "computed",
    ),
    "braces in braces": (
        spell(step("paint", prompt="{{ {{parameters.what}} }}")),
        "/steps/0/inputs/prompt", "nothing is computed",
    ),
    "a reference to the outside": (
        spell(step("upscale", image={"$from": "file:///etc/passwd"})),
        "/steps/0/inputs/image/$from", "A reference is",
    ),
    "a reference with something beside it": (
        spell(PAINT, step("upscale", image={"$from": "#/steps/1/outputs/0", "most": 3})),
        "/steps/1/inputs/image/$from", "stands alone",
    ),
    "a template of ours": (
        spell(step("paint", prompt={"$text": ["x"]})),
        "/steps/0/inputs/prompt/$text", "begins with",
    ),
    "a control character": (
        spell(step("paint", prompt="a\x00b")), "/steps/0/inputs/prompt", "U+0000",
    ),
    "a pointer's own characters": (
        spell(step("paint", **{"a/b~c": 1})), "/steps/0/inputs/a~1b~0c", "no such input",
    ),
    "a number that is none": (
        spell(step("paint", prompt="x", width=float("nan"))), "/steps/0/inputs/width", "no number",
    ),
    "a number too large": (
        spell(step("paint", prompt="x", width=2**60)), "/steps/0/inputs/width", "too large",
    ),
    "a parameter of no type": (
        spell(PAINT, parameters={"what": {}}), "/parameters/what/type", "one of",
    ),
    "a parameter with a pattern": (
        spell(PAINT, parameters={"what": {"type": "string", "pattern": "(a+)+$"}}),
        "/parameters/what/pattern", "isn't known",
    ),
    "a parameter that refers to the outside": (
        spell(PAINT, parameters={"what": {"$ref": "http://x"}}),
        "/parameters/what/$ref", "isn't known",
    ),
    "a default that is none of its choices": (
        spell(PAINT, parameters={"what": {"type": "string", "enum": ["a"], "default": "b"}}),
        "/parameters/what/default", "one of: a",
    ),
    "a default that its step doesn't take": (
        spell(step("paint", prompt="x", width="{{parameters.size}}"),
              parameters={"size": {"type": "integer", "default": 1}}),
        "/steps/0/inputs", "256 to 2048",
    ),
    "too many tags": (spell(PAINT, tags=["a"] * 9), "/tags", "at most 8"),
    "a tag that is no word": (spell(PAINT, tags=["<b>"]), "/tags/0", "lower case"),
    "a list for an object": ({**spell(PAINT), "steps": {"1": PAINT}}, "/steps", "list"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_is_named_by_a_pointer(name: str) -> None:
    """Whatever is refused is refused when it is published, and the sentence begins with where."""
    document, where, why = HOSTILE[name]
    with pytest.raises(BadSpell, match=r"^At /") as caught:
        check(read(document), TOOLS)
    assert (caught.value.pointer, True) == (where, why in caught.value.sentence), caught.value


BAD_YAML = {
    "aliases": "a: &a [x]\nb: *a",
    "a bomb": "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "an object of Python's": "slug: !!python/object/apply:os.system ['id']",
    "a date as a key": "2001-01-01: x",
    "a list as a key": "? [a]\n: x",
    "a key twice": "slug: a\nslug: b",
    "two documents": "a: 1\n---\nb: 2",
    "brackets without an end": "[" * 5_000,
    "no object": "just words",
    "nothing": "",
    "no text": "\x00",
    "a tab": "a:\n\t- b",
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_says_no_more_than_json(name: str) -> None:
    """Anchors, tags, doubled keys and what can't be read are refused with a sentence."""
    with pytest.raises(BadSpell):
        parse(BAD_YAML[name].encode(), is_yaml=True)


def test_words_of_yaml_are_no_traps() -> None:
    """No, on and dates are texts; numbers are as JSON writes them."""
    told = "{slug: a-spell, name: no, description: 2001-01-01, tags: ['on'], steps: []}"
    with pytest.raises(BadSpell) as caught:
        parse(told.encode(), is_yaml=True)
    assert caught.value.pointer == "/steps"  # all before it was read as text


def test_too_much_is_not_read() -> None:
    """A document is 64 KiB at most."""
    with pytest.raises(BadSpell, match="bytes"):
        parse(b" " * 70_000, is_yaml=True)


OVERRIDES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown one": ({"who": "x"}, "/context/parameterOverrides/who"),
    "another type": ({"what": 3}, "/context/parameterOverrides/what"),
    "too long": ({"what": "x" * 101}, "/context/parameterOverrides/what"),
    "too small": ({"size": 1}, "/context/parameterOverrides/size"),
    "true for a number": ({"size": True}, "/context/parameterOverrides/size"),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_a_caster_gives_is_held_to_the_parameters(name: str) -> None:
    """Its sentence points to the override."""
    values, where = OVERRIDES[name]
    with pytest.raises(BadSpell) as caught:
        compiled(read(WHOLE), TOOLS, values)
    assert caught.value.pointer == where


def test_a_parameter_without_a_default_must_be_given() -> None:
    """It can be published without, and not cast."""
    document = read(spell(step("paint", prompt="{{parameters.what}}")))
    assert check(document, TOOLS) == {"paint": "p1"}
    with pytest.raises(BadSpell, match="give it"):
        compiled(document, TOOLS, {})
    with pytest.raises(BadSpell, match="longer than 40"):
        compiled(document, TOOLS, {"what": "x" * 41})


@given(what=st.text(max_size=60))
def test_what_a_caster_says_is_never_read_as_a_reference(what: str) -> None:
    """Braces and pointers in a parameter are its text; or it is refused, with a pointer."""
    document = read(spell(step("write", prompt="of {{parameters.what}}")))
    try:
        [made], _ = compiled(document, TOOLS, {"what": what})
    except BadSpell as bad:
        assert bad.pointer
        return
    assert made.needs == set()
    assert made.inputs == {"prompt": f"of {what}"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["{{steps.1.outputs.0}}", "{{parameters.what}}", "{{", "$from", "paint"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["slug", "steps", "id", "tool", "inputs", "$from", "prompt"])
        | st.text(max_size=4),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(value=JSON)
def test_no_document_breaks_the_reader(value: Any) -> None:
    """Whatever is sent is read, or refused with a sentence."""
    try:
        check(read(value), TOOLS)
    except BadSpell as bad:
        assert str(bad).startswith("At /")


@given(inputs=JSON, which=st.sampled_from(sorted(TOOLS)))
def test_no_inputs_break_the_checks(inputs: Any, which: str) -> None:
    """Whatever a step is asked is compiled, or refused with a sentence that has a pointer."""
    document = spell(PAINT, {"tool": which, "inputs": inputs})
    try:
        steps, _ = compiled(read(document), TOOLS, {"what": "x"})
    except BadInput as bad:
        assert str(bad).startswith("At /")
    else:
        assert steps[1].needs <= {1}


@given(text=st.text(max_size=200))
def test_no_yaml_breaks_the_reader(text: str) -> None:
    """Whatever is sent as YAML is read, or refused with a sentence."""
    with pytest.raises(BadInput):
        parse(text.encode("utf-8", "surrogatepass"), is_yaml=True)


def test_a_pointer_is_written_as_the_standard_writes_it() -> None:
    """RFC 6901: ~ is ~0, / is ~1."""
    assert pointer("steps", 0, "a/b~") == "/steps/0/a~1b~0"
