"""Places without a horizon: a room, a table top, the sea from below, and what is no place."""

import numpy as np
import skia

from app.executors.scene.canvas import Floats, Plate, gradient, mixed, noise
from app.executors.scene.light import Light
from app.executors.scene.pen import paint_of, polygon, stroke, surface_of, taken_back
from app.executors.scene.words import Scene


def enclosed(
    scene: Scene, light: Light, height: int, width: int, floor: int, rng: np.random.Generator
) -> Plate:
    """Return the whole picture of such a place, without things."""
    if scene.place == "underwater":
        return _underwater(scene, height, width, floor, rng)
    if scene.place in ("room", "table"):
        return _indoors(scene, light, height, width, floor, rng)
    return _abstract(scene, height, width, rng)


def _abstract(scene: Scene, height: int, width: int, rng: np.random.Generator) -> Plate:
    hues = [rng.integers(30, 235, 3).astype(np.float32) for _ in range(5)]
    if scene.tint is not None:
        hues = [mixed(hue, np.asarray(scene.tint) * (0.45 + 0.3 * turn), 0.78)
                for turn, hue in enumerate(hues)]  # fmt: skip
    one, other = noise(height, width, rng, 2, 4), noise(height, width, rng, 3, 5)
    plate = Plate(height, width, np.ones((height, width, 3), np.float32) * hues[0])
    for turn, hue in enumerate(hues[1:]):
        flow = np.sin((6 + 3 * turn) * (one + (0.5 + 0.2 * turn) * other) + turn * 1.3)
        plate.lay(hue, np.clip(flow * 1.4, 0, 1) * 0.85)
    crest = np.exp(-((np.sin(11 * (one + 0.6 * other)) / 0.12) ** 2))
    plate.add((60, 60, 60), crest.astype(np.float32))
    return plate


def _underwater(
    scene: Scene, height: int, width: int, floor: int, rng: np.random.Generator
) -> Plate:
    dim = {"night": 0.4, "dusk": 0.6}.get(scene.time, 1.0)
    stops = [(150, 232, 236), (46, 160, 206), (14, 96, 160), (8, 58, 112)]
    water = gradient(height, [(red * dim, green * dim, blue * dim) for red, green, blue in stops])
    plate = Plate(height, width, np.repeat(water[:, None, :], width, 1).astype(np.float32))
    for turn in range(3):
        near = (turn + 1) / 3
        x = np.arange(width) / width
        line = floor + (height - floor) * 0.3 * turn + height * 0.03 * np.sin(
            x * (7 + 3 * turn) + rng.random() * 6)  # fmt: skip
        ripple = noise(height, width, rng, 18, 4, stretch=4)
        sand = mixed(water[-1], np.asarray((226, 206, 152)) * dim, 0.25 + 0.6 * near)
        plate.lay(sand * (0.86 + 0.28 * ripple[..., None]), plate.below(line.astype(np.float32)))
    net = noise(height, width, rng, 9, 3, stretch=2.4)
    caustic = np.exp(-(((net - 0.5) / 0.03) ** 2)) * np.clip((plate.y - floor) / height * 3, 0, 1)
    plate.add((70, 80, 60), (caustic * dim).astype(np.float32))
    surface = surface_of(plate)
    canvas = surface.getCanvas()
    for _ in range(9):
        left = width * (rng.random() * 1.2 - 0.1)
        lean = width * 0.24 * (rng.random() - 0.35)
        low = height * 0.95
        polygon(canvas, ((left, 0), (left + width * 0.05, 0), (left + lean + width * 0.1, low),
                (left + lean - width * 0.05, low)),
                paint_of((255, 255, 255), 0.09 * dim, width * 0.01))  # fmt: skip
    _reef(canvas, height, width, floor, dim, rng)
    for _ in range(60):
        left, y = rng.random() * width, rng.random() * height * 0.9
        r = height * (0.002 + 0.007 * rng.random() ** 2)
        canvas.drawCircle(left, y, r, stroke((235, 250, 255), max(1.0, r * 0.25), 0.5))
    taken_back(plate, surface)
    return plate


