"""Mount a picture, whichever step it comes from, on a card with a caption and its colours: OUT.jpg."""

import argparse
import colorsys
import json
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

PICTURE, STRIP = (480, 270), 40  # sizes in pixels
GROUND, CARD, INK, FAINT = (16, 18, 27), (30, 33, 46), (236, 236, 242), (150, 154, 172)
Colour = tuple[int, int, int]


@cache
def make_font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font, laid out in the same way on every machine."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise SystemExit("this Pillow was built without FreeType: it has no font of that size")
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


def read_facts(picture: Image.Image, name: str) -> dict[str, Any]:
    """Return what earlier steps wrote into the picture's comment, or its name for a caption."""
    comment = picture.info.get("comment", b"")
    try:
        facts = json.loads(comment)
    except ValueError:
        facts = None
    return facts if isinstance(facts, dict) else {"caption": name}


def write_caption(facts: dict[str, Any]) -> tuple[str, str]:
    """Return a card's title and the fainter words behind it."""
    if facts.get("kind") == "frame":
        return f"Shot {facts['shot']}", f"at {facts['at']:.2f} s"
    if facts.get("kind") == "trail" and "shot" in facts:
        return f"Shot {facts['shot']}", f"light trails, {facts['end'] - facts['start']:.1f} s"
    return str(facts.get("caption") or facts.get("title") or ""), ""


def find_colours(picture: Image.Image, number: int) -> list[Colour]:
    """Return the colours that a person would name: many points, or few but vivid; unlike each other."""
    small = picture.resize((160, 90), Image.Resampling.BOX).quantize(64, Image.Quantize.MEDIANCUT)
    table = small.getpalette() or []
    weighed: list[tuple[float, Colour]] = []
    for points, index in small.getcolors() or []:
        red, green, blue = table[index * 3 : index * 3 + 3]
        _, depth, bright = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        weighed.append((round(points**0.25 * (0.1 + depth) * (0.1 + bright), 6), (red, green, blue)))
    chosen: list[Colour] = []
    for apart in (110, 60, 30):  # where a picture has few colours, nearer ones will do
        for _, colour in sorted(weighed, reverse=True):
            if all(sum(abs(colour[i] - other[i]) for i in range(3)) > apart for other in chosen):
                chosen.append(colour)
    return chosen[:number]


def draw_card(picture: Image.Image, facts: dict[str, Any], colours: list[Colour]) -> Image.Image:
    """Return the picture with round corners, its caption and its colours below."""
    width, height = PICTURE
    card = Image.new("RGB", (width, height + STRIP), GROUND)
    pen = ImageDraw.Draw(card)
    pen.rounded_rectangle((0, 0, width - 1, height + STRIP - 1), 14, fill=CARD)
    mask = Image.new("L", (width * 2, height * 2))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, width * 2 - 1, height * 2 + 60), 28, fill=255)
    card.paste(ImageOps.pad(picture, PICTURE, color=CARD), (0, 0), mask.reduce(2))
    title, words = write_caption(facts)
    middle = height + STRIP // 2
    pen.text((16, middle), title, INK, make_font(17), anchor="lm")
    pen.text((26 + make_font(17).getlength(title), middle), words, FAINT, make_font(15), anchor="lm")
    for place, colour in enumerate(reversed(colours)):
        x = width - 24 - place * 22
        chip = Image.new("L", (64, 64))
        ImageDraw.Draw(chip).ellipse((0, 0, 63, 63), fill=255)
        card.paste(colour, (x - 8, middle - 8, x + 8, middle + 8), chip.reduce(4))
    return card


def main() -> int:
    """Read, mount, save; the facts travel on in the comment, with the colours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    given = parser.parse_args()
    try:
        with Image.open(given.input) as file:
            facts, picture = read_facts(file, given.input.stem), file.convert("RGB")
    except OSError as error:
        raise SystemExit(f"{given.input} is not a picture: {error}") from error
    colours = find_colours(picture, 5)
    comment = json.dumps({**facts, "colours": colours}).encode()
    draw_card(picture, facts, colours).save(f"{given.output}.jpg", quality=93, subsampling=0, comment=comment)
    print(f"{given.input.name}: {' '.join(write_caption(facts)).strip()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
