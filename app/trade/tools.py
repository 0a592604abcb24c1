"""The tools that are sold by the run: what may be asked of each, and what a run of it costs.

They are lines of the catalogue like every model. What our own processes run is `toolbox`'s; a name
that providers have made known is open where one of them makes it, or in development, where a tool
of ours stands in for it and every listing says so.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from app.trade.catalogue import (
    NETWORK,
    OFFERINGS,
    PAINTER,
    TOOLBOX,
    VISION,
    Kind,
    Offering,
    Surface,
)
from app.trade.inputs import Schema
from app.trade.model_inputs import MOST_SEED
from pricing.money import MicroUsd
from pricing.run_price import PerMegapixelStep, PerRun, RunPrice, Tokens

AGENT: Final = "agent"  # the tool, and who makes it
MOST_PICTURE_SIDE: Final = 4_096  # that a tool makes
MOST_PICTURE_TEXT: Final = 6 * 1024 * 1024  # characters of a `data:` URI
PICTURE_SAYS: Final = "An https address, a `data:` URI, or `artifact:ID` of a result of yours."


def _field(kind: str, title: str, says: str, widget: str, **more: Any) -> dict[str, Any]:
    hint = {"widget": widget} | ({"step": more.pop("step")} if "step" in more else {})
    return {"type": kind, "title": title, "description": says, **more, "x-ui": hint}


def picture(title: str = "Picture", says: str = PICTURE_SAYS) -> Schema:
    """Return the rule of a picture that a run is made from."""
    return _field("string", title, says, "image", minLength=1, maxLength=MOST_PICTURE_TEXT)


def text(title: str, says: str, most: int, *, least: int = 1, lines: bool = True) -> Schema:
    """Return the rule of a text."""
    widget = "textarea" if lines else "text"
    lengths = {"minLength": least, "maxLength": most} if least else {"maxLength": most}
    return _field("string", title, says, widget, **lengths)


def whole(title: str, says: str, least: int, most: int, default: int, *, step: int = 1) -> Schema:
    """Return the rule of a whole number."""
    bounds = {"minimum": least, "maximum": most, "default": default}
    return _field("integer", title, says, "number", **bounds, step=step)


def amount(title: str, says: str, least: float, most: float, default: float) -> Schema:
    """Return the rule of a number that a slider sets."""
    bounds = {"minimum": least, "maximum": most, "default": default}
    return _field("number", title, says, "range", **bounds, step=0.05)


def choice(title: str, says: str, *choices: str, default: str = "") -> Schema:
    """Return the rule of one of several words, of which the first is the default."""
    chosen = default or choices[0]
    return _field("string", title, says, "select", enum=list(choices), default=chosen)


def switch(title: str, says: str) -> Schema:
    """Return the rule of what is done or not, and isn't unless it is asked for."""
    return _field("boolean", title, says, "checkbox", default=False)


def named(title: str, says: str, names: Sequence[str]) -> Schema:
    """Return the rule of a number, from 1 on, where each has a name for people."""
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    rule = whole(title, f"{says}: {listed}.", 1, len(names), 1)
    return {**rule, "x-ui": {"widget": "select", "labels": list(names)}}


def schema_of(*required: str, **fields: Schema) -> Schema:
    """Return a tool's inputs, whose order a form keeps."""
    ordered = {
        name: {**rule, "x-order": place} for place, (name, rule) in enumerate(fields.items(), 1)
    }
    return {
        "type": "object",
        "properties": ordered,
        "required": list(required),
        "additionalProperties": False,
    }


SEED: Final = _field(
    "integer", "Seed", "The same seed makes the same picture again.", "seed",
    minimum=0, maximum=MOST_SEED,
)  # fmt: skip
PROMPT: Final = text("Prompt", "What is to be seen.", 4_000)


