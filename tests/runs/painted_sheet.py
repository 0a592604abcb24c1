"""Paint the sheet of prompts on contact sheets, to be looked at: `scripts/sheet`.

The painter's process makes each, as it makes a buyer's; the seed is the prompt's place.
"""

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from app.executors.painter import ScenePainter
from app.ports import Made, Wanted
from tests.world.scene_sheet import SHEET

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
SIDE, LINE, ACROSS, EACH = 256, 18, 4, 16  # pixels; pictures in a row, and on a sheet


async def main(folder: Path) -> None:
    """Paint all, and lay them out."""
    painter = ScenePainter()
    painted: list[tuple[str, bytes]] = []
    for seed, prompt in enumerate(SHEET, start=1):
        made = await painter.make(Wanted("scene-1", prompt, 2 * SIDE, 2 * SIDE, seed=seed))
        assert isinstance(made, Made)
        painted.append((prompt, made.data))
    await painter.close()
    for number, first in enumerate(range(0, len(painted), EACH), start=1):
        laid_out(painted[first : first + EACH]).save(
            folder / f"scenes-{number}.webp", quality=82, method=6
        )


def laid_out(painted: list[tuple[str, bytes]]) -> Image.Image:
    """Return a sheet of pictures with their prompts."""
    rows = -(-len(painted) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * SIDE, rows * (SIDE + LINE)), (24, 24, 26))
    pen = ImageDraw.Draw(sheet)
    for place, (prompt, data) in enumerate(painted):
        x, y = place % ACROSS * SIDE, place // ACROSS * (SIDE + LINE)
        with Image.open(io.BytesIO(data)) as picture:
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + 4, y + SIDE + 3), prompt[:44], fill=(236, 236, 236))
    return sheet


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
