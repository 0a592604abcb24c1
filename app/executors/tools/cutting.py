"""What is in a picture, cut out of its background.

People are found by MediaPipe's small network. For anything else the colours of the border are taken
for the background (GrabCut): that needs a background that is unlike the thing. Either finds a rough
mask in a small copy, whose edge then follows the picture's own (a guided filter).
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.executors.tools.pictures import flat, opened, png
from app.executors.tools.tool import Given, Impossible, Result

WEIGHTS: Final = Path(__file__).with_name("weights") / "selfie_segmentation.tflite"
SIDE: Final = 256  # of the copy in which it is found
FINE_SIDE: Final = 1_536  # of the copy whose edges the mask follows
ROUNDS: Final = 4
LEAST_PART, MOST_PART = 0.02, 0.98  # of a picture: less is nothing, more is all of it
SURE: Final = 0.9  # of what it takes for a person, how sure the network must be on the whole
SMOOTH: Final = 1e-4  # how alike neighbours are for the edge to ignore them
NO_PERSON: Final = "No person was found in the picture who stands out clearly."
NO_OBJECT: Final = (
    "Nothing was found in the picture that stands out from its border. It works where the"
    " background is unlike the thing, and on all sides of it."
)

Mask = NDArray[np.float32]


@cache
def load() -> Any:
    """Return the network that finds people, read once."""
    import cv2

    cv2.setNumThreads(1)
    return cv2.dnn.readNetFromTFLite(str(WEIGHTS))


def cut_out(given: Given) -> Result:
    """Return a picture through which its background can't be seen any more."""
    picture = opened(given.file("image"))
    ground = flat(picture)
    small = np.asarray(ground.resize((SIDE, SIDE), Image.Resampling.BOX))
    is_person = given["subject"] == "person"
    rough = _person(small) if is_person else _object(small)
    inside = rough[rough > 0.5]
    is_clear = inside.size and inside.mean() > SURE
    if not is_clear or not LEAST_PART < inside.size / rough.size < MOST_PART:
        raise Impossible(NO_PERSON if is_person else NO_OBJECT)
    near = ground.copy()
    near.thumbnail((FINE_SIDE, FINE_SIDE), Image.Resampling.BOX)
    edge = Image.fromarray(_along_edges(near, rough)).resize(ground.size, Image.Resampling.BILINEAR)
    if picture.mode == "RGBA":  # what was seen through stays so
        edge = Image.composite(edge, Image.new("L", edge.size), picture.getchannel("A"))
    ground.putalpha(edge)
    return png(ground)


def _person(small: NDArray[np.uint8]) -> Mask:
    import cv2

    net = load()
    net.setInput(cv2.dnn.blobFromImage(small, 1 / 255, (SIDE, SIDE)))
    found: Mask = np.asarray(net.forward(), np.float32).reshape(SIDE, SIDE)
    return found


def _object(small: NDArray[np.uint8]) -> Mask:
    import cv2

    load()  # of it the one thread
    border = SIDE // 32
    marks = np.full((SIDE, SIDE), cv2.GC_PR_FGD, np.uint8)
    for edge in (marks[:border], marks[-border:], marks[:, :border], marks[:, -border:]):
        edge[:] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    swapped = np.ascontiguousarray(small[:, :, ::-1])
    cv2.setRNGSeed(0)
    cv2.grabCut(swapped, marks, (0, 0, 0, 0), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    return _largest(cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))


def _largest(inside: NDArray[np.uint8]) -> Mask:
    """Return the largest piece of a mask, and those of at least a tenth of its size."""
    import cv2

    _, labels, found, _ = cv2.connectedComponentsWithStats(inside)
    sizes = found[:, cv2.CC_STAT_AREA]
    sizes[0] = 0  # what is outside
    kept = np.flatnonzero(sizes * 10 >= max(1, int(sizes.max())))
    return np.isin(labels, kept).astype(np.float32)


def _along_edges(ground: Image.Image, rough: Mask) -> NDArray[np.uint8]:
    """Return a mask of a picture's size, whose edge is where the picture has one."""
    import cv2

    light = np.asarray(ground.convert("L"), np.float32) / 255
    mask = cv2.resize(rough, ground.size, interpolation=cv2.INTER_LINEAR)
    size = (max(3, max(ground.size) // 64 * 2 + 1),) * 2

    def mean(values: Any) -> Any:
        return cv2.boxFilter(values, -1, size)

    of_light, of_mask = mean(light), mean(mask)
    slope = (mean(light * mask) - of_light * of_mask) / (
        mean(light * light) - of_light * of_light + SMOOTH
    )
    fine = mean(slope) * light + mean(of_mask - slope * of_light)
    return np.asarray(np.clip((fine - 0.1) / 0.8 * 255 + 0.5, 0, 255), np.uint8)
