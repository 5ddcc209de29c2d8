"""Take a few pictures from a shot, evenly spread: OUT-1.jpg, OUT-2.jpg, …"""

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


def run_ffmpeg(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run ffmpeg and return what it printed, or end with its last words."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-nostats", "-y", *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if result.returncode:
        words = "\n".join(result.stderr.strip().splitlines()[-3:])
        raise SystemExit(f"ffmpeg failed with status {result.returncode}:\n{words}")
    return result


def read_facts(video: Path) -> dict[str, Any]:
    """Return what the step before wrote into the video's comment, with start and end in seconds."""
    said = run_ffmpeg(["-i", str(video), "-f", "ffmetadata", "-"])
    comment = re.search(r"^comment=(\{.*\})$", said.stdout, re.MULTILINE)
    if comment:
        facts: dict[str, Any] = json.loads(re.sub(r"\\([=;#\\])", r"\1", comment[1]))
        return facts
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said.stderr)
    if not length:
        raise SystemExit(f"{video.name} has no duration: it is not a video")
    end = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3])
    return {"title": video.stem, "shot": 1, "start": 0.0, "end": end}


def add_comment(picture: Path, facts: dict[str, Any]) -> None:
    """Put facts into a JPEG file as its comment: a segment right after the start marker."""
    data, comment = picture.read_bytes(), json.dumps(facts).encode()
    picture.write_bytes(data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:])


def main() -> int:
    """Take the pictures in one go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--count", type=int, default=2, help="pictures a shot")
    given = parser.parse_args()
    facts = read_facts(given.input)
    length = facts["end"] - facts["start"]
    pictures = {
        Path(f"{given.output}-{place + 1}.jpg"): round(length * (place + 0.5) / given.count, 3)
        for place in range(given.count)
    }
    takes: list[str] = []
    for file, time in pictures.items():
        takes += ["-ss", f"{time:.3f}", "-frames:v", "1", *JPEG, *SAME, str(file)]
    run_ffmpeg(["-i", str(given.input), *takes])
    for file, time in pictures.items():
        if not file.is_file():
            raise SystemExit(f"{given.input.name} has no picture at {time} s")
        add_comment(file, {**facts, "kind": "frame", "at": round(facts["start"] + time, 3)})
        print(f"{file.name}: {facts['start'] + time:.2f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
