"""Colours, fonts and the small types that the poster's parts share."""

from functools import cache

from PIL import ImageFont

GROUND, PANEL, INK, FAINT = (16, 18, 27), (23, 25, 36), (236, 236, 242), (150, 154, 172)
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@cache
def make_font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font, laid out in the same way on every machine."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise SystemExit("this Pillow was built without FreeType: it has no font of that size")
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


def mix(colour: Colour, share: float) -> Colour:
    """Return colour laid on the panel, share (0 to 1) of it."""
    red, green, blue = (round(PANEL[i] + (colour[i] - PANEL[i]) * share) for i in range(3))
    return red, green, blue
