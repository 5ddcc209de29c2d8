"""Lay all cards of a folder out on one poster, with the tune below when there is one: OUT.jpg."""

import argparse
import colorsys
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from score import Scale, draw_score
from style import FAINT, GROUND, INK, Box, Colour, make_font

GAP, SCORE = 24, 372  # pixels between all things; height of the tune's panel
Card = tuple[Image.Image, dict[str, Any]]  # what an earlier step knew of it came as its comment


def read_cards(folder: Path) -> list[Card]:
    """Return the cards in the order of the video: by shot, frames before trails."""
    cards: list[Card] = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as file:
            comment = file.info.get("comment", b"{}")
            cards.append((file.convert("RGB"), json.loads(comment)))
    if not cards:
        raise SystemExit(f"{folder} holds no card (*.jpg)")
    return sorted(cards, key=lambda card: (card[1].get("shot", 0), card[1].get("at", float("inf"))))


def find_accents(cards: list[Card]) -> dict[int, Colour]:
    """Return a bright colour for each shot, out of its cards' colours, as unlike the others as can be."""
    offers: dict[int, list[Colour]] = {}
    for _, facts in cards:
        offers.setdefault(facts.get("shot", 0), []).extend(facts.get("colours", []))
    accents: dict[int, Colour] = {}
    taken: list[float] = []
    for shot, colours in offers.items():
        best, chosen, tint = -1.0, INK, 0.0
        for place, colour in enumerate(colours):
            hue, depth, bright = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
            apart = min((min(abs(hue - other), 1 - abs(hue - other)) for other in taken), default=0.5)
            worth = round(min(depth, 0.6) * (0.4 + bright) * min(apart, 0.16) / (1 + 0.05 * place), 6)
            if worth > best:
                red, green, blue = colorsys.hsv_to_rgb(hue, min(depth, 0.62), 0.93)
                best, chosen, tint = worth, (round(red * 255), round(green * 255), round(blue * 255)), hue
        accents[shot] = chosen
        taken.append(tint)
    return accents


def draw_title(pen: ImageDraw.ImageDraw, box: Box, title: str, lines: list[str], accents: list[Colour]) -> None:
    """Write the poster's title into box, in the largest size that fits, a dash a shot and lines below."""
    left, top, right, bottom = box
    left, middle = left + 8, (top + bottom) // 2
    size = next((s for s in range(52, 20, -2) if make_font(s).getlength(title) <= right - left - 8), 20)
    pen.text((left, middle - 12), title, INK, make_font(size), anchor="ls")
    step = min(46, (right - left) // len(accents))
    for place, colour in enumerate(accents):
        x = left + place * step
        pen.rounded_rectangle((x, middle + 8, x + step - 10, middle + 13), 2, fill=colour)
    for place, line in enumerate(lines):
        pen.text((left, middle + 44 + place * 26), line, FAINT, make_font(18), anchor="ls")


def make_scale(left: int, right: int, seconds: float, cards: list[Card]) -> Scale:
    """Return the time scale between two places in pixels, with the shots that the cards tell of."""
    accents = find_accents(cards)
    starts = sorted({(facts["start"], facts["shot"]) for _, facts in cards if "start" in facts})
    shots = [(start, accents[shot], f"Shot {shot}") for start, shot in starts]
    return Scale(left=left, width=right - left, seconds=max(seconds, 0.001), shots=shots)


def draw_poster(cards: list[Card], heard: "dict[str, Any] | None", title: str) -> Image.Image:
    """Return the poster: a grid with the title in its first cell and a card in each other, the tune below."""
    cells = len(cards) + 1
    columns = next(number for number in range(2, 7) if number * number * 0.75 >= cells or number == 6)
    rows = -(-cells // columns)
    wide, tall = (max(card.size[side] for card, _ in cards) for side in (0, 1))
    width = GAP + columns * (wide + GAP)
    height = GAP + rows * (tall + GAP) + (SCORE + GAP if heard else 0)
    sheet = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(sheet)
    for place, (card, _) in enumerate(cards, start=1):
        sheet.paste(card, (GAP + place % columns * (wide + GAP), GAP + place // columns * (tall + GAP)))
    shots = len({facts["shot"] for _, facts in cards if "shot" in facts})
    lines = [f"{len(cards)} pictures" + (f" of {shots} shots" if shots else "")]
    if heard:
        lines.append(f"{heard['seconds']:.1f} seconds, with sound")
        scale = make_scale(GAP + 28, width - GAP - 28, heard["seconds"], cards)
        marks = [facts["at"] for _, facts in cards if "at" in facts]
        draw_score(pen, (GAP, height - SCORE - GAP, width - GAP, height - GAP), scale, heard, marks)
    draw_title(pen, (GAP, GAP, GAP + wide, GAP + tall), title, lines, list(find_accents(cards).values()))
    return sheet


def main() -> int:
    """Read the folder, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True, help="a folder of cards and a tune (.json)")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--title", help="instead of the video's own")
    given = parser.parse_args()
    cards = read_cards(given.input)
    tunes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(given.input.glob("*.json"))]
    title = given.title or next((facts["title"] for _, facts in cards if "title" in facts), "Pictures")
    poster = draw_poster(cards, tunes[0] if tunes else None, title)
    poster.save(f"{given.output}.jpg", quality=92, subsampling=0)
    print(f"poster of {len(cards)} cards, {poster.width} x {poster.height}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
