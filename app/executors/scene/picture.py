"""A scene as layers, seen at a moment: a picture is the moment 0 of its film."""

from dataclasses import dataclass

import numpy as np
import skia
from numpy.typing import NDArray

from app.executors.scene.canvas import Plate, noise, shifted
from app.executors.scene.enclosed import enclosed
from app.executors.scene.land import Land
from app.executors.scene.light import Light, light_of
from app.executors.scene.pen import bitmap, opaque, paint_of, pixels_of
from app.executors.scene.scenery import Scenery
from app.executors.scene.sky import sky_of
from app.executors.scene.stage import Sprite, sprites_of
from app.executors.scene.weather import Weather
from app.executors.scene.words import Scene

ENCLOSED = frozenset(("room", "table", "underwater", "abstract"))
LIT = frozenset(  # somebody is at home, when it is dark
    ("house", "house-with-garden", "houses", "hut", "church", "castle", "japanese-castle", "tent")
)
HORIZONS = {
    "sea": 0.56, "beach": 0.5, "lake": 0.56, "mountains": 0.7, "city": 0.66, "room": 0.62,
    "table": 0.56, "underwater": 0.74, "space": 1.0, "sky": 1.0, "meadow": 0.58, "snow": 0.62,
    "desert": 0.56, "moon": 0.6, "mars": 0.58, "forest": 0.6, "village": 0.6, "farm": 0.54,
    "garden": 0.56,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layers:
    """A scene, composed: what is far, what moves before it, the land, the things, the weather."""

    scene: Scene
    light: Light
    height: int
    width: int
    horizon: int
    back: NDArray[np.uint8]
    clouds: NDArray[np.uint8] | None
    land: NDArray[np.uint8] | None
    water: tuple[int, int] | None
    sprites: tuple[Sprite, ...]
    weather: Weather
    sun: tuple[float, float, float]


def composed(scene: Scene, height: int, width: int, seed: int) -> Layers:
    """Return the layers of a scene, in this size; a seed alone decides what the words don't."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF])
    light = light_of(scene)
    share = HORIZONS.get(scene.place, 0.58) + 0.03 * (rng.random() - 0.5)
    horizon = min(height, max(8, int(height * share)))
    clouds = land = water = None
    sun = (width * 0.5, height * 0.2, 1.0)
    if scene.place in ENCLOSED:
        back = enclosed(scene, light, height, width, horizon, rng)
    else:
        sky = sky_of(scene, light, height, width, horizon, rng)
        back, sun = sky.plate, sky.sun
        if horizon < height:
            ground = Land(scene, light, sky, horizon, rng)
            ground.lay_all()
            land = Scenery(ground).draw_all().pixels()
            water = ground.water
        if sky.clouds is not None:
            clouds = sky.clouds.pixels()
    if scene.place == "sky":
        _clouds_below(back, light, rng)
    if scene.place == "space" and not scene.things:
        _planet(back, rng)
    if scene.place == "moon":
        _earth(back, horizon)
    sprites = sprites_of(scene, light, height, width, horizon, rng)
    weather = Weather(scene, light, height, width, horizon, rng)
    return Layers(
        scene, light, height, width, horizon, back.pixels(), clouds, land, water,
        tuple(sprites), weather, sun,
    )  # fmt: skip


def _clouds_below(back: Plate, light: Light, rng: np.random.Generator) -> None:
    """Lay a sea of clouds under who flies above it."""
    height, width = back.height, back.width
    body = noise(height, width, rng, 4, 6, stretch=2)
    for turn in range(3):
        line = height * (0.7 + 0.1 * turn)
        mask = np.clip((back.y - line) / (height * 0.06) + (body - 0.5) * 5, 0, 1)
        lit = np.clip(0.5 + 3 * (body - shifted(body, 6, 9)), 0, 1)[..., None]
        dark, bright = light.on((176, 196, 226), 0.2), light.on((255, 255, 255))
        back.lay(dark + (bright - dark) * lit, mask.astype(np.float32) * 0.9)


def _planet(back: Plate, rng: np.random.Generator) -> None:
    """Hang a banded planet with a lit side."""
    size = min(back.height, back.width)
    x, y = back.width * (0.3 + 0.4 * rng.random()), back.height * (0.35 + 0.3 * rng.random())
    radius = size * (0.16 + 0.1 * rng.random())
    distance = np.hypot(back.x - x, back.y - y)
    mask = np.clip(radius - distance, 0, 1.5) / 1.5
    hue = rng.integers(70, 230, 3).astype(np.float32)
    bands = np.sin((back.y - y) / radius * 9 + 4 * noise(back.height, back.width, rng, 4, 4))
    shade = np.clip(1.15 - np.hypot(back.x - x + radius * 0.45, back.y - y + radius * 0.45)
                    / (1.55 * radius), 0.05, 1.1)  # fmt: skip
    back.lay(hue * (0.78 + 0.22 * bands[..., None]) * shade[..., None], mask)
    back.add(hue * 0.5, (np.exp(-(distance - radius).clip(0) / (radius * 0.12)) * (1 - mask)
                         * 0.5 * shade).astype(np.float32))  # fmt: skip


def _earth(back: Plate, horizon: int) -> None:
    """Hang the Earth above the Moon."""
    size = min(back.height, back.width)
    x, y, radius = back.width * 0.76, horizon * 0.3, size * 0.085
    distance = np.hypot(back.x - x, back.y - y)
    rng = np.random.default_rng(7)
    lands = noise(back.height, back.width, rng, 60 * 40 / max(radius, 12) / 2, 4)
    colour = np.where((lands > 0.56)[..., None], (86, 140, 84), (44, 104, 190)).astype(np.float32)
    colour = np.where((lands < 0.36)[..., None], (236, 242, 250), colour)
    shade = np.clip(1.2 - np.hypot(back.x - x + radius * 0.5, back.y - y + radius * 0.4)
                    / (1.5 * radius), 0.05, 1)  # fmt: skip
    back.lay(colour * shade[..., None], np.clip(radius - distance, 0, 1.5) / 1.5)
    back.add((70, 120, 220), (np.exp(-(distance - radius).clip(0) / (radius * 0.1))
                              * (distance > radius) * 0.5).astype(np.float32))  # fmt: skip


class Stage:
    """Layers as they look at a moment: a pure function of the time."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.back = opaque(layers.back)
        self.clouds = None if layers.clouds is None else bitmap(layers.clouds)
        self.land = None if layers.land is None else bitmap(layers.land)
        self.sprites = [(sprite, bitmap(sprite.pixels)) for sprite in layers.sprites]
        self.surface = skia.Surface(layers.width, layers.height)

    def at(self, moment_s: float) -> NDArray[np.uint8]:
        """Return the picture at a moment, three bytes a pixel."""
        layers, canvas = self.layers, self.surface.getCanvas()
        canvas.drawImage(self.back, 0, 0)
        if self.clouds is not None:
            drift = layers.width * 0.014 * moment_s
            canvas.drawImage(self.clouds, drift, 0)
            if moment_s:
                canvas.drawImage(self.clouds, drift - layers.width, 0)
        layers.weather.behind(canvas, moment_s)
        if self.land is not None:
            self._land(canvas, moment_s)
        for sprite, image in self.sprites:
            self._sprite(canvas, sprite, image, moment_s)
        layers.weather.before(canvas, moment_s)
        return np.ascontiguousarray(pixels_of(self.surface)[..., :3])

    def _land(self, canvas: skia.Canvas, moment_s: float) -> None:
        canvas.drawImage(self.land, 0, 0)
        water = self.layers.water
        if water is None or not moment_s:
            return
        top, low = water
        step = 2
        for y in range(top, low - step, step):
            near = (y - top) / max(1, low - top)
            sway = (1 + 5 * near) * np.sin(moment_s * 2.4 + y / (3 + 16 * near))
            row = skia.Rect.MakeXYWH(0, y, self.layers.width, step)
            canvas.drawImageRect(self.land, row, row.makeOffset(float(sway), 0),
                                 skia.SamplingOptions(skia.FilterMode.kLinear))  # fmt: skip

    def _sprite(
        self, canvas: skia.Canvas, sprite: Sprite, image: skia.Image, moment_s: float
    ) -> None:
        x, y, lean = moved(sprite, moment_s, self.layers.width)
        half = sprite.size / 2
        if sprite.has_shadow:
            canvas.drawOval(
                skia.Rect(x - half * 0.72, y + half * 0.78, x + half * 0.72, y + half * 1.0),
                paint_of((0, 0, 0), 0.34, sprite.size * 0.028),
            )
        if sprite.mirrored:
            canvas.save()
            canvas.translate(x, y + half * 0.72)
            canvas.scale(1, -0.55)
            paint = skia.Paint(Alphaf=0.3)
            canvas.drawImageRect(image, skia.Rect.MakeXYWH(-half, -sprite.size * 0.86, sprite.size,
                                 sprite.size), skia.SamplingOptions(skia.FilterMode.kLinear),
                                 paint)  # fmt: skip
            canvas.restore()
        canvas.save()
        canvas.translate(x, y)
        canvas.rotate(lean)
        if sprite.moves == "flicker" and self.layers.light.is_dark:
            for far, alpha in ((4.4, 0.16), (2.4, 0.22), (1.3, 0.26)):
                glow = paint_of((255, 168, 76), alpha, half * far * 0.42)
                canvas.drawOval(skia.Rect(-half * far, -half * far * 0.62, half * far,
                                          half * far * 0.7), glow)  # fmt: skip
        canvas.drawImageRect(image, skia.Rect.MakeXYWH(-half, -half, sprite.size, sprite.size),
                             skia.SamplingOptions(skia.FilterMode.kLinear))  # fmt: skip
        if sprite.name in LIT and self.layers.light.is_dark:
            canvas.drawCircle(0, half * 0.3, half * 0.5, paint_of((255, 204, 118), 0.5, half * 0.3))
        canvas.restore()


def moved(sprite: Sprite, moment_s: float, width: int) -> tuple[float, float, float]:
    """Return where a thing is at a moment, and how it leans."""
    x, y, lean, turn = sprite.x, sprite.y, sprite.lean_deg, sprite.phase
    if not moment_s:
        return x, y, lean
    wave = float(np.sin(moment_s * 2.2 + turn) - np.sin(turn))
    match sprite.moves:
        case "walk":
            step = float(np.sin(moment_s * 7 + turn) - np.sin(turn))
            return x - width * 0.012 * moment_s, y - abs(step) * sprite.size * 0.02, lean + step * 2
        case "drive":
            return x - width * 0.05 * moment_s, y + wave * sprite.size * 0.006, lean
        case "fly":
            return x + width * 0.03 * moment_s, y - sprite.size * 0.07 * wave, lean + wave * 3
        case "swim":
            return x - width * 0.02 * moment_s, y + sprite.size * 0.05 * wave, lean + wave * 2.5
        case "bob":
            return x, y + sprite.size * 0.03 * wave, lean + 2.6 * wave
        case "hover":
            return x + width * 0.006 * moment_s, y + sprite.size * 0.06 * wave, lean + 2 * wave
        case "sway":
            return x, y, lean + 1.1 * wave
        case _:
            return x, y, lean
