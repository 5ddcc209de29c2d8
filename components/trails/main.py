"""Make one picture of a whole shot in which lights leave their trails: OUT.jpg."""

import argparse
import json
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg

SAME = ["-threads", "1", "-flags", "+bitexact", "-fflags", "+bitexact"]  # same input, same bytes
JPEG = ["-pix_fmt", "yuvj420p", "-sws_flags", "bitexact+accurate_rnd", "-q:v", "2", "-update", "1"]


def run_ffmpeg(arguments: list[str]) -> str:
    """Run ffmpeg and return its standard output, or end with its last words."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if result.returncode:
        words = "\n".join(result.stderr.strip().splitlines()[-3:])
        raise SystemExit(f"ffmpeg failed with status {result.returncode}:\n{words}")
    return result.stdout


def add_comment(picture: Path, facts: dict[str, Any]) -> None:
    """Put facts into a JPEG file as its comment: a segment right after the start marker."""
    data, comment = picture.read_bytes(), json.dumps(facts).encode()
    picture.write_bytes(data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:])


def main() -> int:
    """Keep the brightest of each place over the shot, the last picture is the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--decay", type=float, default=0.985, help="what is left of a light a frame later")
    given = parser.parse_args()
    picture = Path(f"{given.output}.jpg")
    said = run_ffmpeg(["-i", str(given.input), "-f", "ffmetadata", "-"])
    comment = re.search(r"^comment=(\{.*\})$", said, re.MULTILINE)
    facts = json.loads(re.sub(r"\\([=;#\\])", r"\1", comment[1])) if comment else {"title": given.input.stem}
    # ffmpeg writes every frame over the one before: what stays is the last.
    follow = f"format=gbrp,lagfun=decay={given.decay}"
    run_ffmpeg(["-i", str(given.input), "-map", "0:v:0", "-vf", follow, *JPEG, *SAME, str(picture)])
    add_comment(picture, {**facts, "kind": "trail"})
    print(f"{picture.name}: trails of {given.input.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
