"""Let a picture through when it is in focus: OUT.jpg, or nothing. Nothing is no error here."""

import argparse
import shutil
from itertools import accumulate
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

SIZE = (640, 640)  # a blur is to be measured on pictures of about one size


def find_rank(histogram: list[int], share: float) -> int:
    """Return the brightness that share (0 to 1) of the points do not exceed."""
    wanted = share * sum(histogram)
    return next(bright for bright, points in enumerate(accumulate(histogram)) if points >= wanted)


def measure_focus(picture: Image.Image) -> float:
    """Return how much the sharpest edges lose by a small blur, of the picture's range: 0 to about 1."""
    grey = picture.convert("L")
    grey.thumbnail(SIZE)
    loss = ImageChops.difference(grey, grey.filter(ImageFilter.GaussianBlur(2)))
    spread = find_rank(grey.histogram(), 0.999) - find_rank(grey.histogram(), 0.01)
    return find_rank(loss.histogram(), 0.9995) / max(spread, 1)


def main() -> int:
    """Measure, and copy the picture as it is or leave it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--least", type=float, default=0.2, help="focus below which a picture is left out")
    given = parser.parse_args()
    try:
        with Image.open(given.input) as picture:
            focus = measure_focus(picture)
    except OSError as error:
        raise SystemExit(f"{given.input} is not a picture: {error}") from error
    kept = focus >= given.least
    print(f"{given.input.name}: focus {focus:.2f}, {'kept' if kept else 'left out'}")
    if kept:
        shutil.copyfile(given.input, f"{given.output}.jpg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
