"""The sample's components, as far as they need no package: tune, and what the DAG files say of them."""

import array
import ast
import importlib.util
import io
import json
import math
import subprocess
import sys
import tarfile
import wave
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
SAMPLE = ("shots", "frames", "trails", "sharp", "card", "sound", "tune", "poster")


@pytest.fixture(scope="module")
def tune() -> ModuleType:
    """Return components/tune/main.py as a module."""
    spec = importlib.util.spec_from_file_location("tune_main", ROOT / "components/tune/main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_tone(frequency: float, seconds: float) -> "array.array[int]":
    """Return samples of one pure tone."""
    turn = math.tau * frequency / RATE
    return array.array("h", (round(20000 * math.sin(turn * i)) for i in range(int(seconds * RATE))))


def pack_sound(samples: "array.array[int]", target: Path, name: str = "clip.wav") -> None:
    """Write an archive as the component sound does."""
    data = io.BytesIO()
    with wave.open(data, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    member = tarfile.TarInfo(name)
    member.size = len(data.getvalue())
    with tarfile.open(target, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(data.getvalue()))


@pytest.mark.parametrize(("frequency", "pitch"), [(130.81, 0), (440.0, 21), (523.25, 24), (932.33, 34)])
def test_one_tone_is_one_note(tune: ModuleType, frequency: float, pitch: int) -> None:
    notes = tune.find_notes(make_tone(frequency, 1.0), RATE)
    assert len(notes) == 5
    assert all(len(row) == 36 and row[pitch] == max(row) for row in notes)
    assert max(max(row) for row in notes) == 9
    assert all(row[far] == 0 for row in notes for far in range(36) if abs(far - pitch) > 5)


def test_levels_follow_loudness(tune: ModuleType) -> None:
    loud, quiet = make_tone(440, 1.0), make_tone(440, 1.0)
    quiet = array.array("h", (sample // 4 for sample in quiet))
    levels = tune.find_levels(loud + quiet)
    assert len(levels) == 240
    assert set(levels[:120]) <= {99, 100}
    assert set(levels[121:]) <= {24, 25}


@pytest.mark.parametrize("samples", [array.array("h"), array.array("h", [0]), array.array("h", [0] * 9)])
def test_next_to_no_sound(tune: ModuleType, samples: "array.array[int]") -> None:
    assert tune.find_levels(samples) == [0] * 240
    assert tune.find_notes(samples, RATE) == [[0] * 36]


def run_tune(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "components/tune/main.py")]
    command += ["-i", str(folder / "sound.tar.gz"), "-o", str(folder / "tune")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_tune_writes_what_it_heard(tmp_path: Path) -> None:
    pack_sound(make_tone(440, 2.0), tmp_path / "sound.tar.gz")
    result = run_tune(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    heard = json.loads((tmp_path / "tune.json").read_text())
    assert heard["seconds"] == 2.0
    assert [row[21] for row in heard["notes"]] == [9] * 10


@pytest.mark.parametrize("kind", ["missing", "junk", "other member", "not a wave"])
def test_bad_input_is_an_error_and_writes_nothing(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "sound.tar.gz"
    if kind == "junk":
        archive.write_bytes(b"junk")
    elif kind == "other member":
        pack_sound(make_tone(440, 0.1), archive, name="clip.txt")
    elif kind == "not a wave":
        (tmp_path / "clip.wav").write_bytes(b"no sound at all")
        with tarfile.open(archive, "w:gz") as file:
            file.add(tmp_path / "clip.wav", "clip.wav")
    result = run_tune(tmp_path)
    assert result.returncode == 1
    assert "sound.tar.gz" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "tune.json").exists()


@pytest.mark.parametrize("name", ["application_dag.yaml", "examples/pictures.yaml"])
def test_dag_files_name_what_is_here(name: str) -> None:
    file = ROOT / name
    system = yaml.safe_load(file.read_text(encoding="utf-8"))["System"]
    assert (file.parent / system["input_media"]).exists()
    for component in system["components"]:
        assert (ROOT / "components" / component / "main.py").is_file()


def test_media_stays_small() -> None:
    files = [path for path in (ROOT / "examples").rglob("*") if path.suffix in {".mp4", ".jpg"}]
    assert len(files) >= 8
    assert sum(path.stat().st_size for path in files) < 500_000


@pytest.mark.parametrize("name", SAMPLE)
def test_syntax_is_that_of_python_39(name: str) -> None:
    files = sorted((ROOT / "components" / name).glob("*.py"))
    assert files
    for file in files:
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
