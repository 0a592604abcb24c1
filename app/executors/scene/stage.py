"""Where things stand: how large, how far away, in which order, and what rides on what.

Things that are said stand in front and in the light; their likes are spread so that none hides
another wholly. What is near is larger and lower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.executors.scene.canvas import Floats
from app.executors.scene.drawings import RGBA, drawing
from app.executors.scene.light import INDOORS, Light
from app.executors.scene.things import CARRIERS, nature_of
from app.executors.scene.words import Scene, Thing

# How tall one thing of height 1 is, in parts of the picture's shorter side, at the front.
UNIT: Final = 0.36
FLOATING_PLACES: Final = frozenset(("space", "underwater", "abstract", "sky"))


@dataclass(frozen=True, slots=True)
class Sprite:
    """One thing in its place; x and y are its middle."""

    name: str
    pixels: RGBA
    x: float
    y: float
    size: float
    moves: str
    depth: float  # 0 far … 1 near: also the order in which they are drawn
    lean_deg: float = 0.0
    phase: float = 0.0
    has_shadow: bool = False
    mirrored: bool = False  # in water below it


def sprites_of(
    scene: Scene, light: Light, height: int, width: int, horizon: int, rng: np.random.Generator
) -> list[Sprite]:
    """Return all things of a scene, the farthest first."""
    placed: list[Sprite] = _companions(scene, light, (height, width, horizon), rng)
    riders = [thing for thing in scene.things if thing.rides]
    stand = [thing for thing in scene.things if not thing.rides]
    total = sum(thing.count for thing in stand)
    order = 0
    for thing in stand:
        for _ in range(thing.count):
            placed.append(
                _placed(scene, light, thing, order, total, (height, width, horizon), placed, rng)
            )
            order += 1
    for turn, rider in enumerate(riders):
        carrier = next((sprite for sprite in placed if sprite.name == rider.rides), None)
        if carrier is not None:
            placed.append(_riding(light, scene, rider, carrier, turn))
    return sorted(placed, key=lambda sprite: sprite.depth)


# What stands far in a place without being asked for: name, how often, how tall.
COMPANIONS: Final[dict[str, tuple[tuple[str, int, float], ...]]] = {
    "village": (("church", 1, 1.0), ("house", 3, 0.8), ("house-with-garden", 3, 0.85)),
    "farm": (("house", 1, 0.7),),
    "beach": (("palm-tree", 2, 1.5),),
    "desert": (("cactus", 3, 0.5),),
    "underwater": (("tropical-fish", 3, 0.3), ("fish", 2, 0.25)),
    "room": (("couch-and-lamp", 1, 1.1), ("potted-plant", 1, 0.7)),
}
SIDES: Final = (0.1, 0.88, 0.24, 0.76, 0.36, 0.64, 0.5)


def _companions(
    scene: Scene, light: Light, frame: tuple[int, int, int], rng: np.random.Generator
) -> list[Sprite]:
    """Return what belongs to a place, at its sides, far enough away to leave it to the things."""
    height, width, horizon = frame
    said = {thing.name for thing in scene.things} | scene.empty_of
    wanted = list(COMPANIONS.get(scene.place, ()))
    if "torii" in scene.extras:
        wanted.append(("shinto-shrine", 1, 0.8))
    out: list[Sprite] = []
    for name, count, tall in wanted:
        for _ in range(count if name not in said else 0):
            turn = len(out)
            depth = 0.04 + 0.5 * rng.random()
            size = min(height, width) * UNIT * tall * (0.5 + 0.6 * depth)
            x = width * (SIDES[turn % len(SIDES)] + 0.03 * rng.normal())
            foot = horizon + (height - horizon) * (0.04 + 0.6 * depth)
            moves, y = nature_of(name).moves, foot - size * 0.46
            if scene.place == "beach":
                x, y = width * (0.08, 0.93)[turn % 2], height * 0.9 - size * 0.44
            elif scene.place == "underwater":
                x, y = width * rng.random(), height * (0.15 + 0.5 * rng.random())
            elif scene.place == "room":
                x = width * (0.22, 0.9)[turn % 2]
            pixels = _tinted(Thing(name), scene, light, size, depth, flip=rng.random() < 0.5)
            stands = scene.place != "underwater"
            out.append(Sprite(name, pixels, x, y, size, moves, depth * 0.3, has_shadow=stands,
                              phase=float(rng.random() * 6.283)))  # fmt: skip
    return out


def _lives(scene: Scene, thing: Thing) -> str:
    """Return where a thing is in this place: a fish in a room lies, a cat in space floats."""
    lives = nature_of(thing.name).lives
    if scene.place in FLOATING_PLACES:
        return "hover"
    if scene.place in INDOORS:
        return "ground" if lives != "air" else "air"
    if scene.place in ("moon", "mars") and lives == "air":
        return "ground" if thing.name in ("astronaut", "rocket", "flying-saucer") else "air"
    if lives in ("swim", "float"):
        return "float" if scene.place in ("sea", "lake", "beach") else "ground"
    if scene.place in ("sea",) and lives in ("ground", "table"):
        return "float"
    return "ground" if lives == "table" else lives


def _size(scene: Scene, thing: Thing, total: int, short: int) -> float:
    tall = nature_of(thing.name).height
    if scene.place == "table":
        tall = 1.25 if total == 1 else 1.0
    elif total == 1:
        tall = max(tall, 0.72) ** 0.75  # alone it is what the picture is about
    crowd = 1.0 if total <= 2 else 0.86 if total <= 4 else 0.66 if total <= 8 else 0.54
    floats = 1.12 if scene.place in FLOATING_PLACES else 1.0
    return short * UNIT * tall * thing.scale * crowd * floats


def _placed(
    scene: Scene, light: Light, thing: Thing, order: int, total: int,
    frame: tuple[int, int, int], placed: Sequence[Sprite], rng: np.random.Generator,
) -> Sprite:  # fmt: skip
    height, width, _ = frame
    lives, size = _lives(scene, thing), _size(scene, thing, total, min(height, width))
    size = min(size, min(height, width) * 0.86)
    moves = nature_of(thing.name).moves
    best: tuple[float, float, float, float] | None = None
    # The best of a few places: where it hides least of what is there already.
    for _ in range(24):
        spread = _across(thing, order, total, rng)
        depth = 0.62 if total == 1 else 0.3 + 0.6 * rng.random()
        x, y, scale = _spot(scene, lives, spread, depth, size, frame)
        room = min(
            (np.hypot((x - other.x), (y - other.y) * 0.9) / (0.5 * (size * scale + other.size))
             for other in placed),
            default=2.0,
        )  # fmt: skip
        margin = size * scale * 0.42
        inside = min(x, width - x) > margin
        score = min(room, 1.15) + (0.5 if inside else 0.0) - 0.25 * abs(spread - 0.5)
        if best is None or score > best[0]:
            best = (score, x, y, scale)
            kept_depth = depth
    assert best is not None
    _, x, y, scale = best
    size *= scale
    x = float(np.clip(x, size * 0.4, width - size * 0.4)) if size < width else width / 2
    y = float(np.clip(y, size * 0.42, height - size * 0.44)) if size < height else height / 2
    stands = lives == "ground"
    free = lives in ("hover", "air") and moves in ("fly", "swim", "hover", "still", "walk")
    return Sprite(
        thing.name,
        _tinted(thing, scene, light, size, kept_depth if stands else 0.9, flip=rng.random() < 0.5),
        x, y, size, moves if lives != "hover" or moves != "walk" else "hover",
        kept_depth, float(rng.normal() * 6) if free and total < 4 else 0.0,
        float(rng.random() * 6.283), stands, lives == "float",
    )  # fmt: skip


def _across(thing: Thing, order: int, total: int, rng: np.random.Generator) -> float:
    if thing.side is not None:
        return thing.side + 0.04 * float(rng.normal())
    if total == 1:
        return float(0.5 + 0.07 * rng.normal())
    if total == 2:
        return (0.31, 0.69)[order % 2] + 0.04 * float(rng.normal())
    return float(0.1 + 0.8 * rng.random())


def _spot(
    scene: Scene, lives: str, spread: float, depth: float, size: float,
    frame: tuple[int, int, int],
) -> tuple[float, float, float]:  # fmt: skip
    """Return the middle of a thing, and how much smaller it is for being far."""
    height, width, horizon = frame
    x = width * spread
    if lives == "hover":
        return x, height * (0.2 + 0.58 * depth), 0.72 + 0.4 * depth
    if lives in ("air", "sky"):
        return x, horizon * (0.26 + 0.5 * depth), 0.75 + 0.35 * depth
    front = {"beach": 0.97, "lake": 0.93, "room": 0.93, "table": 0.86}.get(scene.place, 0.93)
    foot = horizon + (height * front - horizon) * (0.12 + 0.88 * depth)
    if scene.place == "table":
        foot = horizon + (height - horizon) * (0.2 + 0.5 * depth)
        return x, foot - size * 0.46, 0.86 + 0.16 * depth
    if lives == "float":
        low = 0.72 if scene.place == "beach" else 0.86
        foot = horizon + (height * low - horizon) * (0.1 + 0.75 * depth)
        scale = 0.62 + 0.5 * depth
        return x, foot - size * scale * 0.4, scale
    if scene.place in ("beach", "lake"):  # on dry land
        foot = height * (0.84 + 0.12 * depth if scene.place == "beach" else 0.95 + 0.03 * depth)
    scale = 0.5 + 0.62 * depth
    return x, foot - size * scale * 0.46, scale


def _riding(light: Light, scene: Scene, rider: Thing, carrier: Sprite, turn: int) -> Sprite:
    size = carrier.size * (0.5 if rider.scale == 1.0 else min(0.8, 0.5 * rider.scale))
    back = CARRIERS[carrier.name]
    x = carrier.x + carrier.size * 0.16 * turn
    y = carrier.y - carrier.size * (0.5 - back) - size * 0.3
    pixels = _tinted(rider, scene, light, size, 0.9, flip=False)
    return Sprite(
        rider.name, pixels, x, y, size, carrier.moves, carrier.depth + 0.001,
        carrier.lean_deg * 0.5, carrier.phase,
    )  # fmt: skip


def _tinted(
    thing: Thing, scene: Scene, light: Light, size: float, depth: float, *, flip: bool
) -> RGBA:
    """Return a drawing in its own colour, and in the light of the scene."""
    pixels: Floats = drawing(thing.name, max(8, round(size))).astype(np.float32)
    if flip and thing.name not in ("rocket",):
        pixels = pixels[:, ::-1]
    colours: Floats = pixels[..., :3]
    if thing.colour is not None:
        grey: Floats = colours @ np.asarray((0.3, 0.59, 0.11), np.float32)
        hue = np.asarray(thing.colour, np.float32)
        shade = grey[..., None] / 150
        dyed = np.where(shade < 1, hue * shade, hue + (255 - hue) * (shade - 1).clip(0, 1) * 0.75)
        # Eyes, tyres and panes keep what they are: very dark, or nearly white.
        keep = np.clip(np.abs(grey - 128) / 128 * 2.4 - 1.5, 0, 1)[..., None]
        colours = dyed * (1 - 0.8 * keep) + colours * 0.8 * keep
    if scene.place not in ("space", "abstract", "moon"):
        bright = 0.4 + 0.6 * light.brightness
        lit: Floats = colours * bright * (0.55 + 0.45 * np.asarray(light.hue, np.float32) / 255)
        air: Floats = np.asarray(light.sky[-1], np.float32)
        if scene.place == "underwater":
            lit, air = colours * (0.86, 0.97, 1.0), np.asarray((30, 120, 180), np.float32)
        far = 0.34 * (1 - depth) if scene.place not in INDOORS else 0.0
        far += 0.22 * (1 - depth * 0.5) if scene.weather == "fog" else 0.0
        colours = lit * (1 - far) + air * far
    form = np.linspace(1.1, 0.84, pixels.shape[0], dtype=np.float32)[:, None, None]
    out = np.dstack([np.clip(colours * form, 0, 255), pixels[..., 3:]])
    return np.ascontiguousarray(out.astype(np.uint8))
