"""What grows and stands in a place before anybody has named it: trees, streets, walls, corals."""

from collections.abc import Callable
from typing import Final

import numpy as np
import skia

from app.executors.scene.canvas import Plate, mixed
from app.executors.scene.land import Land
from app.executors.scene.pen import paint_of, polygon, stroke, surface_of, taken_back

GREENS: Final = ((40, 84, 54), (52, 102, 58), (34, 72, 58))
FALL: Final = ((176, 84, 34), (204, 130, 40), (150, 56, 36), (190, 150, 52))


class Scenery:
    """Draws on the land of one scene."""

    def __init__(self, land: Land) -> None:
        self.land, self.scene, self.light, self.rng = land, land.scene, land.light, land.rng
        self.height, self.width, self.horizon = land.height, land.width, land.horizon
        self.surface = surface_of(land.plate)
        self.canvas = self.surface.getCanvas()

    def draw_all(self) -> Plate:
        """Draw what belongs to the place and to what was asked for."""
        if "pyramids" in self.scene.extras:
            self.pyramids()
        if "river" in self.scene.extras and self.scene.place not in ("lake", "sea", "beach"):
            self.river()
        drawn: dict[str, Callable[[], None]] = {
            "forest": self.forest, "city": self.city, "snow": self.firs, "lake": self.firs,
            "mountains": self.firs, "village": self.path, "garden": self.bushes,
            "farm": self.fence, "meadow": self.grasses, "beach": self.shells,
        }  # fmt: skip
        draw = drawn.get(self.scene.place)
        if draw is not None:
            draw()
        if self.scene.place in ("meadow", "garden") or "flowers" in self.scene.extras:
            self.flowers(420 if "flowers" in self.scene.extras else 60)
        taken_back(self.land.plate, self.surface)
        return self.land.plate

    def _colour(self, hues: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
        return hues[int(self.rng.integers(0, len(hues)))]

    def fir(self, x: float, foot: float, tall: float, air: float) -> None:
        """Draw a fir: tiers of boughs, one side in the light."""
        white = self.scene.place == "snow" or self.scene.weather == "snow"
        dark = self.light.on(self._colour(GREENS), air)
        lit = mixed(dark, self.light.on((238, 244, 250) if white else (120, 160, 84), air), 0.45)
        self.canvas.drawRect(
            skia.Rect(x - tall * 0.025, foot - tall * 0.14, x + tall * 0.025, foot),
            paint_of(self.light.on((72, 52, 40), air)),
        )
        tiers = 6 if tall > 40 else 4
        for tier in range(tiers):
            low = foot - tall * (0.1 + 0.72 * tier / tiers)
            wide = tall * 0.24 * (1 - 0.82 * tier / tiers) * (0.9 + 0.2 * self.rng.random())
            top = low - tall * 0.32
            polygon(self.canvas, ((x - wide, low), (x, top), (x + wide, low)), paint_of(dark))
            polygon(self.canvas, ((x, low - tall * 0.015), (x, top), (x + wide * 0.8,
                    low - tall * 0.02)), paint_of(lit, 0.6 if white else 0.35))  # fmt: skip

    def broadleaf(self, x: float, foot: float, tall: float, air: float) -> None:
        """Draw a broad tree: a trunk and a crown of many leaves."""
        autumn = "autumn" in self.scene.extras
        hue = self._colour(FALL if autumn else ((74, 128, 58), (92, 148, 64), (58, 110, 58)))
        trunk = self.light.on((86, 62, 46), air)
        self.canvas.drawLine(x, foot, x + tall * 0.02, foot - tall * 0.55,
                             stroke(trunk, max(1.5, tall * 0.06)))  # fmt: skip
        leaves = int(np.clip(tall / 2.2, 22, 190))
        for turn in range(leaves):
            part = turn / leaves
            angle, away = self.rng.random() * 6.283, tall * 0.29 * self.rng.random() ** 0.5
            px, py = x + away * np.cos(angle) * 1.15, foot - tall * 0.68 + away * np.sin(angle)
            shade = mixed(np.asarray(hue) * 0.6, np.asarray(hue) * 1.2, part)
            size = tall * (0.12 - 0.085 * part) * (0.7 + 0.6 * self.rng.random())
            self.canvas.drawCircle(px, py - part * tall * 0.06, size,
                                   paint_of(self.light.on(shade, air)))  # fmt: skip

    def bamboo(self, x: float, foot: float, tall: float, air: float) -> None:
        """Draw a cane of bamboo."""
        hue = self.light.on((110, 158, 72), air)
        wide = max(2.0, tall * 0.022)
        self.canvas.drawLine(x, foot, x, foot - tall * 1.6, stroke(hue, wide))
        for turn in range(12):
            y = foot - tall * 0.13 * turn
            self.canvas.drawLine(x - wide / 2, y, x + wide / 2, y, stroke(np.asarray(hue) * 0.7, 2))

    def forest(self) -> None:
        """Stand trees in rows, the near ones at both sides, so that the middle stays open."""
        bamboo, jungle = "bamboo" in self.scene.extras, "palms" in self.scene.extras
        rows = 7
        for row in range(rows):
            near = row / (rows - 1)
            foot = self.horizon + (self.height - self.horizon) * (0.01 + 0.52 * near**1.5)
            tall = self.height * (0.2 + 0.75 * near**1.3)
            air = 0.72 * (1 - near) ** 1.2
            count = int(26 - 17 * near) if not jungle else int(30 - 16 * near)
            for turn in range(count):
                x = self.width * (turn + self.rng.random()) / count
                middle = abs(x / self.width - 0.5)
                if near > 0.3 and middle < 0.12 + 0.2 * near:
                    continue
                size = tall * (0.75 + 0.5 * self.rng.random())
                draw = self.fir if self.rng.random() < 0.55 else self.broadleaf
                if bamboo:
                    draw = self.bamboo
                elif jungle or "autumn" in self.scene.extras:
                    draw = self.broadleaf
                draw(x, foot + self.rng.random() * size * 0.05, size, air)
        self.rays()

    def rays(self) -> None:
        """Let light fall between the trunks."""
        if self.scene.time in ("night", "dusk") or self.scene.weather in ("rain", "storm"):
            return
        x0 = self.land.sky.sun[0]
        for turn in range(6):
            lean = self.width * (turn - 2.5) * 0.12
            top = x0 + lean * 0.35
            polygon(self.canvas, ((top, 0), (top + self.width * 0.035, 0),
                    (x0 + lean * 1.6 + self.width * 0.1, self.height * 0.9),
                    (x0 + lean * 1.6 - self.width * 0.03, self.height * 0.9)),
                    paint_of(self.light.sun, 0.075, self.width * 0.008))  # fmt: skip

    def firs(self) -> None:
        """Stand small firs along the far edge of the ground, and a few near the sides."""
        bank = self.scene.place == "lake"
        for turn in range(46):
            x = self.width * (turn + self.rng.random()) / 46
            foot = self.horizon + self.height * (0.004 if bank else 0.03 * self.rng.random())
            self.fir(x, foot, self.height * (0.035 + 0.045 * self.rng.random()), 0.5)
        for x in (0.04, 0.13, 0.9, 0.97):
            if bank or self.rng.random() < 0.75:
                tall = self.height * (0.3 + 0.2 * self.rng.random())
                foot = self.height * (0.97 if bank else 0.72 + 0.1 * self.rng.random())
                self.fir(self.width * (x + 0.03 * self.rng.random()), foot, tall, 0.04)

    def path(self) -> None:
        """Lead a path to the horizon, with firs behind."""
        self.firs()
        points = []
        for turn in range(25):
            near = turn / 24
            y = self.horizon + (self.height - self.horizon) * near**1.4
            middle = self.width * (0.5 + 0.06 * np.sin(near * 5))
            points.append((middle, y, self.width * (0.006 + 0.13 * near**1.5)))
        edge = [(x - w, y) for x, y, w in points] + [(x + w, y) for x, y, w in points[::-1]]
        white = self.scene.weather == "snow"
        polygon(self.canvas, edge, paint_of(self.light.on(
            (206, 214, 228) if white else (204, 180, 140)), 0.9, 1.5))  # fmt: skip

    def river(self) -> None:
        """Wind a river down to the lower edge."""
        points = []
        for turn in range(41):
            near = turn / 40
            y = self.horizon + (self.height - self.horizon) * near**1.6
            middle = self.width * (0.56 + 0.16 * np.sin(near * 6.2) * near)
            points.append((middle, y, self.width * (0.008 + 0.14 * near**1.6)))
        edge = [(x - w, y) for x, y, w in points] + [(x + w, y) for x, y, w in points[::-1]]
        polygon(self.canvas, edge, paint_of(mixed(self.light.sky[-2], (30, 90, 120), 0.35), 1, 1))
        for x, y, w in points[4::3]:
            self.canvas.drawLine(x - w * 0.6, y, x + w * 0.4, y, stroke((255, 255, 255), 2, 0.25))

    def pyramids(self) -> None:
        """Set three pyramids on the horizon."""
        toward = 1 if self.land.sky.sun[0] > self.width / 2 else -1
        for x, tall in ((0.66, 0.2), (0.42, 0.28), (0.22, 0.14)):
            high, middle = self.height * tall, self.width * x
            foot, half = self.horizon * 1.06, self.height * tall * 0.85
            bright, dark = self.light.on((232, 190, 118), 0.2), self.light.on((142, 96, 66), 0.2)
            top = (middle, foot - high)
            polygon(self.canvas, ((middle - half, foot), top, (middle + half, foot)),
                    paint_of(bright))  # fmt: skip
            corner, edge = middle - toward * half, middle - toward * half * 0.2
            polygon(self.canvas, (top, (corner, foot), (edge, foot)), paint_of(dark))

    def city(self) -> None:
        """Build blocks in three depths, and a street that leads between them."""
        neon, lit = self.scene.style == "neon", self.light.is_dark
        for depth in range(3):
            x = -self.width * 0.05
            air = (0.66, 0.36, 0.08)[depth]
            while x < self.width:
                wide = self.width * (0.045 + 0.05 * self.rng.random()) * (1 + 0.5 * depth)
                tall = self.height * (0.2 + 0.34 * self.rng.random() ** 1.5) * (1 + 0.14 * depth)
                middle = abs((x + wide / 2) / self.width - 0.5)
                if depth == 2 and middle < 0.2:
                    x += wide
                    continue
                self._block(x, wide, tall, depth, air, lit=lit, neon=neon)
                x += wide * (1.0 + 0.14 * self.rng.random())
        self.street(neon=neon)

    def _block(
        self, x: float, wide: float, tall: float, depth: int, air: float, *, lit: bool, neon: bool
    ) -> None:
        """Build one house of many floors, with a lit side and windows."""
        foot = self.horizon + (self.height - self.horizon) * (0.01, 0.05, 0.16)[depth]
        top = self.horizon - tall
        hue = self._colour(((108, 112, 128), (134, 118, 110), (92, 104, 124), (148, 136, 122)))
        wall = self.light.on(tuple((np.asarray(hue) * (0.6 if neon else 1.0)).tolist()), air)
        self.canvas.drawRect(skia.Rect(x, top, x + wide, foot), paint_of(wall))
        side = x + wide * (0.72 if self.land.sky.sun[0] < x else 0.0)
        self.canvas.drawRect(skia.Rect(side, top, side + wide * 0.28, foot),
                             paint_of(np.asarray(wall) * 0.78))  # fmt: skip
        if self.rng.random() < 0.3:
            self.canvas.drawLine(x + wide / 2, top, x + wide / 2, top - tall * 0.12,
                                 stroke(wall, max(1.0, wide * 0.03)))  # fmt: skip
        step = max(4.0, self.width * (0.008, 0.011, 0.016)[depth])
        warm = ((255, 212, 128), (255, 236, 190), (190, 220, 255))
        glow = ((255, 70, 190), (70, 230, 255), (255, 200, 90), (150, 100, 255))
        share = (0.5 if lit else 0.85) * (1 if self.scene.weather != "fog" else 0.6)
        y = top + step * 0.9
        while y < foot - step:
            at = x + step * 0.6
            while at < x + wide - step * 0.9:
                if self.rng.random() < share:
                    colour = self._colour(glow if neon else warm) if lit else mixed(
                        self.light.sky[1], wall, 0.35)  # fmt: skip
                    pane = skia.Rect(at, y, at + step * 0.55, y + step * 0.62)
                    shine = paint_of(colour, (0.9 - 0.7 * air) if lit else 0.6)
                    self.canvas.drawRect(pane, shine)
                at += step
            y += step * 1.15
        if neon and depth:
            colour = self._colour(glow)
            line = skia.Rect(x + wide * 0.08, top + tall * 0.15, x + wide * 0.14, top + tall * 0.6)
            self.canvas.drawRect(line, paint_of(colour, 0.9, wide * 0.06))
            self.canvas.drawRect(line, paint_of((255, 255, 255), 0.7))

    def street(self, *, neon: bool) -> None:
        """Lay a road with its lines, and on it what shines, when it is wet or dark."""
        top, low = self.horizon + (self.height - self.horizon) * 0.05, self.height
        road = self.light.on((62, 62, 72) if neon else (92, 92, 98))
        middle = self.width / 2
        polygon(self.canvas, ((middle - self.width * 0.05, top), (middle + self.width * 0.05, top),
                (self.width * 1.05, low), (-self.width * 0.05, low)), paint_of(road))  # fmt: skip
        for turn in range(7):
            a, b = (turn / 7) ** 1.7, ((turn + 0.5) / 7) ** 1.7
            ya, yb = top + (low - top) * a, top + (low - top) * b
            wa, wb = self.width * (0.001 + 0.01 * a), self.width * (0.001 + 0.01 * b)
            polygon(self.canvas, ((middle - wa, ya), (middle + wa, ya), (middle + wb, yb),
                    (middle - wb, yb)), paint_of(self.light.on((236, 226, 190)), 0.85))  # fmt: skip
        if neon or self.scene.weather in ("rain", "storm") or self.light.is_dark:
            hues = ((255, 70, 190), (70, 230, 255), (255, 190, 90)) if neon else ((255, 206, 130),)
            for _ in range(26):
                x, y = self.rng.random() * self.width, top + (low - top) * self.rng.random()
                self.canvas.drawOval(
                    skia.Rect(x - self.width * 0.012, y, x + self.width * 0.012,
                              y + self.height * 0.09),
                    paint_of(self._colour(hues), 0.22, self.width * 0.008))  # fmt: skip

    def bushes(self) -> None:
        """Plant bushes and blossoming trees around a garden."""
        pink = ((244, 170, 196), (250, 204, 218), (232, 140, 176))
        blossoms = "petals" in self.scene.extras
        for turn in range(20):
            x = self.width * (turn + self.rng.random()) / 20
            self.broadleaf(x, self.horizon + self.height * 0.03, self.height * 0.13, 0.38)
        for x, y, tall in ((0.06, 0.86, 0.56), (0.2, 0.72, 0.36), (0.84, 0.74, 0.4),
                           (0.96, 0.88, 0.6)):  # fmt: skip
            middle, foot, size = self.width * x, self.height * y, self.height * tall
            self.broadleaf(middle, foot, size, 0.05)
            if blossoms:
                for _ in range(260):
                    angle, away = self.rng.random() * 6.283, size * 0.34 * self.rng.random() ** 0.5
                    self.canvas.drawCircle(
                        middle + away * np.cos(angle) * 1.2, foot - size * 0.7 + away
                        * np.sin(angle), size * (0.008 + 0.02 * self.rng.random()),
                        paint_of(self.light.on(self._colour(pink))))  # fmt: skip
        if "torii" in self.scene.extras:
            self.pond()

    def pond(self) -> None:
        """Lay a still pond with stones around it."""
        x, y, w, h = self.width * 0.58, self.height * 0.86, self.width * 0.3, self.height * 0.07
        rim = skia.Rect(x - w, y - h, x + w, y + h)
        self.canvas.drawOval(rim, paint_of(mixed(self.light.sky[-2], (40, 96, 110), 0.4)))
        self.canvas.drawOval(skia.Rect(x - w * 0.7, y - h * 0.5, x + w * 0.2, y),
                             paint_of((255, 255, 255), 0.22, h * 0.2))  # fmt: skip
        for turn in range(34):
            angle = turn / 34 * 6.283 + 0.1 * self.rng.random()
            px, py = x + w * np.cos(angle), y + h * np.sin(angle)
            r = self.width * (0.008 + 0.012 * self.rng.random())
            grey = 110 + 60 * self.rng.random()
            self.canvas.drawOval(skia.Rect(px - r, py - r * 0.6, px + r, py + r * 0.6),
                                 paint_of(self.light.on((grey, grey, grey + 6))))  # fmt: skip

    def grasses(self) -> None:
        """Draw a few far trees, and blades of grass before one's feet."""
        for turn in range(14):
            x = self.width * (turn + self.rng.random()) / 14
            if self.rng.random() < 0.6:
                self.broadleaf(x, self.horizon + self.height * 0.02,
                               self.height * (0.06 + 0.06 * self.rng.random()), 0.5)  # fmt: skip
        if self.scene.weather == "snow":
            return
        for _ in range(520):
            near = self.rng.random() ** 0.5
            y = self.horizon + (self.height - self.horizon) * (0.25 + 0.8 * near)
            x, tall = self.rng.random() * self.width, self.height * 0.034 * near
            shade = mixed(np.asarray(self.land.base) * 0.55, np.asarray(self.land.base) * 1.1,
                          self.rng.random())  # fmt: skip
            self.canvas.drawLine(x, y, x + tall * (self.rng.random() - 0.5), y - tall,
                                 stroke(self.light.on(shade), 1 + 2 * near))  # fmt: skip

    def flowers(self, count: int) -> None:
        """Strew flowers, small ones far away."""
        if self.scene.weather == "snow" or self.scene.empty_of & {"flowers", "cherry-blossom"}:
            return
        hues: tuple[tuple[int, int, int], ...] = (
            (250, 214, 72), (236, 92, 106), (250, 250, 250), (178, 120, 220), (246, 150, 190),
        )  # fmt: skip
        hues = hues if self.scene.tint is None else (self.scene.tint,)
        spots = sorted((self.rng.random() ** 0.6, self.rng.random()) for _ in range(count))
        for near, across in spots:
            y = self.horizon + (self.height - self.horizon) * (0.08 + 0.92 * near)
            r = self.height * (0.002 + 0.008 * near)
            x, hue = across * self.width, self.light.on(self._colour(hues), 0.3 * (1 - near))
            self.canvas.drawLine(x, y, x, y + r * 3, stroke(self.light.on((60, 110, 50)), 1 + near))
            for turn in range(5 if near > 0.35 else 1):
                angle = turn * 1.2566
                self.canvas.drawCircle(x + r * np.cos(angle) * 0.8, y + r * np.sin(angle) * 0.8,
                                       r * 0.62, paint_of(hue))  # fmt: skip
            if near > 0.35:
                self.canvas.drawCircle(x, y, r * 0.45, paint_of(self.light.on((250, 200, 60))))

    def fence(self) -> None:
        """Set a fence before the field."""
        wood = self.light.on((142, 104, 70))
        y, tall = self.height * 0.68, self.height * 0.075
        for level in (0.25, 0.65):
            self.canvas.drawLine(0, y + tall * level, self.width, y + tall * level,
                                 stroke(wood, tall * 0.13))  # fmt: skip
        for turn in range(15):
            x = self.width * (turn + 0.5) / 15
            self.canvas.drawLine(x, y, x, y + tall, stroke(np.asarray(wood) * 0.86, tall * 0.17))

    def shells(self) -> None:
        """Strew a few shells and stones."""
        for _ in range(26):
            x, y = self.rng.random() * self.width, self.height * (0.9 + 0.1 * self.rng.random())
            r = self.width * (0.003 + 0.004 * self.rng.random())
            hue = self._colour(((250, 236, 216), (232, 190, 160), (176, 160, 150)))
            self.canvas.drawOval(skia.Rect(x - r, y - r * 0.6, x + r, y + r * 0.6),
                                 paint_of(self.light.on(hue)))  # fmt: skip
