"""Cut a video into its shots: OUT_0.mp4, OUT_1.mp4, … each knows its place in the video."""

import argparse
import json
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg

SAME = ["-threads", "1", "-flags", "+bitexact", "-fflags", "+bitexact"]  # same input, same bytes
CODING = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "20", "-pix_fmt", "yuv420p"]
SIZE = "scale=trunc(min(960\\,iw)/2)*2:-2:flags=bitexact+accurate_rnd+bicubic"


def run_ffmpeg(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run ffmpeg and return what it printed, or end with its last words."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-nostats", "-y", *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if result.returncode:
        words = "\n".join(result.stderr.strip().splitlines()[-3:])
        raise SystemExit(f"ffmpeg failed with status {result.returncode}:\n{words}")
    return result


def find_cuts(video: Path, threshold: float, least: float, most: int) -> tuple[str, list[tuple[float, float]]]:
    """Return the video's title, and begin and end of each shot in seconds."""
    look = f"select='gt(scene,{threshold})',metadata=print:file=-"
    said = run_ffmpeg(["-i", str(video), "-map", "0:v:0", "-vf", look, "-f", "null", "-"])
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said.stderr)
    if not length:
        raise SystemExit(f"{video.name} has no duration: it is not a video")
    end = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3])
    found = re.findall(r"pts_time:([\d.]+)\s+lavfi\.scene_score=([\d.]+)", said.stdout)
    strongest = sorted(found, key=lambda cut: -float(cut[1]))[: most - 1]
    cuts = [0.0]
    for time in sorted(float(time) for time, _ in strongest):
        if time - cuts[-1] >= least and end - time >= least:
            cuts.append(time)
    title = re.search(r"^\s+title\s+: (.+)$", said.stderr, re.MULTILINE)
    shots = [(start, cuts[place + 1] if place + 1 < len(cuts) else end) for place, start in enumerate(cuts)]
    return (title[1].strip() if title else video.stem), shots


def main() -> int:
    """Find the cuts, then write a file a shot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--threshold", type=float, default=0.3, help="how much a picture must differ to be a cut")
    parser.add_argument("--least", type=float, default=0.5, help="seconds; shorter shots are part of the last")
    parser.add_argument("--most", type=int, default=24, help="number of shots")
    given = parser.parse_args()
    title, shots = find_cuts(given.input, given.threshold, given.least, given.most)
    for number, (start, end) in enumerate(shots):
        facts = {"title": title, "shot": number + 1, "start": round(start, 3), "end": round(end, 3)}
        part = ["-ss", f"{start:.6f}", "-t", f"{end - start:.6f}", "-i", str(given.input), "-map", "0:v:0"]
        plain = ["-map_metadata", "-1", "-map_chapters", "-1", "-metadata", f"comment={json.dumps(facts)}"]
        run_ffmpeg([*part, *plain, "-vf", SIZE, *CODING, *SAME, f"{given.output}_{number}.mp4"])
        print(f"shot {number + 1}: {start:.2f} s to {end:.2f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