def _tool(
    tool_id: str,
    name: str,
    says: str,
    inputs: Schema,
    price: RunPrice,
    *,
    makers: tuple[str, ...] = (TOOLBOX,),
    outputs: tuple[str, ...] = ("image",),
    typical_ms: int = 1_000,
    licence: str = "",
    stand_in: str = "",
) -> Offering:
    return Offering(
        tool_id, name, Kind.TOOL, says, {Surface.TOOLS: inputs}, makers=makers, price=price,
        outputs=outputs, typical_ms=typical_ms, licence=licence, stand_in=stand_in,
    )  # fmt: skip


def _run(microusd: int) -> PerRun:
    return PerRun(MicroUsd(microusd))


IMAGINE: Final = _tool(
    "text-to-image", "Text to image",
    "A picture from words, by a small painter of scenes; not a diffusion model.",
    schema_of(
        "prompt",
        prompt=PROMPT,
        negative_prompt=text("Leave out", "What must not be seen.", 4_000, least=0),
        width=whole("Width", "In pixels.", 256, 2_048, 1_024, step=64),
        height=whole("Height", "In pixels.", 256, 2_048, 768, step=64),
        steps=whole("Passes", "More are finer.", 1, 50, 8),
        seed=SEED,
    ),
    PerMegapixelStep(MicroUsd(500), MicroUsd(1_000), MicroUsd(50_000)),
    makers=(PAINTER,), typical_ms=2_500,
)  # fmt: skip
IMAGE_RUN: Final = schema_of(
    "prompt",
    prompt=PROMPT,
    negative_prompt=text("Leave out", "What must not be seen.", 4_000, least=0),
    width=whole("Width", "In pixels.", 256, 2_048, 1_024, step=64),
    height=whole("Height", "In pixels.", 256, 2_048, 1_024, step=64),
    seed=SEED,
)
EDIT: Final = schema_of(
    "input_image", "input_prompt",
    input_image=picture(),
    input_prompt=text("What to change", "In words.", 4_000),
)  # fmt: skip
# What the network's own styles look like: it has numbers for them, and no names.
STYLES: Final = (
    "pastel", "ink and yellow", "soft wash", "bright shards", "warm crimson", "oil strokes",
    "speckled night", "bold primaries", "light sketch", "grey and red leaves", "copper",
    "ochre etching", "lilac", "green chalk", "pale blue", "stained glass", "blue crayon", "woven",
    "sand relief", "blue and gold strokes", "deep red", "pop", "lavender and ink", "dusk",
    "blue woodblock", "carved bronze",
)  # fmt: skip
MASKED: Final = schema_of(
    "input_image", "input_prompt",
    input_image=picture(),
    input_prompt=text("What to change", "In words.", 4_000),
    mask=picture("Mask", "A PNG of the same size: only where it is transparent is the"
                 " picture changed. Without one, anywhere."),
)  # fmt: skip
TOOLS: Final = (
    IMAGINE,
    _tool(
        "kontext", "Kontext", "Changes a picture as words say.", EDIT, _run(40_000),
        makers=(NETWORK,), typical_ms=20_000, stand_in=TOOLBOX,
    ),
    _tool(
        "retouch", "Retouch",
        "Changes a picture by the words it knows (turn, flip, crop, black and white, sepia, sketch,"
        " blur, sharp, bright, dark, warm, cold, vivid, poster, invert …); not a diffusion model.",
        EDIT, _run(1_000), typical_ms=600,
    ),
    _tool(
        "resize", "Resize", "A picture in another size.",
        schema_of(
            "image",
            image=picture(),
            width=whole("Width", "In pixels.", 16, 4_096, 1_024, step=16),
            height=whole("Height", "In pixels.", 16, 4_096, 1_024, step=16),
            fit=choice("Fit", "How the picture fills the new size: whole, cut, or stretched.",
                       "contain", "cover", "stretch"),
        ),
        _run(500), typical_ms=500,
    ),
    _tool(
        "crop", "Crop", "A part of a picture, in another shape.",
        schema_of(
            "image",
            image=picture(),
            aspect_ratio=choice("Shape", "Width to height.",
                                "1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16"),
            focus=choice("Keep", "Which part is kept.", "center", "top", "bottom", "left", "right"),
        ),
        _run(500), typical_ms=400,
    ),
    _tool(
        "convert", "Convert", "A picture as another kind of file, without metadata.",
        schema_of(
            "image",
            image=picture(),
            format=choice("Format", "The kind of file.", "png", "jpeg", "webp"),
        ),
        _run(500), typical_ms=400,
    ),
    _tool(
        "adjust", "Adjust", "Light, colour and direction of a picture.",
        schema_of(
            "image",
            image=picture(),
            brightness=amount("Brightness", "1 leaves it.", 0, 3, 1),
            contrast=amount("Contrast", "1 leaves it.", 0, 3, 1),
            saturation=amount("Colour", "1 leaves it; 0 is grey.", 0, 3, 1),
            sharpness=amount("Sharpness", "1 leaves it; 0 is soft.", 0, 3, 1),
            rotate=choice("Rotate", "Degrees, clockwise.", "0", "90", "180", "270"),
            mirror=switch("Mirror", "Left becomes right."),
        ),
        _run(500), typical_ms=500,
    ),
    _tool(
        "caption", "Caption", "A line of text on a picture.",
        schema_of(
            "image", "text",
            image=picture(),
            text=text("Text", "What it says, in Latin letters.", 200, lines=False),
            position=choice("Place", "Where it stands.", "bottom", "top", "center"),
        ),
        _run(500), typical_ms=400,
    ),
    _tool(
        "contact-sheet", "Contact sheet", "Several pictures as one, in rows.",
        schema_of(
            "images",
            images=_field("array", "Pictures", PICTURE_SAYS, "images", items=picture(),
                          minItems=2, maxItems=16),
            columns=whole("Columns", "Pictures in a row.", 1, 8, 3),
            cell=whole("Side", "Of each picture, in pixels.", 64, 1_024, 320, step=16),
        ),
        _run(1_000), typical_ms=800,
    ),
    _tool(
        "palette", "Palette", "The colours of a picture, by how much of it they fill.",
        schema_of(
            "image",
            image=picture(),
            colors=whole("Colours", "How many.", 2, 16, 6),
        ),
        _run(300), outputs=("values",), typical_ms=300,
    ),
    _tool(
        "pan-and-zoom", "Pan and zoom", "A film that moves slowly over a picture.",
        schema_of(
            "image",
            image=picture(),
            duration=whole("Length", "In seconds.", 2, 10, 5),
            direction=choice("Movement", "Where it goes.", "in", "out", "left", "right"),
        ),
        _run(10_000), outputs=("video",), typical_ms=6_000,
    ),
    _tool(
        "qr-code", "QR code", "A QR code of a text or an address.",
        schema_of(
            "text",
            text=text("Text", "What it holds.", 1_200),
            size=whole("Side", "In pixels.", 128, 2_048, 512, step=16),
        ),
        _run(200), typical_ms=200,
    ),
    _tool(
        "upscale", "Upscale",
        "A picture two to four times as large on each side, its edges drawn anew by Real-ESRGAN's"
        " small network. Of at most 1,048,576 pixels, to at most 4,096 a side.",
        schema_of(
            "image",
            image=picture(),
            scale=choice("Times", "How much longer each side becomes.", "2", "3", "4"),
        ),
        _run(8_000), makers=(VISION,), typical_ms=8_000, licence="BSD-3-Clause",
    ),
    _tool(
        "cut-out", "Cut out",
        "A picture without its background: a person, found by a network; or anything else whose"
        " background is unlike it, and on all sides of it.",
        schema_of(
            "image",
            image=picture(),
            subject=choice("What stays", "What is cut out.", "person", "object"),
        ),
        _run(2_000), makers=(VISION,), typical_ms=900, licence="Apache-2.0",
    ),
    _tool(
        "read-text", "Read text",
        "The printed text in a picture, line by line, by Tesseract with its network for English.",
        schema_of(
            "image",
            image=picture(),
            layout=choice("Layout", "How the text stands in the picture.",
                          "page", "block", "line"),
        ),
        _run(2_000), makers=(VISION,), outputs=("text",), typical_ms=1_200, licence="Apache-2.0",
    ),
    _tool(
        "trace", "Trace to SVG",
        "A picture as a drawing of coloured paths (SVG), sharp at any size. Best of logos and flat"
        " drawings; what is traced is at most 1,024 pixels a side.",
        schema_of(
            "image",
            image=picture(),
            detail=choice("Detail", "How much of it is kept.", "low", "medium", "high",
                          default="medium"),
            colors=choice("Colours", "All of them, or two.", "color", "black and white"),
            curves=choice("Edges", "How they run.", "spline", "polygon", "pixel"),
        ),
        _run(1_500), makers=(VISION,), outputs=("vector",), typical_ms=1_500,
    ),
    _tool(
        "restyle", "Restyle",
        "A picture painted anew by a small network, in one of the 26 styles that it has learnt, or"
        " in the style of another picture. The result has at most 1,024 pixels a side.",
        schema_of(
            "image",
            image=picture(),
            style=named("Style", "Which of its own", STYLES),
            style_image=picture("Style of", "A picture whose style is taken instead. "
                                + PICTURE_SAYS),
            strength=amount("Strength", "0 leaves the picture.", 0, 1, 1),
            keep_colors=switch("Keep colours", "Only light and lines change."),
        ),
        _run(4_000), makers=(VISION,), typical_ms=2_000, licence="MIT",
    ),
    _tool(
        "moderate", "Moderate",
        "How likely a picture shows nudity, from 0 to 1, by Yahoo's network Open NSFW: below 0.2"
        " is safe, above 0.8 unsafe. It knows of nothing else that may be unwanted.",
        schema_of("image", image=picture()),
        _run(1_000), makers=(VISION,), outputs=("values",), typical_ms=500,
        licence="BSD-2-Clause",
    ),
)  # fmt: skip


