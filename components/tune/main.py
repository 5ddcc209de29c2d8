"""Listen to a sound: how loud it is and which notes it plays, over time: OUT.json. Needs no package."""

import argparse
import array
import json
import math
import sys
import tarfile
import wave
from pathlib import Path

LOWEST, PITCHES = 130.8128, 36  # from the C below middle C, three octaves of semitones
STEP = 0.2  # seconds, one look for notes
MOST = 240  # looks, and levels, however long the sound is


def read_sound(file: Path) -> tuple["array.array[int]", int]:
    """Return the 16-bit samples of the first .wav in an archive, and their number a second."""
    with tarfile.open(file) as archive:
        packed = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(".wav")]
        data = archive.extractfile(packed[0]) if packed else None
        if not data:
            raise SystemExit(f"{file.name} holds no .wav")
        with wave.open(data) as sound:
            if sound.getnchannels() != 1 or sound.getsampwidth() != 2:
                raise SystemExit(f"{packed[0].name} must have one channel of 16 bits")
            samples = array.array("h", sound.readframes(sound.getnframes()))
            if sys.byteorder == "big":
                samples.byteswap()
            return samples, sound.getframerate()


def find_levels(samples: "array.array[int]") -> list[int]:
    """Return the loudness of MOST equal parts, 0 to 100 of the loudest."""
    ends = [len(samples) * part // MOST for part in range(MOST + 1)]
    parts = [samples[ends[part] : max(ends[part + 1], ends[part] + 1)] for part in range(MOST)]
    peaks = [max(max(part), -min(part)) if part else 0 for part in parts]
    return [round(100 * peak / max(max(peaks), 1)) for peak in peaks]


def weigh(samples: list[float], turn: float) -> float:
    """Return the strength of one frequency, turn radians a sample (Goertzel's algorithm)."""
    factor, last, before = 2 * math.cos(turn), 0.0, 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    return math.sqrt(abs(last * last + before * before - factor * last * before))


def find_notes(samples: "array.array[int]", rate: int) -> list[list[int]]:
    """Return for each look the strength of each pitch, 0 to 9 of the strongest."""
    looks = max(1, min(MOST, round(len(samples) / rate / STEP)))
    thin = max(1, rate // 4000)  # the highest pitch is below 1 kHz: 4000 samples a second are plenty
    long = int(STEP * rate)
    window = [0.5 - 0.5 * math.cos(math.tau * i * thin / long) for i in range(long // thin + 1)]
    turns = [math.tau * LOWEST * 2 ** (pitch / 12) * thin / rate for pitch in range(PITCHES)]
    table: list[list[float]] = []
    for look in range(looks):
        start = len(samples) * look // looks
        part = [sample * window[i] for i, sample in enumerate(samples[start : start + long : thin])]
        table.append([weigh(part, turn) for turn in turns])
    loudest = max(max(row) for row in table) or 1.0
    return [[round(9 * strength / loudest) for strength in row] for row in table]


def main() -> int:
    """Read, listen, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    given = parser.parse_args()
    try:
        samples, rate = read_sound(given.input)
    except (OSError, EOFError, tarfile.TarError, wave.Error) as error:
        raise SystemExit(f"{given.input} is no archive with a sound: {error}") from error
    heard = {
        "seconds": round(len(samples) / rate, 3),
        "levels": find_levels(samples),
        "notes": find_notes(samples, rate),
    }
    Path(f"{given.output}.json").write_text(json.dumps(heard) + "\n", encoding="utf-8")
    print(f"{given.input.name}: {heard['seconds']} s heard")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
