"""Tools that make a picture out of pictures, with nothing but its pixels."""

import io
from collections.abc import Callable
from typing import Any, Final

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from app.executors.tools.tool import Given, Impossible, Result

WHITE: Final = (255, 255, 255)
GAP: Final = 12  # between pictures of a sheet, in pixels
LONGEST_LINE: Final = 0.92  # of a picture's width, that a caption fills
FOCUS: Final = {
    "center": (0.5, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0), "left": (0.0, 0.5),
    "right": (1.0, 0.5),
}  # fmt: skip
TURNS: Final = {
    "90": Image.Transpose.ROTATE_270,
    "180": Image.Transpose.ROTATE_180,
    "270": Image.Transpose.ROTATE_90,
}


def opened(data: bytes) -> Image.Image:
    """Return a picture that we have encoded, as RGB or RGBA."""
    picture = Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"])
    picture.load()
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def png(picture: Image.Image) -> Result:
    """Return a picture as a file without loss."""
    made = io.BytesIO()
    picture.save(made, "PNG", compress_level=1)
    return Result(made.getvalue(), "image/png", *picture.size)


def flat(picture: Image.Image, colour: tuple[int, int, int] = WHITE) -> Image.Image:
    """Return a picture that nothing can be seen through."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    ground = Image.new("RGB", picture.size, colour)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def resize(given: Given) -> Result:
    """Return a picture of the size that was asked for."""
    picture, size = opened(given.file("image")), (given["width"], given["height"])
    match given["fit"]:
        case "contain":
            return png(ImageOps.contain(picture, size, Image.Resampling.LANCZOS))
        case "cover":
            return png(ImageOps.fit(picture, size, Image.Resampling.LANCZOS))
        case _:
            return png(picture.resize(size, Image.Resampling.LANCZOS))


def crop(given: Given) -> Result:
    """Return the largest part of a picture that has the shape."""
    picture = opened(given.file("image"))
    across, down = (int(part) for part in given["aspect_ratio"].split(":"))
    width, height = picture.size
    scale = min(width / across, height / down)
    size = max(1, round(across * scale)), max(1, round(down * scale))
    return png(ImageOps.fit(picture, size, Image.Resampling.LANCZOS, 0.0, FOCUS[given["focus"]]))


def convert(given: Given) -> Result:
    """Return a picture as another kind of file."""
    picture, kind = opened(given.file("image")), given["format"]
    made = io.BytesIO()
    if kind == "png":
        return png(picture)
    if kind == "jpeg":
        flat(picture).save(made, "JPEG", quality=92, subsampling=0)
    else:
        picture.save(made, "WEBP", quality=92, method=2)
    return Result(made.getvalue(), f"image/{kind}", *picture.size)


def adjust(given: Given) -> Result:
    """Return a picture with other light, colour and direction."""
    picture = opened(given.file("image"))
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
    colours = picture.convert("RGB")
    for name, enhance in (
        ("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color), ("sharpness", ImageEnhance.Sharpness),
    ):  # fmt: skip
        if given[name] != 1:
            colours = enhance(colours).enhance(given[name])
    if alpha is not None:
        colours.putalpha(alpha)
    if given["mirror"]:
        colours = ImageOps.mirror(colours)
    turn = TURNS.get(given["rotate"])
    return png(colours.transpose(turn) if turn is not None else colours)


def caption(given: Given) -> Result:
    """Return a picture with a line of text on it."""
    picture = opened(given.file("image"))
    line = " ".join(given["text"].split())
    size = max(10, min(picture.size) // 8)
    font = ImageFont.load_default(size)
    wide = font.getlength(line)
    if wide > LONGEST_LINE * picture.width:
        size = max(6, int(size * LONGEST_LINE * picture.width / wide))
        font = ImageFont.load_default(size)
    place = {"top": 0.1, "center": 0.5, "bottom": 0.9}[given["position"]]
    at = (picture.width / 2, picture.height * place)
    draw, edge = ImageDraw.Draw(picture), max(1, size // 12)
    draw.text(at, line, WHITE, font, "mm", stroke_width=edge, stroke_fill=(0, 0, 0))
    return png(picture)


def contact_sheet(given: Given) -> Result:
    """Return several pictures as one, in rows."""
    pictures, cell = given.files("images"), given["cell"]
    columns = min(given["columns"], len(pictures))
    rows = -(-len(pictures) // columns)
    size = columns * (cell + GAP) + GAP, rows * (cell + GAP) + GAP
    sheet = Image.new("RGB", size, WHITE)
    for place, data in enumerate(pictures):
        small = ImageOps.contain(flat(opened(data)), (cell, cell), Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        left = GAP + column * (cell + GAP) + (cell - small.width) // 2
        sheet.paste(small, (left, GAP + row * (cell + GAP) + (cell - small.height) // 2))
    return png(sheet)


def palette(given: Given) -> Result:
    """Return the colours of a picture, the one that fills most of it first."""
    small = flat(opened(given.file("image")))
    small.thumbnail((256, 256))
    few = small.quantize(given["colors"], Image.Quantize.MEDIANCUT)
    table, counted = few.getpalette() or [], few.getcolors(256) or []
    whole = sum(count for count, _ in counted)
    found: dict[str, int] = {}
    for count, place in counted:
        red, green, blue = table[3 * int(str(place)) : 3 * int(str(place)) + 3]
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        found[colour] = found.get(colour, 0) + count
    ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    colours = [{"color": name, "share": round(count / whole, 4)} for name, count in ordered]
    return Result.values({"colors": colours})


def _grey(picture: Image.Image) -> Image.Image:
    return picture.convert("L").convert("RGB")


def _sepia(picture: Image.Image) -> Image.Image:
    return ImageOps.colorize(picture.convert("L"), (40, 26, 13), (255, 240, 205))


def _sketch(picture: Image.Image) -> Image.Image:
    lines = picture.convert("L").filter(ImageFilter.SMOOTH_MORE).filter(ImageFilter.CONTOUR)
    return ImageOps.autocontrast(lines, cutoff=1).convert("RGB")


def _tinted(red: float, green: float, blue: float) -> Callable[[Image.Image], Image.Image]:
    def tint(picture: Image.Image) -> Image.Image:
        scaled = [
            band.point(lambda value, by=by: min(255, round(value * by)))
            for band, by in zip(picture.split(), (red, green, blue), strict=True)
        ]
        return Image.merge("RGB", scaled)

    return tint


def _enhanced(kind: Any, by: float) -> Callable[[Image.Image], Image.Image]:
    return lambda picture: kind(picture).enhance(by)


Edit = Callable[[Image.Image], Image.Image]
# Stems of words, in the order in which what they mean is done.
EDITS: Final[tuple[tuple[tuple[str, ...], Edit], ...]] = (
    (("turn", "mirror", "flip", "facing", "reverse"), ImageOps.mirror),
    (("upside",), ImageOps.flip),
    (("rotate", "sideways"), lambda picture: picture.transpose(Image.Transpose.ROTATE_270)),
    (("square", "crop", "close-up", "closer"), lambda picture: ImageOps.fit(
        picture, (min(picture.size), min(picture.size)), Image.Resampling.LANCZOS, 0.08)),
    (("black and white", "grey", "gray", "monochrome", "noir"), _grey),
    (("sepia", "vintage", "old photo", "antique"), _sepia),
    (("sketch", "pencil", "drawing", "outline"), _sketch),
    (("blur", "soft", "dreamy"), lambda picture: picture.filter(ImageFilter.GaussianBlur(6))),
    (("sharp", "crisp", "detail"), _enhanced(ImageEnhance.Sharpness, 2.5)),
    (("bright", "light", "sunny", "day"), _enhanced(ImageEnhance.Brightness, 1.3)),
    (("dark", "night", "gloomy"), _enhanced(ImageEnhance.Brightness, 0.55)),
    (("warm", "sunset", "autumn", "golden"), _tinted(1.15, 1.0, 0.8)),
    (("cold", "cool", "winter", "ice", "blue"), _tinted(0.82, 0.97, 1.18)),
    (("vivid", "colorful", "colourful", "saturat"), _enhanced(ImageEnhance.Color, 1.8)),
    (("pastel", "faded", "pale"), _enhanced(ImageEnhance.Color, 0.5)),
    (("contrast", "dramatic"), _enhanced(ImageEnhance.Contrast, 1.5)),
    (("poster", "pop art", "comic", "cartoon"), lambda picture: ImageOps.posterize(picture, 2)),
    (("invert", "negative"), ImageOps.invert),
)  # fmt: skip
UNKNOWN: Final = (
    "None of these words is a change that is known here. Known are, among others: turn, crop, black"
    " and white, sepia, sketch, blur, sharp, bright, dark, warm, cold, vivid, poster, invert."
)


def retouch(given: Given) -> Result:
    """Return a picture changed by the words that are known. Raises Impossible where none is."""
    words = given["input_prompt"].casefold()
    edits = [edit for stems, edit in EDITS if any(stem in words for stem in stems)]
    if not edits:
        raise Impossible(UNKNOWN)
    picture = flat(opened(given.file("input_image")))
    for edit in edits:
        picture = edit(picture)
    return png(picture)
