"""The tune's panel: notes as bars, loudness below, over the time of the video."""

from dataclasses import dataclass
from typing import Any

from PIL import ImageDraw
from style import FAINT, INK, PANEL, Box, Colour, make_font, mix

NOTES, LOUDNESS = (50, 232), 286  # pixels from the panel's top: the notes' band, the middle of the levels


@dataclass(frozen=True)
class Scale:
    """Where a time is across the panel, and whose colour it has."""

    left: float
    width: float
    seconds: float
    shots: list[tuple[float, Colour, str]]  # start in seconds, colour, name; in order

    def find_x(self, time: float) -> float:
        """Return the place in pixels of a time in seconds."""
        return self.left + self.width * time / self.seconds

    def find_colour(self, time: float) -> Colour:
        """Return the colour of the shot that is shown at a time in seconds."""
        begun = [colour for start, colour, _ in self.shots if start <= time + 1e-6]
        return begun[-1] if begun else INK


def draw_notes(pen: ImageDraw.ImageDraw, scale: Scale, top: int, notes: list[list[int]]) -> None:
    """Draw a bar for each pitch that sounds, brighter when louder; only the octaves in use."""
    used = [pitch for pitch in range(len(notes[0])) if any(row[pitch] > 1 for row in notes)] or [0]
    low, high = used[0], max(used[-1], used[0] + 11)
    tall, long = (NOTES[1] - NOTES[0]) / (high - low + 1), scale.seconds / len(notes)
    for look, row in enumerate(notes):
        left, right = scale.find_x(look * long) + 1, scale.find_x((look + 1) * long) - 1
        for pitch in range(low, high + 1):
            if row[pitch] > 1:
                y = top + NOTES[1] - (pitch - low + 1) * tall
                colour = mix(scale.find_colour(look * long), min(1.0, 0.12 + row[pitch] / 8))
                pen.rounded_rectangle((left, y, right, y + tall - 1), 2, fill=colour)


def draw_levels(pen: ImageDraw.ImageDraw, scale: Scale, top: int, levels: list[int]) -> None:
    """Draw loudness (0 to 100) as bars around a middle line."""
    long = scale.seconds / len(levels)
    for place, level in enumerate(levels):
        left, half = round(scale.find_x(place * long)), max(1, round(level * 0.4))
        right = max(round(scale.find_x((place + 1) * long)) - 3, left)
        box = (left, top + LOUDNESS - half, right, top + LOUDNESS + half)
        pen.rounded_rectangle(box, 2, fill=scale.find_colour(place * long))


def draw_score(pen: ImageDraw.ImageDraw, box: Box, scale: Scale, heard: dict[str, Any], marks: list[float]) -> None:
    """Draw the whole panel into box; marks are the times in seconds at which pictures were taken."""
    _, top, _, bottom = box
    pen.rounded_rectangle(box, 14, fill=PANEL)
    for start, colour, name in scale.shots:
        x = scale.find_x(start)
        pen.line((x, top + 44, x, bottom - 36), fill=mix(INK, 0.12), width=1)
        pen.text((x + 8, top + 26), name, mix(colour, 0.9), make_font(15), anchor="lm")
    draw_notes(pen, scale, top, heard["notes"])
    draw_levels(pen, scale, top, heard["levels"])
    for time in marks:
        x, y = scale.find_x(time), top + NOTES[1] + 2
        pen.polygon([(x - 5, y), (x + 5, y), (x, y + 7)], fill=INK)
    units = (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600)
    every = next((unit for unit in units if scale.seconds / unit <= 16), 7200)
    for tick in range(0, int(scale.seconds) + 1, every):
        words = f"{tick // 60}:{tick % 60:02d}"
        pen.text((scale.find_x(tick), bottom - 20), words, FAINT, make_font(14), anchor="mm")
