"""The sky: its colours, the sun or the moon, stars, clouds, and what rarely hangs in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from app.executors.scene.canvas import Floats, Plate, gradient, mixed, noise, shifted
from app.executors.scene.light import AIRLESS, Light
from app.executors.scene.words import Scene


@dataclass(frozen=True, slots=True)
class Sky:
    """A sky, and the clouds before it, which move."""

    plate: Plate
    clouds: Plate | None
    sun: tuple[float, float, float]  # x, y, radius


def sky_of(
    scene: Scene, light: Light, height: int, width: int, horizon: int, rng: np.random.Generator
) -> Sky:
    """Return the sky of a scene, down to the picture's lower edge."""
    column = np.vstack([gradient(horizon, light.sky), np.repeat(
        np.asarray(light.sky[-1], np.float32)[None], height - horizon, 0)])  # fmt: skip
    plate = Plate(height, width, np.repeat(column[:, None, :], width, 1).astype(np.float32))
    size = min(width, height)
    sun = _sun_place(scene, width, horizon, size, rng)
    if scene.place == "space":
        _nebula(plate, rng)
    if light.is_dark or scene.place in AIRLESS:
        _stars(plate, scene, horizon, rng)
    if scene.place not in AIRLESS:
        _luminary(plate, scene, light, sun, rng)
    if "aurora" in scene.extras:
        _aurora(plate, horizon, rng)
    clouds = None
    if scene.place not in AIRLESS | {"mars"} and "clouds" not in scene.empty_of:
        clouds = _clouds(plate, scene, light, horizon, sun, rng)
    if "rainbow" in scene.extras:
        _rainbow(plate, horizon, size)
    return Sky(plate, clouds, sun)


