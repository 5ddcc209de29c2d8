"""Take the sound out of a video: OUT.tar.gz with <name of the video>.wav, or nothing when it is silent."""

import argparse
import gzip
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

import imageio_ffmpeg

FORM = ["-map", "0:a:0?", "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le"]
# No decoding in the processor's own way: the last bit would differ from machine to machine.
SAME = ["-cpuflags", "0", "-flags", "+bitexact", "-fflags", "+bitexact", "-map_metadata", "-1"]


def pack(wave: Path, target: Path) -> None:
    """Write an archive of one file, without the time of day: the same sound is the same file."""
    member = tarfile.TarInfo(wave.name)
    member.size = wave.stat().st_size
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
        wave.open("rb") as samples,
    ):
        archive.addfile(member, samples)


def main() -> int:
    """Decode to 16 kHz, one channel, and pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        wave = Path(scratch, f"{given.input.stem}.wav")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-nostats", "-y"]
        command += ["-i", str(given.input), *FORM, *SAME, str(wave)]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        if result.returncode:
            streams = re.findall(r"Stream #.*?: (Audio|Video):", result.stderr)
            if streams and "Audio" not in streams:
                print(f"{given.input.name} is silent: nothing to write")
                return 0
            words = "\n".join(result.stderr.strip().splitlines()[-3:])
            raise SystemExit(f"ffmpeg failed with status {result.returncode}:\n{words}")
        pack(wave, Path(f"{given.output}.tar.gz"))
        print(f"{wave.name}: {wave.stat().st_size} bytes of sound")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
