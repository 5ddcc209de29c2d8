"""Which files the media is, each with the name that it is stored under; checked before anything is written."""

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.errors import ConfigError, FetchError

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"


def find_media(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the media's files by the names they are stored under, sorted.

    paths: files or folders; the files of a folder are taken with those of its folders, hidden ones left out.
    Raises ConfigError when there is none or two have the same name, FetchError when one is missing, cannot be read or
    is the pointer of Git LFS.
    """
    if not paths:
        raise ConfigError("no media to run on", hint="name it in the file as `input_media:`, or give --media FILE")
    found: dict[str, Path] = {}
    for path in paths:
        try:
            for file in _list_files(path):
                name = plain_name(file, path)
                if name in found:
                    raise ConfigError(
                        f"two media files are called {name}: {found[name]} and {file}",
                        hint="rename one: components find the media by its name",
                    )
                _check_content(file)
                found[name] = file
        except OSError as error:
            raise FetchError(
                f"cannot read the media {error.filename or path}: {error.strerror}", hint="check its name and rights"
            ) from error
    return dict(sorted(found.items()))


def plain_name(file: Path, path: Path) -> str:
    """Return the name of a file found at or below path: its folders become part of it, blanks become `_`."""
    inner = "_".join(file.relative_to(path).parts) if file != path else path.name
    return re.sub(r"\s", "_", inner)


def _list_files(path: Path) -> Iterator[Path]:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise FetchError(f"no such media: {path}", hint="correct `input_media:`, or give --media FILE") from error
    if not stat.S_ISDIR(mode):
        yield _regular(path)
        return
    found = list(_walk(path))
    if not found:
        raise FetchError(f"the media folder {path} has no files", hint="put the media into it")
    yield from found


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield _regular(path)


def _regular(path: Path) -> Path:
    if not _is_text(path.name):
        raise FetchError(f"the name of the media {str(path)!a} is no text", hint="rename it")
    if not path.is_file():  # what a folder holds besides is told, not passed over: it may have been meant
        what = "a link to a folder" if path.is_dir() else "neither a file nor a folder"
        raise FetchError(f"the media {path} is {what}", hint="name a file or a folder in its place, or remove it")
    return path


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return all(char.isprintable() or char.isspace() for char in name)


def _check_content(file: Path) -> None:
    with file.open("rb") as reader:  # shows in time that it can be read
        if reader.read(len(LFS_POINTER)) == LFS_POINTER:
            raise FetchError(
                f"the media {file} is a Git LFS pointer, not the file", hint="run `git lfs pull` where it comes from"
            )