def _sun_place(
    scene: Scene, width: int, horizon: int, size: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    low = {"sunset": 0.84, "dawn": 0.78, "dusk": 1.06, "day": 0.26, "night": 0.26}[scene.time]
    side = 0.2 + 0.22 * rng.random() + (0.38 if rng.random() < 0.5 else 0.0)
    radius = size * (0.05 if scene.time in ("night", "day") else 0.062)
    if scene.time == "night" and "moon" in scene.extras:
        radius *= 1.7
    return width * side, horizon * low, radius


def _luminary(
    plate: Plate, scene: Scene, light: Light, sun: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Paint the sun with its glow, or the moon with its spots."""
    if scene.weather in ("rain", "storm", "fog") or {"sun", "moon"} <= scene.empty_of:
        return
    x, y, radius = sun
    distance = np.hypot(plate.x - x, plate.y - y)
    is_moon = scene.time == "night"
    strength = 0.42 if is_moon else 0.8
    glow = strength * (0.65 * np.exp(-distance / (radius * 2.4)))
    glow += strength * 0.4 * np.exp(-distance / (radius * 9))
    plate.lay(light.sun, glow.clip(0, 1).astype(np.float32))
    if scene.time == "dusk" or ("moon" if is_moon else "sun") in scene.empty_of:
        return
    disc = np.clip(radius - distance, 0, 1.5) / 1.5
    colour: Floats = np.asarray(light.sun, np.float32) * np.ones(
        (plate.height, plate.width, 1), np.float32
    )
    if is_moon:
        spots = noise(plate.height, plate.width, rng, 60 * 40 / max(radius, 12), 3)
        colour = colour * (0.82 + 0.2 * spots[..., None])
    plate.lay(colour, disc)


def _stars(plate: Plate, scene: Scene, horizon: int, rng: np.random.Generator) -> None:
    if "stars" in scene.empty_of:
        return
    height, width = plate.height, plate.width
    wide = scene.place in AIRLESS
    if scene.time == "dusk" and not wide:
        count = 70
    else:
        count = 900 if "stars" in scene.extras or wide else 380
    reach = height if wide else horizon
    ys = (rng.random(count) ** (1 if wide else 1.4) * reach).astype(int)
    xs = rng.integers(0, width, count)
    bright = rng.random(count) ** 2.5
    grain = max(1, round(min(width, height) / 620))
    for y, x, power in zip(ys, xs, bright, strict=True):
        size = grain + (grain if power > 0.75 else 0)
        warm = 0.85 + 0.15 * ((x * 7 + y) % 5) / 4
        plate.rgb[y : y + size, x : x + size] += np.array((235, 240, 255)) * power * warm
    if wide or "stars" in scene.extras:
        band = np.abs((plate.y - reach * 0.2) - (plate.x - width * 0.2) * 0.45) / height
        milk = np.exp(-((band / 0.11) ** 2)) * noise(height, width, rng, 4, 6) ** 1.6
        if not wide:
            plate.add((86, 92, 130), (milk * np.clip(1.1 - plate.y / horizon, 0, 1)))


def _nebula(plate: Plate, rng: np.random.Generator) -> None:
    height, width = plate.height, plate.width
    hues = [(150, 54, 150), (40, 88, 190), (190, 76, 84), (30, 140, 150), (110, 70, 200)]
    first, second = rng.permutation(len(hues))[:2]
    warp = noise(height, width, rng, 2, 5)
    for hue, share in ((hues[first], warp), (hues[second], 1 - warp)):
        cloud = np.clip(noise(height, width, rng, 2.2, 7) * 1.7 - 0.62, 0, 1) ** 1.4
        plate.add(hue, cloud * share * 1.25)
    dust = np.clip(noise(height, width, rng, 3, 6) - 0.55, 0, 1) * 1.2
    plate.lay((6, 4, 16), dust.clip(0, 0.7))


def _aurora(plate: Plate, horizon: int, rng: np.random.Generator) -> None:
    width = plate.width
    x = np.arange(width) / width
    for turn, hue in enumerate(((60, 240, 150), (90, 220, 200), (170, 90, 220))):
        line = horizon * (0.5 - 0.14 * turn) + horizon * 0.13 * np.sin(
            x * (5 + 2 * turn) + rng.random() * 6 + 1.4 * np.sin(x * 7 + turn)
        )
        rays = 0.45 + 0.55 * noise(2, width, rng, 2, 7)[0] if width > 4 else np.ones(width)
        up = line[None, :] - plate.y
        curtain = np.where(up > 0, np.exp(-up / (horizon * 0.26)), np.exp(up / (horizon * 0.03)))
        plate.add(hue, (curtain * rays[None, :] * (0.7 - 0.14 * turn)).astype(np.float32))


def _clouds(
    plate: Plate, scene: Scene, light: Light, horizon: int, sun: tuple[float, float, float],
    rng: np.random.Generator,
) -> Plate | None:  # fmt: skip
    """Return clouds, lit from the sun's side and flatter the farther they are."""
    cover = {"clear": 0.60, "wind": 0.5, "clouds": 0.43, "fog": 0.5}.get(scene.weather, 0.3)
    if scene.place in ("sky", "sea", "beach") and scene.weather == "clear":
        cover -= 0.06
    if scene.time == "night" and scene.weather == "clear":
        cover = 0.66
    height, width = plate.height, plate.width
    body: Floats = noise(horizon, width, rng, 2.6, 6, stretch=1.9, gain=0.52)
    # Nearer the horizon the same clouds are lower and closer together.
    rows = (np.linspace(0, 1, horizon) ** 0.7 * (horizon - 1)).astype(int)
    body = body[rows]
    shift = max(2, horizon // 26)
    toward = shift if sun[0] > width / 2 else -shift
    lit = np.clip(0.5 + 2.6 * (body - shifted(body, shift // 2, -toward)), 0, 1)
    density = np.clip((body - cover) * 4.2, 0, 1)
    density = density * density * (3 - 2 * density)
    bright: ArrayLike = {
        "day": (255, 255, 255), "dawn": (255, 226, 214), "sunset": (255, 178, 132),
        "dusk": (190, 140, 170), "night": (78, 90, 134),
    }[scene.time]  # fmt: skip
    dark: Floats = mixed(light.sky[1], light.sky[2], 0.5)
    if scene.weather in ("rain", "storm"):
        bright, dark = mixed(light.sky[-1], bright, 0.3), np.asarray(light.sky[0]) * 0.75
    shade = mixed(dark, bright, 0.32)
    colour = shade * (1 - lit[..., None]) + np.asarray(bright, np.float32) * lit[..., None]
    out = Plate(height, width)
    out.rgb[:horizon] = colour
    fade: Floats = np.clip(1.16 - np.linspace(0, 1, horizon) ** 3, 0.25, 1)[:, None]
    out.alpha[:horizon] = density * fade * 0.94
    return out


def _rainbow(plate: Plate, horizon: int, size: int) -> None:
    x, y, radius = plate.width * 0.5, horizon * 1.12, max(plate.width * 0.46, horizon * 0.8)
    distance = (np.hypot(plate.x - x, plate.y - y) - radius) / (size * 0.05)
    hues = ((206, 60, 200), (90, 80, 230), (60, 160, 240), (70, 200, 90), (250, 230, 80),
            (250, 150, 50), (240, 60, 60))  # fmt: skip
    for turn, hue in enumerate(hues):
        band = np.exp(-((distance - (turn - 3) * 0.3) ** 2) / 0.05) * 0.5
        plate.lay(hue, band.astype(np.float32))
