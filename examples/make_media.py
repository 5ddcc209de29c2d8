# ruff: noqa: S311, T201 - random numbers draw stars here, and this script talks to a terminal.
"""Make the sample's media: a clip of five night scenes with a tune, and a few pictures of them.

    uv run --with Pillow==11.3.0 --with imageio-ffmpeg==0.6.0 python examples/make_media.py

Everything is drawn and played by this script: it owns no sound, picture or font of anyone else.
"""

import argparse
import array
import json
import math
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

TITLE = "Five Small Nights"
WIDTH, HEIGHT = 960, 540  # scenes are drawn at twice the size of the clip
FPS, SHOT = 25, 40  # frames a second, frames a shot
BEAT = 0.4  # seconds; a shot is a bar of four beats
RATE = 32000  # samples a second
Colour = tuple[int, int, int]
Point = tuple[float, float]


def paint_sky(top: Colour, middle: Colour, bottom: Colour, stars: int, seed: int) -> Image.Image:
    """Return a night sky, from top to bottom, with stars in its upper half."""
    shade = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    sky = ImageOps.colorize(shade, black=top, mid=middle, white=bottom)
    pen, chance = ImageDraw.Draw(sky), random.Random(seed)
    for _ in range(stars):
        x, y, bright = (
            chance.random() * WIDTH,
            chance.random() ** 1.5 * HEIGHT * 0.6,
            chance.randint(110, 235),
        )
        size = 1 + (bright > 200)
        pen.ellipse((x - size, y - size, x + size, y + size), fill=(bright, bright, min(255, bright + 20)))
    return sky


def shine(picture: Image.Image, lights: Image.Image, glow: float) -> Image.Image:
    """Return picture at the clip's size with lights and their glow (a radius in pixels) over it."""
    small = lights.reduce(2)
    halo = small.filter(ImageFilter.GaussianBlur(glow))
    wide = small.filter(ImageFilter.GaussianBlur(glow * 4))
    for layer in (halo, halo, wide, small):
        picture_small = picture if picture.size == small.size else picture.reduce(2)
        picture = ImageChops.screen(picture_small, layer)
    return picture


def dot(pen: ImageDraw.ImageDraw, at: Point, radius: float, colour: Colour, bright: float = 1.0) -> None:
    """Draw one light; bright (0 to 1) dims it."""
    red, green, blue = (int(part * max(0.0, min(1.0, bright))) for part in colour)
    x, y = at
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(red, green, blue))


def draw_hills(pen: ImageDraw.ImageDraw, base: float, height: float, colour: Colour, waves: float) -> None:
    """Draw a line of hills from base (its y) down to the bottom edge."""
    ridge = [
        (x, base - height * (math.sin(x / WIDTH * waves) + 0.5 * math.sin(x / WIDTH * waves * 2.7 + 1)))
        for x in range(0, WIDTH + 8, 8)
    ]
    pen.polygon([(0, HEIGHT), *ridge, (WIDTH, HEIGHT)], fill=colour)


