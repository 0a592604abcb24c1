"""What lies below the sky, from the farthest ridge to the ground before one's feet."""

from collections.abc import Callable
from typing import Final

import numpy as np

from app.executors.scene.canvas import RGB, Floats, Plate, mixed, noise, resized, ridge
from app.executors.scene.light import Light
from app.executors.scene.sky import Sky
from app.executors.scene.words import Scene

GROUNDS: Final[dict[str, RGB]] = {
    "meadow": (118, 172, 74), "forest": (70, 104, 56), "garden": (122, 178, 86),
    "farm": (196, 170, 84), "village": (112, 158, 82), "mountains": (94, 132, 82),
    "snow": (236, 242, 250), "desert": (226, 180, 112), "city": (96, 98, 106),
    "moon": (150, 150, 154), "mars": (186, 104, 66), "beach": (238, 212, 164),
    "lake": (104, 148, 84), "sea": (24, 96, 138), "underwater": (206, 190, 140),
}  # fmt: skip
AUTUMN: Final[dict[str, RGB]] = {
    "meadow": (178, 148, 70), "forest": (142, 92, 46), "garden": (168, 142, 66),
    "lake": (160, 126, 62), "mountains": (150, 118, 66), "village": (150, 134, 72),
}  # fmt: skip


class Land:
    """The ground of one scene, laid layer by layer."""

    def __init__(
        self, scene: Scene, light: Light, sky: Sky, horizon: int, rng: np.random.Generator
    ) -> None:
        self.scene, self.light, self.sky, self.horizon, self.rng = scene, light, sky, horizon, rng
        self.height, self.width = sky.plate.height, sky.plate.width
        self.plate = Plate(self.height, self.width)
        self.water: tuple[int, int] | None = None  # the rows that shimmer

    def lay_all(self) -> Plate:
        """Lay what the place has."""
        layers: dict[str, tuple[Callable[[], None], ...]] = {
            "meadow": (lambda: self.hills(2), self.ground),
            "garden": (lambda: self.hills(1), self.ground),
            "forest": (lambda: self.hills(2), self.ground),
            "farm": (lambda: self.hills(2), self.ground, self.furrows),
            "village": (lambda: self.mountains(2), lambda: self.hills(1), self.ground),
            "mountains": (lambda: self.mountains(3), lambda: self.hills(1), self.ground),
            "snow": (lambda: self.mountains(2), self.ground),
            "desert": (self.dunes,),
            "city": (self.ground,),
            "lake": (lambda: self.mountains(3), self.waters, self.shore),
            "sea": (self.waters,),
            "beach": (self.waters, self.sand),
            "moon": (self.craters,),
            "mars": (lambda: self.mountains(2), self.craters),
        }
        for layer in layers.get(self.scene.place, ()):
            layer()
        return self.plate

    @property
    def base(self) -> RGB:
        """The colour of the ground in full light."""
        place = self.scene.place
        if self.scene.weather == "snow" and place not in ("sea", "city", "desert", "beach"):
            return GROUNDS["snow"]
        if "autumn" in self.scene.extras and place in AUTUMN:
            return AUTUMN[place]
        return GROUNDS.get(place, GROUNDS["meadow"])

    def layer(
        self, line: Floats, colour: np.ndarray, grain: float = 0.14, scale: float = 8
    ) -> Floats:
        """Lay one sheet of land below a line; return its mask."""
        mask = self.plate.below(line)
        texture = noise(self.height, self.width, self.rng, scale, 5, stretch=2.2)[..., None] - 0.5
        self.plate.lay(colour * (1 + grain * 2 * texture), mask)
        return mask

    def mountains(self, count: int) -> None:
        """Lay ranges, the far ones paler; each has a lit and a dark side, and snow above."""
        height, width, rng = self.height, self.width, self.rng
        rock = (126, 62, 44) if self.scene.place == "mars" else (92, 98, 112)
        tall = 0.5 if self.scene.place == "mountains" else 0.34
        for turn in range(count):
            near = (turn + 1) / (count + 0.6)
            low = 0.5 if tall > 0.4 else 0.8
            base = self.horizon * (low + (0.94 - low) * near)
            line = ridge(width, rng, 0.53, height * (tall - 0.1 * turn), base)
            line = np.maximum(line, self.horizon * 0.16)
            line = np.minimum(line, self.horizon * (0.98 + 0.04 * turn))
            mask = self.plate.below(line)
            wander = noise(height, width, rng, 4, 6)
            slope = np.gradient(resized(line[None, :], 1, width)[0])
            smooth = np.convolve(slope, np.ones(width // 40 + 3) / (width // 40 + 3), "same")
            depth = (self.plate.y - line[None, :]) / height
            facing = smooth[None, :] * (1 if self.sky.sun[0] < width / 2 else -1)
            lit = np.clip(0.5 + 0.7 * np.tanh(facing) + 2.4 * (wander - 0.5), 0, 1)
            air = 0.82 - 0.62 * near
            shadow = self.light.on(mixed(rock, (38, 48, 84), 0.5), air)
            colour = shadow + (self.light.on(mixed(rock, (230, 214, 190), 0.35), air) - shadow) * (
                lit[..., None])  # fmt: skip
            self.plate.lay(colour, mask)
            if self.scene.place != "mars":
                cap = (self.horizon * (0.66 if tall > 0.4 else 0.76) - line[None, :]) / height
                reach = cap * (0.75 + 0.9 * (wander - 0.35)) + 0.02
                snowy = np.clip((reach - depth) * 60, 0, 1) * mask * (cap > -0.04)
                white = self.light.on((246, 250, 255), air * 0.8)
                blue = self.light.on((150, 172, 214), air * 0.8)
                self.plate.lay(blue + (white - blue) * lit[..., None], snowy * 0.94)

    def hills(self, count: int) -> None:
        """Lay soft hills towards the horizon."""
        for turn in range(count):
            far = 0.62 - 0.26 * turn
            line = ridge(self.width, self.rng, 0.34, self.height * 0.1,
                         self.horizon * (0.94 + 0.05 * turn))  # fmt: skip
            green = mixed(self.base, (64, 104, 84), 0.5)
            self.layer(line, self.light.on(green, far), 0.16, 12)

    def ground(self) -> None:
        """Lay the ground, lighter far away, with the grain growing as it comes near."""
        place = self.scene.place
        flat = place in ("city", "garden", "farm")
        line = ridge(self.width, self.rng, 0.3, self.height * (0.0 if flat else 0.05),
                     self.horizon * 1.015)  # fmt: skip
        mask = self.plate.below(line)
        near = ((self.plate.y - self.horizon) / (self.height - self.horizon)).clip(0, 1)
        grain = self._grain()
        far_colour = self.light.on(self.base, 0.42)
        white = self.base == GROUNDS["snow"]
        close = self.light.on(np.asarray(self.base) * (0.96 if white else 0.8))
        colour = far_colour + (close - far_colour) * (near**0.7)[..., None]
        colour = colour * (1 + (grain - 0.5)[..., None] * (0.16 + 0.3 * near[..., None]))
        patch = noise(self.height, self.width, self.rng, 3, 4, stretch=3)
        colour = colour * (0.9 + 0.2 * patch[..., None])
        self.plate.lay(colour, mask)

    def _grain(self) -> Floats:
        """Return noise as seen on a plane that runs to the horizon."""
        height, width = self.height, self.width
        depth = np.arange(height - self.horizon) + 1.0
        plane = noise(height, width, self.rng, 14, 5)
        rows = (height * 0.9 / (0.12 + depth / depth[-1])).astype(int) % height
        grain = np.full((height, width), 0.5, np.float32)
        grain[self.horizon :] = plane[rows]
        return grain

    def furrows(self) -> None:
        """Plough rows that meet at the horizon."""
        x, y = self.plate.x - self.width / 2, (self.plate.y - self.horizon).clip(1)
        rows = np.sin(x / y * self.height / self.width * 46)
        near = (y / (self.height - self.horizon)).clip(0, 1)
        fade = (np.clip(near * 4, 0, 1) * 0.34).astype(np.float32)
        mask = (self.plate.y > self.horizon * 1.02) * fade
        dark = self.light.on((110, 92, 44)), self.light.on((236, 206, 110))
        self.plate.lay(dark[0], mask * (rows < -0.2))
        self.plate.lay(dark[1], mask * (rows > 0.3))

    def dunes(self) -> None:
        """Lay dunes with a sharp crest: one side in the light, the other not."""
        count = 4
        for turn in range(count):
            near = turn / (count - 1)
            top = self.horizon + (self.height - self.horizon) * (0.02 + 0.62 * near**1.2)
            line = ridge(self.width, self.rng, 0.26, self.height * (0.05 + 0.1 * near), top)
            soft = max(3, self.width // 12)
            line = np.pad(line, soft, mode="edge")
            line = np.convolve(line, np.hanning(soft) / np.hanning(soft).sum(), "same")[soft:-soft]
            line = line.astype(np.float32)
            mask = self.plate.below(line)
            # The crest's own line, wandering down the slope, parts the bright side from the dark.
            summit = float(np.argmin(line))
            bend = (self.plate.y - line[None, :]) / self.height
            wander = self.width * (0.16 * np.sin(bend * 9 + turn) + 0.5 * bend)
            side = 1 if self.sky.sun[0] > self.width / 2 else -1
            lit = 1 / (1 + np.exp(-side * (self.plate.x - summit - side * wander)
                                  / (self.width * 0.02)))  # fmt: skip
            ripple = noise(self.height, self.width, self.rng, 26, 3, stretch=5)
            bright = self.light.on(self.base, 0.5 - 0.5 * near)
            dark = self.light.on((150, 98, 72), 0.5 - 0.5 * near)
            colour = dark + (bright - dark) * (0.4 + 0.6 * lit[..., None])
            self.plate.lay(colour * (0.94 + 0.12 * ripple[..., None]), mask)

    def waters(self) -> None:
        """Lay water that mirrors all above it, rougher as it comes near."""
        height, width, horizon = self.height, self.width, self.horizon
        sky = self.sky.plate.rgb.copy()
        if self.sky.clouds is not None:
            part = self.sky.clouds.alpha[..., None]
            sky = sky * (1 - part) + self.sky.clouds.rgb * part
        part = self.plate.alpha[..., None]
        above = sky * (1 - part) + self.plate.rgb * part
        rows = np.clip(2 * horizon - np.arange(height), 0, horizon - 1)
        near = ((self.plate.y - horizon) / (height - horizon)).clip(0, 1)
        calm = self.scene.place == "lake" and self.scene.weather not in ("storm", "wind")
        mirror = above[rows]
        deep = self.light.on((16, 74, 96) if calm else (14, 84, 132), 0.1)
        depth = np.arange(height - horizon) + 1.0
        swell = noise(height, width, self.rng, 5, 5, stretch=5)
        lines = (height * 0.85 / (0.1 + depth / depth[-1])).astype(int) % height
        wave = np.zeros((height, width), np.float32)
        wave[horizon:] = swell[lines] * 2 - 1
        rough = {"storm": 2.0, "wind": 1.5, "rain": 1.2}.get(
            self.scene.weather, 0.45 if calm else 1
        )
        shift = (wave * near * width * 0.012 * rough).astype(int)
        columns = np.clip(self.plate.x.astype(int) + shift, 0, width - 1)
        mirror = np.take_along_axis(mirror, columns[..., None].repeat(3, 2), 1)
        share = (0.72 if calm else 0.5) - 0.22 * near
        colour = mirror * share[..., None] + deep * (1 - share[..., None])
        colour = colour * (1 + 0.2 * rough * (wave * (0.25 + 0.75 * near))[..., None])
        crest = np.clip(wave * 1.6 - 0.62, 0, 1) * near * 0.5 * rough
        colour = colour + (self.light.on((235, 246, 250)) - colour) * crest.clip(0, 0.9)[..., None]
        mask = (self.plate.y >= horizon).astype(np.float32)
        if self.scene.weather not in ("rain", "storm", "fog"):
            x = self.sky.sun[0]
            path = np.exp(-np.abs(self.plate.x - x) / (width * (0.02 + 0.07 * near)))
            glitter = path * np.clip(wave + 0.25, 0, 1) * (0.8 if self.scene.time != "day" else 0.4)
            colour = colour + np.asarray(self.light.sun, np.float32) * glitter[..., None] * 0.75
        self.plate.lay(colour, mask)
        self.water = (horizon, height)

    def sand(self) -> None:
        """Lay a beach before the sea, with a line of foam."""
        x = np.arange(self.width) / self.width
        line = self.height * (0.80 + 0.05 * np.sin(x * 4 + self.rng.random() * 6))
        line = (line + ridge(self.width, self.rng, 0.5, self.height * 0.008, 0)).astype(np.float32)
        shallow = np.exp(-((line[None, :] - self.plate.y) / (self.height * 0.05)).clip(0))
        shallow = shallow * (self.plate.y > self.horizon) * 0.55
        self.plate.lay(self.light.on((120, 214, 206)), shallow.astype(np.float32))
        wet = self.plate.below(line)
        self.plate.lay(self.light.on((186, 156, 116)), wet)
        dry = self.plate.below(line + self.height * 0.03, self.height * 0.03)
        grain = noise(self.height, self.width, self.rng, 60, 3)[..., None] - 0.5
        self.plate.lay(self.light.on(self.base) * (1 + 0.16 * grain), dry)
        for offset, strength in ((0.0, 0.9), (-0.028, 0.55), (-0.06, 0.35)):
            wave = line + self.height * offset + ridge(
                self.width, self.rng, 0.6, self.height * 0.012, 0)  # fmt: skip
            foam = np.exp(-(((self.plate.y - wave[None, :]) / (self.height * 0.006)) ** 2))
            self.plate.lay(self.light.on((252, 254, 255)), (foam * strength).astype(np.float32))
        self.water = (self.horizon, int(line.min()))

    def shore(self) -> None:
        """Lay the near bank of a lake."""
        line = ridge(self.width, self.rng, 0.42, self.height * 0.06, self.height * 0.95)
        self.layer(line, self.light.on(self.base), 0.3, 18)
        self.water = (self.horizon, int(min(line.min(), self.height)))

    def craters(self) -> None:
        """Lay ground without air above it, full of holes."""
        self.ground()
        count = 46
        for turn in range(count):
            near = (turn / count) ** 1.5
            y = self.horizon + (self.height - self.horizon) * (0.05 + 0.92 * near)
            x, r = self.rng.random() * self.width, self.width * (0.006 + 0.05 * near) * (
                0.5 + self.rng.random())  # fmt: skip
            away = np.hypot((self.plate.x - x) / r, (self.plate.y - y) / (r * 0.32))
            bowl = np.clip(1.1 - away, 0, 1) * 0.6
            rim = np.exp(-(((away - 1.12) / 0.13) ** 2)) * (self.plate.y > y) * 0.5
            self.plate.lay(self.light.on(np.asarray(self.base) * 0.5), bowl)
            self.plate.lay(self.light.on((255, 246, 236)), rim.astype(np.float32))
