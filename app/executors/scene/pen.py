"""A pen over a plate: shapes with soft edges, drawn by Skia."""

from collections.abc import Sequence

import numpy as np
import skia
from numpy.typing import ArrayLike, NDArray

from app.executors.scene.canvas import Plate


def opaque(pixels: NDArray[np.uint8]) -> skia.Image:
    """Return pixels through which nothing is seen as Skia draws them fastest."""
    return skia.Image.fromarray(
        np.ascontiguousarray(pixels),
        colorType=skia.kRGBA_8888_ColorType,
        alphaType=skia.kOpaque_AlphaType,
    )


def bitmap(pixels: NDArray[np.uint8]) -> skia.Image:
    """Return pixels as Skia draws them: multiplied by their alpha once, and not at each drawing."""
    alpha = pixels[..., 3:].astype(np.uint16)
    colours = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return skia.Image.fromarray(
        np.dstack([colours, pixels[..., 3:]]),
        colorType=skia.kRGBA_8888_ColorType,
        alphaType=skia.kPremul_AlphaType,
    )


def paint_of(colour: ArrayLike, alpha: float = 1.0, blur: float = 0.0) -> skia.Paint:
    """Return a paint that fills."""
    red, green, blue = (max(0, min(255, int(part))) for part in np.asarray(colour).tolist())
    seen = int(max(0.0, min(1.0, alpha)) * 255)
    paint = skia.Paint(Color=skia.Color(red, green, blue, seen), AntiAlias=True)
    if blur:
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    return paint


def surface_of(plate: Plate) -> skia.Surface:
    """Return a surface on which a plate's picture lies."""
    surface = skia.Surface(plate.width, plate.height)
    surface.getCanvas().clear(0)
    surface.getCanvas().drawImage(bitmap(plate.pixels()), 0, 0)
    return surface


def pixels_of(surface: skia.Surface) -> NDArray[np.uint8]:
    """Return what a surface shows, four bytes a pixel."""
    return np.asarray(
        surface.makeImageSnapshot().toarray(
            colorType=skia.kRGBA_8888_ColorType, alphaType=skia.kUnpremul_AlphaType
        )
    )


def taken_back(plate: Plate, surface: skia.Surface) -> None:
    """Put what a surface shows into a plate."""
    pixels = pixels_of(surface)
    plate.rgb = pixels[..., :3].astype(np.float32)
    plate.alpha = pixels[..., 3].astype(np.float32) / 255


def polygon(canvas: skia.Canvas, points: Sequence[tuple[float, float]], paint: skia.Paint) -> None:
    """Fill a polygon."""
    path = skia.Path()
    path.addPoly([skia.Point(float(x), float(y)) for x, y in points], True)
    canvas.drawPath(path, paint)


def stroke(colour: ArrayLike, width: float, alpha: float = 1.0) -> skia.Paint:
    """Return a paint that draws lines with round ends."""
    paint = paint_of(colour, alpha)
    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(float(width))
    paint.setStrokeCap(skia.Paint.kRound_Cap)
    return paint