def lighthouse(time: float) -> Image.Image:
    """A lighthouse turns its beam over the sea while a boat goes by."""
    scene = paint_sky((9, 12, 40), (38, 46, 104), (120, 96, 140), 110, 1)
    pen = ImageDraw.Draw(scene)
    dot(pen, (190, 120), 46, (250, 240, 214))
    dot(pen, (172, 108), 9, (228, 216, 190))
    dot(pen, (206, 136), 12, (228, 216, 190))
    sea = 380
    pen.rectangle((0, sea, WIDTH, HEIGHT), fill=(16, 24, 62))
    for row in range(14):
        y = sea + 8 + row * 11
        reach = 18 + row * 5 + 12 * math.sin(row * 2.1 + time * 5)
        pen.line((190 - reach, y, 190 + reach, y), fill=(150 - row * 6, 148 - row * 6, 160 - row * 4), width=3)
    pen.polygon(
        [(600, HEIGHT), (650, 420), (720, 372), (800, 366), (870, 400), (960, 440), (960, 540)],
        fill=(8, 9, 22),
    )
    for part in range(6):  # the tower's stripes, narrower to the top
        wide, low = 30 - part * 2.4, 372 - part * 30
        stripe = (196, 62, 66) if part % 2 else (226, 222, 226)
        pen.polygon(
            [
                (760 - wide, low),
                (760 + wide, low),
                (760 + wide - 2.4, low - 30),
                (760 - wide + 2.4, low - 30),
            ],
            fill=stripe,
        )
    pen.rectangle((738, 186, 782, 194), fill=(20, 20, 34))
    pen.polygon([(742, 164), (760, 144), (778, 164)], fill=(196, 62, 66))
    boat = 300 + time * 130
    bob = 3 * math.sin(time * 6)
    pen.polygon(
        [(boat - 46, 414 + bob), (boat + 46, 414 + bob), (boat + 30, 436 + bob), (boat - 32, 436 + bob)],
        fill=(6, 7, 18),
    )
    pen.polygon([(boat - 4, 408 + bob), (boat - 4, 340 + bob), (boat + 38, 404 + bob)], fill=(60, 62, 100))
    lights = Image.new("RGB", (WIDTH, HEIGHT))
    glow = ImageDraw.Draw(lights)
    angle = math.pi * (0.93 + 0.25 * time / 1.6)
    for spread, strength in ((0.06, 24), (0.04, 30), (0.02, 44)):
        ends = [
            (760 + 1100 * math.cos(angle + turn), 176 + 1100 * math.sin(angle + turn)) for turn in (-spread, spread)
        ]
        glow.polygon([(760, 176), *ends], fill=(strength * 2, int(strength * 1.9), strength))
    dot(glow, (760, 176), 12, (255, 244, 190))
    dot(glow, (boat - 40, 404 + bob), 5, (255, 176, 80))
    for ripple in range(4):
        glow.line(
            (boat - 46 - ripple, 444 + ripple * 9, boat - 30 + ripple, 444 + ripple * 9),
            fill=(120 - ripple * 24, 70 - ripple * 14, 20),
            width=3,
        )
    return shine(scene, lights, 4)


def fireflies(time: float) -> Image.Image:
    """Fireflies wander over a meadow; the camera finds its focus halfway."""
    scene = paint_sky((6, 22, 34), (14, 52, 58), (60, 110, 86), 60, 2)
    pen, chance = ImageDraw.Draw(scene), random.Random(22)
    draw_hills(pen, 360, 34, (12, 44, 44), 7)
    draw_hills(pen, 420, 26, (8, 30, 30), 5)
    for x, size in ((110, 120), (240, 80), (840, 140), (730, 76)):
        pen.rectangle((x - 6, 430 - size, x + 6, 450), fill=(4, 14, 16))
        for _ in range(9):
            dx, dy = chance.uniform(-0.5, 0.5) * size, chance.uniform(-0.5, 0.35) * size
            dot(pen, (x + dx, 400 - size + dy), size * 0.3, (4, 16, 18))
    for _ in range(260):
        x, tall = chance.uniform(0, WIDTH), chance.uniform(26, 84)
        lean = chance.uniform(-14, 14) + 6 * math.sin(time * 3 + x / 70)
        pen.polygon(
            [(x - 3, HEIGHT), (x + 3, HEIGHT), (x + lean, HEIGHT - tall)],
            fill=(4, chance.randint(14, 30), 18),
        )
    lights = Image.new("RGB", (WIDTH, HEIGHT))
    glow = ImageDraw.Draw(lights)
    for _ in range(17):
        x, y, turn, speed = (
            chance.uniform(60, 900),
            chance.uniform(170, 470),
            chance.uniform(0, 6.3),
            chance.uniform(1.2, 2.6),
        )
        at = (
            x + 74 * math.sin(time * speed + turn) + 22 * math.sin(time * speed * 2.3),
            y + 40 * math.cos(time * speed * 1.4 + turn),
        )
        dot(glow, at, 5, (226, 255, 120), 0.62 + 0.38 * math.sin(time * 4 + turn))
    return focus(shine(scene, lights, 4), 7 * (1 - smooth((time - 0.7) / 0.35)))


