"""Prepares a volume for a run: folders, launcher, plan and media are there, and can be written, before any step."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from src import step as launcher
from src.errors import ConfigError, ImageError
from src.kube.helper import Helper
from src.kube.lines import RefusedError
from src.kube.upload import Sending, put_files, upload
from src.step import WORK, Record

log = logging.getLogger("autopipe")
MEDIA = ".autopipe/media"
PROBE = 1 << 16  # bytes
SPARE = 64 << 20  # bytes that a volume has to have beyond the media


def prepare(
    helper: Helper,
    document: Record,
    media: Mapping[str, Path] | None,
    notify: Callable[[int], None] = lambda _: None,
) -> None:
    """Make a volume ready for the run of a plan; one that is kept from an earlier run keeps what it has.

    document: plan.json, whose `media` are entries. media: where each is on this disk, by name; None: they are in
    the image of save-media. notify: called with the number of bytes of media that are there. Raises ConfigError
    when the volume is too small, RefusedError when it cannot be written, ImageError when the image lacks media.
    """
    steps = sorted({task["step"] for task in document["tasks"].values()})
    helper.call("folders", paths=[".autopipe/steps", ".autopipe/logs", MEDIA, WORK, *steps])
    free = _probe(helper)
    put_text(helper, ".autopipe/step.py", Path(launcher.__file__).read_bytes())
    put_text(helper, ".autopipe/plan.json", json.dumps(document).encode())
    missing = _missing_media(helper, document["media"], notify)
    wanted = sum(entry["size"] for entry in missing)
    if wanted + SPARE > free:
        raise ConfigError(
            f"the volume has {_mib(free)} MiB free, and the media alone takes {_mib(wanted)} MiB",
            hint="raise STORAGE_SIZE; a volume that is kept from earlier goes with `--clean`",
        )
    if media is None:
        _copy_media(helper, missing, notify)
    else:
        upload(helper, [_sending(entry, media[entry["name"]]) for entry in missing], notify)


def _probe(helper: Helper) -> int:
    """Write, read and remove a file; return the bytes that are free."""
    (room,) = helper.call("probe", size=PROBE)
    return int(room["free"])


def put_text(helper: Helper, path: str, data: bytes) -> None:
    """Write a small file of the volume; raises RefusedError, CutError."""
    put_files(helper, [(path, data, hashlib.sha256(data).hexdigest())])


def _missing_media(helper: Helper, entries: Sequence[Record], notify: Callable[[int], None]) -> list[Record]:
    """Return the media that is not on the volume; what is there of other media is removed."""
    there = {one["path"]: one["size"] for one in helper.call("list", paths=[MEDIA])}
    wanted = {f"{MEDIA}/{entry['name']}": entry for entry in entries}
    stale = [path for path in there if path not in wanted]
    if stale:
        helper.call("remove", paths=stale)
    alike = [path for path, entry in wanted.items() if there.get(path) == entry["size"]]
    sums = {one["path"]: one["sha256"] for one in helper.call("sums", paths=alike)} if alike else {}
    missing = []
    for path, entry in wanted.items():
        if sums.get(path) == entry["sha256"]:
            notify(entry["size"])
        else:
            missing.append(entry)
    return missing


def _copy_media(helper: Helper, entries: Sequence[Record], notify: Callable[[int], None]) -> None:
    for entry in entries:
        try:
            (copied,) = helper.call("copy", name=entry["name"], path=f"{MEDIA}/{entry['name']}")
        except RefusedError as error:
            raise ImageError(
                f"the image of save-media does not have the media {entry['name']}: {error.message}",
                hint="give --rebuild, or MEDIA_TRANSPORT=volume",
            ) from error
        if copied["sha256"] != entry["sha256"]:
            raise ImageError(f"the image of save-media has another {entry['name']}", hint="give --rebuild")
        notify(entry["size"])


def _sending(entry: Record, source: Path) -> Sending:
    path = f"{MEDIA}/{entry['name']}"
    return Sending(path=path, source=source, size=entry["size"], sha256=entry["sha256"])


def _mib(size: int) -> int:
    return size >> 20
