"""Light: the colours of each hour and weather, and what they do to things that stand in them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from app.executors.scene.canvas import RGB, Floats, mixed
from app.executors.scene.words import Scene

SKIES: Final[dict[str, tuple[RGB, ...]]] = {  # from the zenith down to the horizon
    "day": ((46, 112, 200), (104, 168, 230), (176, 214, 244), (226, 238, 244)),
    "dawn": ((86, 108, 182), (158, 150, 200), (240, 184, 176), (255, 220, 176)),
    "sunset": ((42, 44, 108), (128, 70, 132), (228, 104, 92), (255, 176, 96), (255, 222, 146)),
    "dusk": ((16, 24, 66), (44, 56, 120), (112, 92, 150), (214, 130, 126)),
    "night": ((4, 8, 28), (10, 18, 54), (22, 36, 84), (46, 62, 112)),
    "space": ((3, 4, 16), (10, 8, 34), (22, 14, 52), (8, 6, 26)),
    "mars": ((150, 108, 84), (196, 148, 112), (226, 184, 142), (240, 206, 170)),
    "moon": ((1, 1, 6), (3, 4, 12), (6, 7, 18), (10, 12, 26)),
}
SUNS: Final[dict[str, RGB]] = {
    "day": (255, 250, 228), "dawn": (255, 224, 186), "sunset": (255, 196, 112),
    "dusk": (240, 226, 220), "night": (232, 236, 250),
}  # fmt: skip
# How bright things are, and what their colours are drawn to.
AMBIENT: Final[dict[str, tuple[float, RGB]]] = {
    "day": (1.0, (255, 252, 240)), "dawn": (0.9, (255, 222, 204)),
    "sunset": (0.74, (255, 190, 150)), "dusk": (0.56, (170, 160, 220)),
    "night": (0.54, (146, 164, 236)),
}  # fmt: skip
OVERCAST: Final[dict[str, tuple[float, RGB]]] = {  # how much of the sky it greys, and with what
    "rain": (0.66, (126, 138, 152)), "storm": (0.82, (66, 72, 88)),
    "snow": (0.55, (206, 214, 226)), "fog": (0.62, (212, 216, 220)),
    "clouds": (0.12, (190, 204, 220)),
}  # fmt: skip
INDOORS: Final = frozenset(("room", "table"))
AIRLESS: Final = frozenset(("space", "moon"))


@dataclass(frozen=True, slots=True)
class Light:
    """How a scene is lit."""

    sky: tuple[RGB, ...]
    sun: RGB
    brightness: float  # of things, 0 … 1
    hue: RGB  # what white things look like
    is_dark: bool  # windows and lamps are lit

    def on(self, colour: ArrayLike, depth: float = 0.0) -> Floats:
        """Return what a colour looks like; `depth` 1 is at the horizon, lost in the air."""
        lit = np.asarray(colour, np.float32) * self.brightness
        lit = lit * mixed((1, 1, 1), np.asarray(self.hue) / 255, 0.55)
        return mixed(lit, mixed(self.sky[-1], self.sky[-2], 0.35), depth)


def light_of(scene: Scene) -> Light:
    """Return how a scene is lit."""
    time = scene.time
    sky = SKIES[scene.place if scene.place in ("space", "moon", "mars") else time]
    brightness, hue = AMBIENT["day" if scene.place in AIRLESS | {"mars"} else time]
    dark = time in ("night", "dusk")
    if scene.place not in AIRLESS and scene.weather in OVERCAST:
        share, grey = OVERCAST[scene.weather]
        grey_now = np.asarray(grey) * (0.22 + 0.78 * brightness)
        sky = tuple(_rgb(mixed(stop, grey_now, share)) for stop in sky)
        brightness *= 1 - 0.2 * share
        hue = _rgb(mixed(hue, (214, 222, 232), share))
    if scene.tint is not None and scene.place != "abstract":
        sky = tuple(_rgb(mixed(stop, scene.tint, 0.42)) for stop in sky)
        hue = _rgb(mixed(hue, scene.tint, 0.25))
    return Light(sky, SUNS[time], brightness, hue, dark)


def _rgb(colour: Floats) -> RGB:
    red, green, blue = (float(part) for part in colour)
    return red, green, blue