def _reef(
    canvas: skia.Canvas, height: int, width: int, floor: int, dim: float, rng: np.random.Generator
) -> None:
    """Grow weeds, corals and stones, more of them at both sides."""
    hues = ((238, 104, 96), (246, 160, 84), (206, 96, 170), (250, 206, 96), (120, 108, 200))
    for turn in range(34):
        near = turn / 34
        x = width * rng.random()
        if near > 0.4 and abs(x / width - 0.5) < 0.22:
            x = width * (0.06 if x < width / 2 else 0.94)
        foot = floor + (height - floor) * (0.06 + 0.9 * near)
        tall = height * (0.06 + 0.16 * near) * (0.6 + 0.8 * rng.random())
        hue: Floats = np.asarray(hues[int(rng.integers(0, len(hues)))]) * dim
        hue = mixed((20, 104, 160), hue, 0.35 + 0.6 * near)
        kind = rng.random()
        if kind < 0.4:
            _weed(canvas, x, foot, tall * 1.5, mixed((20, 90, 120), (40, 140, 80), near) * dim, rng)
        elif kind < 0.8:
            _branch(canvas, x, foot, tall * 0.42, -1.5708, hue, 5, rng)
        else:
            for lump in range(7):
                r = tall * (0.16 + 0.14 * rng.random())
                shade = np.asarray(hue) * (0.7 + 0.06 * lump)
                canvas.drawCircle(x + tall * 0.4 * (rng.random() - 0.5), foot - r * rng.random(), r,
                                  paint_of(shade))  # fmt: skip


def _weed(
    canvas: skia.Canvas, x: float, foot: float, tall: float, hue: Floats, rng: np.random.Generator
) -> None:
    for _ in range(5):
        at, lean = x + tall * 0.2 * (rng.random() - 0.5), tall * 0.25 * (rng.random() - 0.5)
        path = skia.Path()
        path.moveTo(at, foot)
        path.cubicTo(at + lean, foot - tall * 0.3, at - lean, foot - tall * 0.65,
                     at + lean * 0.7, foot - tall * (0.7 + 0.3 * rng.random()))  # fmt: skip
        canvas.drawPath(path, stroke(hue * (0.8 + 0.4 * rng.random()), max(2.0, tall * 0.05)))


