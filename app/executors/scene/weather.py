"""What falls, drifts and flashes before everything else, as a function of the moment."""

import numpy as np
import skia

from app.executors.scene.canvas import Floats, noise
from app.executors.scene.light import INDOORS, Light
from app.executors.scene.pen import bitmap, paint_of, stroke
from app.executors.scene.words import Scene

WEATHERLESS = INDOORS | {"space", "moon", "underwater", "abstract"}


class Weather:
    """The weather of a scene; where there is none it draws nothing."""

    def __init__(
        self, scene: Scene, light: Light, height: int, width: int, horizon: int,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.scene, self.light = scene, light
        self.height, self.width, self.horizon = height, width, horizon
        self.has_any = scene.place not in WEATHERLESS
        counts = {"rain": 900, "storm": 1300, "snow": 800}
        count = counts.get(scene.weather, 0) if self.has_any else 0
        self.drops: Floats = rng.random((count, 4)).astype(np.float32)
        drifting = [extra for extra in ("petals", "leaves", "sparks") if extra in scene.extras]
        self.drift = drifting[0] if drifting else ""
        self.specks = rng.random((70 if self.drift else 0, 4)).astype(np.float32)
        self.veil: skia.Image | None = None
        if self.has_any and scene.weather == "fog":
            self.veil = self._fog(rng)
        self.bolt = self._bolt(rng) if self.has_any and "lightning" in scene.extras | (
            {"lightning"} if scene.weather == "storm" else set()) else []  # fmt: skip
        self.bursts = rng.random((5, 4)) if "fireworks" in scene.extras else rng.random((0, 4))
        self.meteors = rng.random((3, 3)) if "meteor" in scene.extras else rng.random((0, 3))

    def behind(self, canvas: skia.Canvas, moment_s: float) -> None:
        """Draw what is in the sky, as it is at a moment."""
        for burst in self.bursts:
            self._firework(canvas, burst, moment_s)
        for meteor in self.meteors:
            self._meteor(canvas, meteor, moment_s)
        if len(self.bolt) and moment_s % 1.7 < 0.5:
            for wide, alpha in ((9.0, 0.25), (3.0, 0.95)):
                for one, other in zip(self.bolt, self.bolt[1:], strict=False):
                    canvas.drawLine(*one, *other, stroke((236, 236, 255),
                                    wide * self.height / 700, alpha))  # fmt: skip

    def before(self, canvas: skia.Canvas, moment_s: float) -> None:
        """Draw what is between the scene and who looks at it."""
        if self.veil is not None:
            canvas.drawImage(self.veil, self.width * 0.02 * moment_s, 0)
            canvas.drawImage(self.veil, self.width * (0.02 * moment_s - 1), 0)
        self._falling(canvas, moment_s)
        self._drifting(canvas, moment_s)

    def _fog(self, rng: np.random.Generator) -> skia.Image:
        height, width = self.height, self.width
        body = noise(height, width, rng, 2, 5, stretch=3)
        body = (body + body[:, ::-1]) / 2  # its ends meet when it drifts
        y: Floats = np.arange(height)[:, None] / height
        thick: Floats = np.exp(-(((y - self.horizon / height) / 0.26) ** 2)) * 0.72 + 0.12
        alpha: Floats = (thick * (0.45 + 0.75 * body)).clip(0, 0.88)
        colour = self.light.on((226, 230, 234), 0.3)
        pixels = np.empty((height, width, 4), np.uint8)
        pixels[..., :3] = np.clip(colour, 0, 255)
        pixels[..., 3] = alpha * 255
        return bitmap(pixels)

    def _bolt(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        x, points = self.width * (0.2 + 0.6 * rng.random()), []
        for turn in range(13):
            points.append((float(x), float(self.horizon * turn / 12)))
            x += self.width * 0.05 * (rng.random() - 0.5)
        return points

    def _falling(self, canvas: skia.Canvas, moment_s: float) -> None:
        is_snow = self.scene.weather == "snow"
        speed = 0.09 if is_snow else 1.1
        for x, y, near, turn in self.drops.tolist():
            down = (y + moment_s * speed * (0.5 + near)) % 1.0 * 1.1 - 0.05
            if is_snow:
                sway = 0.012 * np.sin(moment_s * 1.5 + turn * 6.283)
                r = self.height * (0.0012 + 0.0042 * near**2)
                canvas.drawCircle((x + sway) * self.width, down * self.height, r,
                                  paint_of((255, 255, 255), 0.5 + 0.45 * near))  # fmt: skip
            else:
                long, lean = self.height * (0.018 + 0.04 * near), 0.24
                px, py = (x * 1.3 - 0.15) * self.width, down * self.height
                pen = stroke((206, 218, 234), max(1.0, self.height * 0.0013), 0.22 + 0.3 * near)
                canvas.drawLine(px, py, px - long * lean, py + long, pen)

    def _drifting(self, canvas: skia.Canvas, moment_s: float) -> None:
        hues = {
            "petals": ((248, 186, 208), (252, 216, 228)),
            "leaves": ((208, 120, 36), (178, 72, 32), (222, 170, 60)),
            "sparks": ((255, 236, 150), (180, 240, 220)),
        }.get(self.drift, ())  # fmt: skip
        for turn, (x, y, near, phase) in enumerate(self.specks.tolist()):
            hue = hues[turn % len(hues)]
            if self.drift == "sparks":
                power = 0.55 + 0.45 * np.sin(moment_s * 3 + phase * 6.283)
                px = (x + 0.01 * np.sin(moment_s + phase * 9)) * self.width
                r = self.height * (0.003 + 0.004 * near)
                canvas.drawCircle(px, (0.2 + 0.75 * y) * self.height, r * 3,
                                  paint_of(hue, 0.4 * power, r * 2))  # fmt: skip
                canvas.drawCircle(px, (0.2 + 0.75 * y) * self.height, r,
                                  paint_of((255, 255, 240), power))  # fmt: skip
                continue
            down = (y + moment_s * 0.07 * (0.5 + near)) % 1.0
            px = (x + 0.03 * np.sin(moment_s + phase * 6.283) + 0.02 * moment_s) % 1.0 * self.width
            r = self.height * (0.004 + 0.006 * near) * (1 if self.drift == "petals" else 1.4)
            canvas.save()
            canvas.translate(px, down * self.height)
            canvas.rotate(phase * 360 + moment_s * 50)
            canvas.drawOval(skia.Rect(-r, -r * 0.55, r, r * 0.55),
                            paint_of(self.light.on(hue), 0.9))  # fmt: skip
            canvas.restore()

    def _firework(self, canvas: skia.Canvas, burst: Floats, moment_s: float) -> None:
        hues = ((255, 110, 110), (255, 214, 110), (120, 220, 255), (200, 140, 255), (140, 255, 170))
        grown = (0.75 + moment_s * 0.5 + burst[3] * (1 if moment_s else 0)) % 1.0
        hue = hues[int(burst[2] * 5) % 5]
        x, y = self.width * (0.12 + 0.76 * burst[0]), self.horizon * (0.15 + 0.45 * burst[1])
        far = self.height * (0.15 + 0.08 * burst[2]) * grown
        for turn in range(30):
            angle = turn / 30 * 6.283
            for part in (0.45, 0.75, 1.0):
                px, py = x + far * part * np.cos(angle), y + far * part * np.sin(angle)
                r = self.height * 0.006 * (1.2 - grown * 0.5)
                spark = paint_of(hue, min(1.0, part * (1.6 - grown)))
                canvas.drawCircle(px, py + far * 0.1 * part, r, spark)
        canvas.drawCircle(x, y, far, paint_of(hue, 0.1, far * 0.4 + 1))

    def _meteor(self, canvas: skia.Canvas, meteor: Floats, moment_s: float) -> None:
        on = (moment_s * 0.4 + meteor[2] * 0.2) % 1.0
        x, y = (
            self.width * (meteor[0] + 0.3 * on),
            self.horizon * (0.1 + 0.4 * meteor[1] + 0.3 * on),
        )
        for part in range(12):
            back = part / 12 * self.width * 0.14
            left = 1 - part / 12
            pen = stroke((255, 250, 235), self.height * 0.005 * left, 0.9 * left)
            canvas.drawLine(x - back, y - back * 0.5, x - back - 6, y - back * 0.5 - 3, pen)