def train(time: float) -> Image.Image:
    """A night train crosses a viaduct; the camera swings to it first."""
    scene = paint_sky((20, 12, 44), (74, 36, 92), (226, 120, 96), 80, 3)
    pen = ImageDraw.Draw(scene)
    dot(pen, (700, 250), 74, (255, 196, 140))
    draw_hills(pen, 350, 46, (66, 34, 78), 6)
    draw_hills(pen, 420, 30, (40, 22, 58), 9)
    deck = 330
    pen.rectangle((0, deck, WIDTH, deck + 22), fill=(18, 11, 30))
    for arch in range(-1, 8):
        x = arch * 136 + 30
        pen.rectangle((x, deck, x + 136, HEIGHT), fill=(18, 11, 30))
        pen.pieslice((x + 16, deck + 34, x + 120, deck + 170), 180, 360, fill=(52, 28, 68))
        pen.rectangle((x + 16, deck + 101, x + 120, HEIGHT), fill=(52, 28, 68))
    lights = Image.new("RGB", (WIDTH, HEIGHT))
    glow = ImageDraw.Draw(lights)
    head = -120 + time * 760
    for car in range(7):
        right = head - car * 196
        pen.rounded_rectangle((right - 184, deck - 62, right, deck - 6), 12, fill=(24, 18, 44))
        pen.rectangle((right - 200, deck - 16, right, deck - 8), fill=(12, 9, 24))
        for window in range(5):
            x = right - 172 + window * 34
            glow.rounded_rectangle((x, deck - 50, x + 22, deck - 28), 4, fill=(255, 206, 118))
    glow.polygon([(head, deck - 24), (head + 230, deck - 60), (head + 230, deck + 4)], fill=(58, 50, 34))
    dot(glow, (head - 2, deck - 22), 8, (255, 250, 226))
    picture = shine(scene, lights, 3)
    swing = int(90 * (1 - smooth((time - 0.6) / 0.4)))
    if swing < 3:
        return picture
    smear = picture.resize((picture.width // swing + 2, picture.height), Image.Resampling.BOX)
    return smear.resize(picture.size, Image.Resampling.BICUBIC).filter(ImageFilter.BoxBlur(2))


def wheel(time: float) -> Image.Image:
    """A Ferris wheel turns at a fair; the camera loses its focus halfway."""
    scene = paint_sky((10, 8, 34), (40, 22, 74), (96, 46, 96), 70, 4)
    pen, middle, radius = ImageDraw.Draw(scene), (480.0, 244.0), 186.0
    lights = Image.new("RGB", (WIDTH, HEIGHT))
    glow = ImageDraw.Draw(lights)
    pen.line((480, 244, 390, 500), fill=(74, 62, 112), width=9)
    pen.line((480, 244, 570, 500), fill=(74, 62, 112), width=9)
    bulbs: tuple[Colour, ...] = (
        (255, 92, 92),
        (255, 190, 70),
        (110, 230, 150),
        (90, 180, 255),
        (220, 120, 255),
    )
    for spoke in range(20):
        turn = spoke * math.tau / 20 + time * 0.62
        rim = (middle[0] + radius * math.cos(turn), middle[1] + radius * math.sin(turn))
        pen.line((*middle, *rim), fill=(62, 52, 100), width=3)
        colour = bulbs[spoke % 5]
        dot(glow, rim, 7, colour)
        for part in (0.36, 0.58, 0.8):
            dot(
                glow,
                (middle[0] + radius * part * math.cos(turn), middle[1] + radius * part * math.sin(turn)),
                3,
                colour,
                0.75,
            )
        if spoke % 2 == 0:
            x, y = rim
            pen.rounded_rectangle((x - 14, y + 8, x + 14, y + 32), 7, fill=tuple(part // 3 for part in colour))
    pen.ellipse((294, 58, 666, 430), outline=(92, 78, 140), width=5)
    dot(glow, middle, 11, (255, 236, 190))
    pen.rectangle((0, 490, WIDTH, HEIGHT), fill=(9, 7, 22))
    for stall in range(7):
        x = 20 + stall * 138
        if abs(x + 50 - 480) < 110:
            continue
        for stripe in range(6):
            colour = (150, 52, 72) if stripe % 2 else (190, 176, 180)
            left = x + stripe * 18
            pen.polygon([(left, 450), (left + 18, 450), (left + 18, 432), (left, 432)], fill=colour)
        pen.rectangle((x + 4, 450, x + 104, 496), fill=(28, 18, 44))
        glow.rectangle((x + 12, 458, x + 96, 482), fill=(196, 128, 50))
        for bulb in range(7):
            blink = 0.5 + 0.5 * math.sin(time * 9 + bulb * 1.8 + stall)
            dot(glow, (x + bulb * 18, 430), 3, bulbs[bulb % 5], blink)
    return focus(shine(scene, lights, 4), 7 * smooth((time - 0.6) / 0.35))


def fireworks(time: float) -> Image.Image:
    """Fireworks over a town by a river; out of focus at first."""
    scene = paint_sky((7, 9, 30), (22, 24, 66), (70, 50, 96), 60, 5)
    pen, chance = ImageDraw.Draw(scene), random.Random(55)
    shore = 430
    lights = Image.new("RGB", (WIDTH, HEIGHT))
    glow = ImageDraw.Draw(lights)
    x = 0
    while x < WIDTH:
        wide, tall = chance.randint(36, 84), chance.randint(40, 136)
        pen.rectangle((x, shore - tall, x + wide, shore), fill=(13, 13, 32))
        for wx in range(x + 8, x + wide - 8, 14):
            for wy in range(shore - tall + 10, shore - 8, 18):
                if chance.random() < 0.42:
                    glow.rectangle(
                        (wx, wy, wx + 5, wy + 7),
                        fill=chance.choice(((140, 104, 48), (120, 92, 60), (70, 84, 110))),
                    )
        x += wide + chance.choice((0, 0, 6))
    pen.rectangle((0, shore, WIDTH, HEIGHT), fill=(9, 11, 34))
    bursts: tuple[tuple[float, Point, Colour, int], ...] = (
        (-0.35, (250, 160), (255, 120, 96), 46),
        (0.1, (650, 130), (255, 208, 90), 54),
        (0.45, (430, 210), (120, 190, 255), 44),
        (0.62, (820, 220), (220, 130, 255), 40),
        (0.75, (140, 230), (130, 255, 170), 40),
    )
    for start, (cx, cy), colour, sparks in bursts:
        age = time - start
        for _ in range(sparks):
            turn, speed = chance.uniform(0, math.tau), chance.uniform(0.35, 1.0) ** 0.6 * 190
            if age <= 0:
                continue
            for lag in range(5):  # a short tail behind every spark
                then = age - lag * 0.035
                if then <= 0:
                    break
                reach = speed * (1 - math.exp(-2.4 * then))
                at = (cx + reach * math.cos(turn), cy + reach * math.sin(turn) + 46 * then * then)
                fade = max(0.0, 1.1 - then * 0.72) * (1 - lag * 0.17)
                dot(glow, at, 3.4 - lag * 0.5, colour, fade)
                dot(
                    glow,
                    (at[0] + 3 * math.sin(at[1]), 2 * shore - at[1] * 0.8 - 70),
                    2.4,
                    colour,
                    fade * 0.35,
                )
    return focus(shine(scene, lights, 4), 7 * (1 - smooth((time - 0.65) / 0.35)))


def smooth(part: float) -> float:
    """Return part held to 0..1 and eased at both ends."""
    part = max(0.0, min(1.0, part))
    return part * part * (3 - 2 * part)


def focus(picture: Image.Image, radius: float) -> Image.Image:
    """Return picture out of focus by radius pixels."""
    return picture.filter(ImageFilter.GaussianBlur(radius)) if radius > 0.2 else picture


SCENES: tuple[Callable[[float], Image.Image], ...] = (lighthouse, fireflies, train, wheel, fireworks)

# A bar a scene, eight eighths a bar; a dot holds the note before it.
MELODY = (
    "A4 . C5 E5 . D5 C5 . ",
    "F4 . A4 C5 . D5 E5 . ",
    "G4 C5 E5 G5 . E5 D5 C5",
    "B4 . D5 G5 . D5 B4 D5",
    "C5 E5 A5 . . E5 A4 . ",
)
CHORDS = ("A2 E3 C4", "F2 C3 A3", "C3 G3 E4", "G2 D3 B3", "A2 E3 C4")


def pitch(note: str) -> float:
    """Return the frequency in Hz of a note such as A4."""
    step = {"C": -9, "D": -7, "E": -5, "F": -4, "G": -2, "A": 0, "B": 2}[note[0]]
    return 440.0 * 2 ** ((step + 12 * (int(note[1]) - 4)) / 12)


def play(track: list[float], start: float, note: str, loud: float, fade: float) -> None:
    """Add a plucked note to the track at start (seconds); fade is the time in which it loses two thirds."""
    turn = math.tau * pitch(note) / RATE
    first = int(start * RATE)
    for i in range(min(int(fade * 4.5 * RATE), len(track) - first)):
        swell = min(1.0, i / 90) * math.exp(-i / fade / RATE)
        ping = 0.16 * math.exp(-i / 0.06 / RATE) * math.sin(4 * turn * i)
        track[first + i] += loud * swell * (math.sin(turn * i) + 0.14 * math.sin(2 * turn * i) + ping)


def make_tune() -> bytes:
    """Return the tune as 16-bit mono samples, as long as the clip."""
    track = [0.0] * int(RATE * len(SCENES) * SHOT / FPS)
    for place, note in enumerate(" ".join(MELODY).split()):
        if note != ".":
            play(track, place * BEAT / 2, note, 0.5, 0.34)
    for bar, chord in enumerate(CHORDS):
        for voice, note in enumerate(chord.split()):
            play(track, bar * BEAT * 4 + voice * BEAT, note, 0.26, 0.7)
    echo = int(0.3 * RATE)
    for i in range(echo, len(track)):
        track[i] += 0.24 * track[i - echo]
    end = int(0.35 * RATE)
    for i in range(end):
        track[-1 - i] *= i / end
    peak = max(map(abs, track))
    return array.array("h", (int(28000 * value / peak) for value in track)).tobytes()


def draw_frames() -> Iterator[bytes]:
    """Yield every frame of the clip as RGB bytes."""
    for scene in SCENES:
        for frame in range(SHOT):
            yield scene(frame / FPS).tobytes()
        print(f"drawn: {scene.__name__}", flush=True)


def make_clip(target: Path) -> None:
    """Draw, play and encode the clip."""
    with tempfile.TemporaryDirectory() as scratch:
        sound = Path(scratch, "tune.s16")
        sound.write_bytes(make_tune())
        video = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{WIDTH // 2}x{HEIGHT // 2}",
            "-r",
            str(FPS),
            "-i",
            "-",
        ]
        audio = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(sound)]
        coding = [
            "-c:v",
            "libx264",
            "-preset",
            "veryslow",
            "-crf",
            "25",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-b:a",
            "64k",
        ]
        same = ["-threads", "1", "-flags", "+bitexact", "-fflags", "+bitexact", "-movflags", "+faststart"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *video, *audio, *coding, *same]
        command += ["-metadata", f"title={TITLE}", str(target)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None  # noqa: S101 - tells the type checker
            process.stdin.writelines(draw_frames())
            process.stdin.close()
            if process.wait():
                raise SystemExit("ffmpeg failed: its message is above")


def make_pictures(folder: Path) -> None:
    """Save one still of each scene, one more of two; a caption travels in the JPEG comment."""
    stills = (
        (lighthouse, 0.4),
        (fireflies, 0.3),
        (fireflies, 1.3),
        (train, 1.2),
        (wheel, 0.4),
        (wheel, 1.3),
        (fireworks, 1.3),
    )
    for number, (scene, time) in enumerate(stills, start=1):
        caption = json.dumps({"caption": scene.__name__.capitalize()}).encode()
        name = f"{number}-{scene.__name__}.jpg"
        scene(time).save(folder / name, quality=78, optimize=True, comment=caption)


def main() -> int:
    """Make all media in the folder given, by default media/ beside this script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "media")
    folder = parser.parse_args().output
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    make_clip(folder / "clip.mp4")
    make_pictures(folder / "pictures")
    for file in sorted(folder.rglob("*.*")):
        print(f"{file.stat().st_size:8d}  {file.relative_to(folder)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
