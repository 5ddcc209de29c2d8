"""Stage 1: which files the media is, and how each is copied into the store, once."""

import hashlib
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import media as media_module
from src import media_copy
from src.errors import ConfigError, FetchError
from src.media import save_media, saved_media, stage
from src.media_files import find_media
from src.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second have passed since the test wrote a file."""
    monkeypatch.setattr(media_module, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 1_000_000_000))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read into the store."""
    found: list[str] = []

    def count(path: Path, store: Store) -> str:
        found.append(path.name)
        return media_copy.copy_in(path, store)

    monkeypatch.setattr(media_module, "copy_in", count)
    return found


def write(path: Path, content: str = "media") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# --- Which files ---


def test_files_folders_and_names(tmp_path: Path) -> None:
    for name in ("b.mp4", "a one.mp4", "sub/c.mp4", "sub/deep er/d.mp4", ".hidden", "sub/.hidden/e.mp4"):
        write(tmp_path / "media" / name)
    single = write(tmp_path / "other dir" / "z.mp4")
    (tmp_path / "media" / "link.mp4").symlink_to(single)
    found = find_media([tmp_path / "media", single])
    assert list(found) == ["a_one.mp4", "b.mp4", "link.mp4", "sub_c.mp4", "sub_deep_er_d.mp4", "z.mp4"]
    assert found["z.mp4"] == single


@pytest.mark.parametrize("names", [("x/a", "y/a"), ("x/a b", "y/a_b"), ("x/s/a", "x/s_a")])
def test_two_of_one_name_are_refused_with_both(tmp_path: Path, names: tuple[str, str]) -> None:
    paths = [write(tmp_path / name) for name in names]
    folders = list(dict.fromkeys(tmp_path / name.partition("/")[0] for name in names))
    with pytest.raises(ConfigError) as caught:
        find_media(folders)
    assert all(str(path) in caught.value.message for path in paths)


def test_what_is_no_media(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path / "pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    for name in ("empty", "dangling", "circle", "fifo", "pointer", "absent", "pointer/below", "x" * 300):
        with pytest.raises(FetchError) as caught:
            find_media([tmp_path / name])
        assert name in caught.value.message
        assert caught.value.hint
    with pytest.raises(ConfigError):
        find_media([])


# --- Copies ---


def test_the_media_is_copied_once_for_its_content(store: Store, tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        write(tmp_path / "media" / name, "same" if name != "other" else "other")
    entries = save_media([tmp_path / "media"], store)
    assert [entry["name"] for entry in entries] == ["one", "other", "two"]
    sums = {hashlib.sha256(text).hexdigest() for text in (b"same", b"other")}
    assert {path.name for path in store.media.iterdir()} == sums
    assert {entry["sha256"] for entry in entries} == sums
    assert not (store.media / entries[0]["sha256"]).samefile(tmp_path / "media" / "one")


def test_media_is_laid_out_under_its_own_names(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "media" / "clip one.mp4")
    entries = save_media([tmp_path / "media"], store)
    (tmp_path / "volume").mkdir()
    (staged,) = stage(entries, store, tmp_path / "volume")
    path = tmp_path / "volume" / "clip_one.mp4"
    assert path.read_text() == "media"
    assert (staged["inode"], staged["mtime_ns"]) == (path.stat().st_ino, path.stat().st_mtime_ns)


@pytest.mark.usefixtures("later")
def test_a_file_that_did_not_change_is_not_read_again(store: Store, tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "clip.mp4")
    assert saved_media([path], store) is None
    first = save_media([path], store)
    assert save_media([path], store) == first == saved_media([path], store)
    assert reads == ["clip.mp4"]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("how", ["content", "size", "replaced", "touched", "old time"])
def test_a_file_that_may_have_changed_is_read_again(store: Store, tmp_path: Path, reads: list[str], how: str) -> None:
    path = write(tmp_path / "clip.mp4")
    save_media([path], store)
    status = path.stat()
    if how == "replaced":
        write(tmp_path / "new", "MEDIA").replace(path)
    elif how == "touched":
        os.utime(path)
    else:
        path.write_text("MEDIA" if how != "size" else "more media")
    if how in ("old time", "replaced"):
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))  # the time of its change still tells
    assert saved_media([path], store) is None
    (entry,) = save_media([path], store)
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert reads == ["clip.mp4"] * 2


def test_a_file_written_this_very_moment_is_not_trusted(store: Store, tmp_path: Path, reads: list[str]) -> None:
    path = write(tmp_path / "clip.mp4")
    save_media([path], store)
    status = path.stat()
    path.write_text("MEDIA")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    (entry,) = save_media([path], store)
    assert entry["sha256"] == hashlib.sha256(b"MEDIA").hexdigest()


def test_a_time_of_whole_seconds_is_trusted_two_seconds_later(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As file systems with a coarse clock have it.
    path = write(tmp_path / "clip.mp4")
    moment = (time.time_ns() // 1_000_000_000 + 5) * 1_000_000_000
    os.utime(path, ns=(moment, moment))
    for seconds, trusted in ((1.9, False), (2.1, True)):
        now = moment + int(seconds * 1e9)
        monkeypatch.setattr(media_module, "time", SimpleNamespace(time_ns=lambda now=now: now))
        save_media([path], store)
        assert (saved_media([path], store) is not None) is trusted


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("harm", ["edited", "gone", "index torn", "index gone"])
def test_a_copy_that_was_harmed_is_made_anew(store: Store, tmp_path: Path, harm: str) -> None:
    path = write(tmp_path / "clip.mp4")
    (entry,) = save_media([path], store)
    copy = store.media / entry["sha256"]
    if harm == "edited":
        copy.write_text("MEDIA")
    elif harm == "gone":
        copy.unlink()
    elif harm == "index torn":
        (store.folder / "media.json").write_text('{"x')
    else:
        (store.folder / "media.json").unlink()
    (again,) = save_media([path], store)
    assert (store.media / again["sha256"]).read_text() == "media"
    assert again["sha256"] == entry["sha256"]


def test_a_sparse_file_is_copied_with_its_holes_and_its_sum_is_right(store: Store, tmp_path: Path) -> None:
    size = 300 << 20
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(size)
        for place in (0, 100 << 20, size - 5):
            file.seek(place)
            file.write(b"bytes")
    started = time.process_time()
    (entry,) = save_media([path], store)
    assert time.process_time() - started < 10
    copy = store.media / entry["sha256"]
    assert (copy.stat().st_size, entry["size"]) == (size, size)
    assert copy.stat().st_blocks * 512 < 10 << 20
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    assert entry["sha256"] == digest.hexdigest()


@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_every_size_is_copied_whole(store: Store, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    (entry,) = save_media([path], store)
    assert (store.media / entry["sha256"]).read_bytes() == path.read_bytes()
    assert entry["size"] == size


def test_a_file_that_grows_while_it_is_read_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "clip.mp4")
    extents = media_copy._extents

    def grow(fd: int, size: int) -> object:
        path.write_text("a longer text")
        return extents(fd, size)

    monkeypatch.setattr(media_copy, "_extents", grow)
    with pytest.raises(FetchError, match="changed while it was read"):
        save_media([path], store)
    assert not store.media.exists() or list(store.media.iterdir()) == []