def agent_offering(name: str, price: Tokens) -> Offering:
    """Return the agent as a tool: text in, text out, for the tokens that it really used."""
    most = price.most_tokens
    inputs = schema_of(
        "prompt",
        prompt=text("Prompt", "What you need done.", price.most_characters),
        max_tokens=whole(
            "Longest answer", "In tokens. You pay for those that are used.",
            min(16, most), most, min(512, most), step=16,
        ),
    )  # fmt: skip
    return Offering(
        AGENT, "Agent", Kind.AGENT, f"Text from text, by {name}.", {Surface.TOOLS: inputs},
        makers=(AGENT,), price=price, outputs=("text",), typical_ms=5_000,
    )  # fmt: skip


def edit_offering(name: str, price_microusd: MicroUsd, maker: str) -> Offering:
    """Return a tool that the operator sells of a maker's: it changes a picture as words say."""
    return _tool(
        name, name, f"{name}: changes a picture as words say.", MASKED, PerRun(price_microusd),
        makers=(maker,), typical_ms=20_000,
    )  # fmt: skip


def as_run(model: Offering) -> Offering:
    """Return a model of pictures as what can be run, too: the same line, sold by another surface.

    The embedded painter's own model is `imagine`.
    """
    if model.kind is not Kind.IMAGE or model.id == PAINTER:
        return model
    return replace(model, inputs={**model.inputs, Surface.TOOLS: IMAGE_RUN}, outputs=("image",))


KNOWN: Final = (*TOOLS, *map(as_run, OFFERINGS))  # the whole catalogue, but operators' own lines