def _branch(
    canvas: skia.Canvas, x: float, y: float, long: float, angle: float, hue: Floats, left: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    to_x, to_y = x + long * np.cos(angle), y + long * np.sin(angle)
    canvas.drawLine(x, y, to_x, to_y, stroke(hue, max(1.5, long * 0.26)))
    if left and long > 3:
        for side in (-0.5, 0.45):
            _branch(canvas, to_x, to_y, long * (0.66 + 0.14 * rng.random()),
                    angle + side * (0.7 + 0.6 * rng.random()), hue, left - 1, rng)  # fmt: skip


def _indoors(
    scene: Scene, light: Light, height: int, width: int, floor: int, rng: np.random.Generator
) -> Plate:
    """Return a wall with a window, and boards below it: a floor, or a table's top."""
    glow = 0.62 if light.is_dark else 1.0
    walls = ((196, 178, 150), (164, 182, 178), (198, 164, 148), (178, 176, 196))
    wall: Floats = np.asarray(walls[int(rng.integers(0, len(walls)))], np.float32) * glow
    wall = wall if scene.tint is None else mixed(wall, scene.tint, 0.5)
    column = gradient(height, [tuple(wall * 0.72), tuple(wall), tuple(wall * 0.9)])
    plate = Plate(height, width, np.repeat(column[:, None, :], width, 1).astype(np.float32))
    texture = noise(height, width, rng, 30, 3)[..., None]
    plate.rgb *= 0.965 + 0.07 * texture
    is_table = scene.place == "table"
    board: Floats = np.asarray((150, 98, 58) if is_table else (146, 104, 70), np.float32) * (
        glow + 0.08
    )
    grain = noise(height, width, rng, 5, 6, stretch=14 if is_table else 0.2)
    below = plate.below(np.full(width, floor, np.float32))
    near = ((plate.y - floor) / (height - floor)).clip(0, 1)[..., None]
    plate.lay(board * (0.74 + 0.34 * near) * (0.8 + 0.4 * grain[..., None]), below)
    surface = surface_of(plate)
    canvas = surface.getCanvas()
    _window(canvas, scene, light, height, width, floor, rng)
    lines = 9
    for turn in range(lines + 1):
        if is_table:
            y = floor + (height - floor) * (turn / lines) ** 1.6
            canvas.drawLine(0, y, width, y, stroke(board * 0.5, max(1, height * 0.002), 0.5))
        else:
            top, low = width * (turn / lines), width * (0.5 + (turn / lines - 0.5) * 2.6)
            canvas.drawLine(top, floor, low, height, stroke(board * 0.5, max(1, height * 0.002),
                                                            0.6))  # fmt: skip
    edge = height * (0.012 if is_table else 0.022)
    canvas.drawRect(skia.Rect(0, floor - edge, width, floor),
                    paint_of(board * 1.15 if is_table else wall * 1.12))  # fmt: skip
    canvas.drawRect(skia.Rect(0, floor, width, floor + edge), paint_of((0, 0, 0), 0.18, edge))
    if not is_table:
        x, y, w, h = width * 0.5, height * 0.86, width * 0.36, height * 0.09
        rug = ((150, 62, 66), (66, 92, 130), (92, 120, 92))[int(rng.integers(0, 3))]
        for part, shade in ((1.0, 1.0), (0.84, 1.35), (0.72, 0.9)):
            canvas.drawOval(skia.Rect(x - w * part, y - h * part, x + w * part, y + h * part),
                            paint_of(np.asarray(rug) * shade * glow))  # fmt: skip
    taken_back(plate, surface)
    return plate


def _window(
    canvas: skia.Canvas, scene: Scene, light: Light, height: int, width: int, floor: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Set a window that shows the hour, with its light on the boards."""
    left, top, wide, tall = width * 0.56, height * 0.09, width * 0.32, floor * 0.62
    frame: Floats = np.asarray((244, 238, 226)) * (0.66 if light.is_dark else 1.0)
    bar = min(width, height) * 0.014
    canvas.drawRect(skia.Rect(left - bar, top - bar, left + wide + bar, top + tall + bar),
                    paint_of(frame))  # fmt: skip
    for turn, colour in enumerate(gradient(24, light.sky)):
        y = top + tall * turn / 24
        canvas.drawRect(skia.Rect(left, y, left + wide, y + tall / 24 + 1), paint_of(colour))
    if scene.time == "night":
        for _ in range(26):
            x, y = left + wide * rng.random(), top + tall * rng.random()
            canvas.drawCircle(x, y, max(1.0, bar * 0.13), paint_of((240, 244, 255), 0.9))
        canvas.drawCircle(left + wide * 0.7, top + tall * 0.25, bar * 2, paint_of((240, 238, 220)))
    else:
        canvas.drawCircle(left + wide * 0.3, top + tall * 0.6, bar * 2.4,
                          paint_of(light.sun, 0.9, bar))  # fmt: skip
    hill = [(left + wide * t / 12, top + tall * (0.86 - 0.07 * np.sin(t * 0.9))) for t in range(13)]
    polygon(canvas, [*hill, (left + wide, top + tall), (left, top + tall)],
            paint_of(light.on((92, 132, 84), 0.3)))  # fmt: skip
    canvas.drawRect(skia.Rect(left + wide / 2 - bar / 2, top, left + wide / 2 + bar / 2,
                              top + tall), paint_of(frame))  # fmt: skip
    canvas.drawRect(skia.Rect(left, top + tall / 2 - bar / 2, left + wide,
                              top + tall / 2 + bar / 2), paint_of(frame))  # fmt: skip
    canvas.drawRect(skia.Rect(left - bar * 2, top + tall + bar, left + wide + bar * 2,
                              top + tall + bar * 2.2), paint_of(frame * 0.9))  # fmt: skip
    if not light.is_dark:
        polygon(canvas, ((left - width * 0.12, floor), (left + wide * 0.8, floor),
                (left + wide * 0.4, height), (left - width * 0.36, height)),
                paint_of(light.sun, 0.16, bar * 1.5))  # fmt: skip
    else:
        canvas.drawCircle(width * 0.2, floor * 0.35, width * 0.42,
                          paint_of((255, 196, 110), 0.17, width * 0.12))  # fmt: skip
