"""Brings files from the volume here: several streams, large files in pieces, each file whole or not at all."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from src.errors import OutputError
from src.kube.arriving import Arriving, Wanted
from src.kube.cut import CutError
from src.kube.door import Door
from src.kube.helper import Helper
from src.kube.lines import RefusedError, raise_refused
from src.kube.streams import BUNDLE_BYTES, Streams, bundles_of, pieces_of
from src.step import Record


def download(
    helper: Helper, wanted: Sequence[Wanted], scratch: Path, notify: Callable[[int], None] = lambda _: None
) -> None:
    """Bring files, each compared with its sum and then renamed to its place.

    scratch: a folder on the targets' disk for files on their way; a large one that an earlier process left there
    is gone on with. notify: called by any thread with the number of bytes that have come. Raises OutputError when
    the disk is full or a file has another sum than it should, RefusedError, CutError, StoppedError.
    """
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        for folder in {one.target.parent for one in wanted}:
            folder.mkdir(parents=True, exist_ok=True)
        broken = _bring(helper, wanted, scratch, notify)
        if broken:  # a machine on the way may have erred; if the file itself is wrong, it will be so again
            broken = _bring(helper, broken, scratch, notify)
    except OSError as error:
        raise OutputError(
            f"cannot write what comes from the volume: {error.strerror}: {error.filename or scratch}",
            hint="free some space, then give the same command again: the outputs are kept on the volume",
        ) from error
    if broken:
        raise OutputError(
            f"{broken[0].path} did not come whole: its sum is not what the step wrote down",
            details=tuple(one.path for one in broken[1:20]),
            hint="was it changed on the volume? Give the same command again",
        )


def _bring(helper: Helper, wanted: Sequence[Wanted], scratch: Path, notify: Callable[[int], None]) -> list[Wanted]:
    """Bring files; return those whose sum is wrong."""
    small = [one for one in wanted if one.size <= BUNDLE_BYTES]
    large = [one for one in wanted if one.size > BUNDLE_BYTES]
    broken: list[Wanted] = []
    streams: Streams[Callable[[], None]] = Streams(lambda part: part())
    with ExitStack() as stack:

        def parts() -> Iterator[Callable[[], None]]:
            for one in large:
                arriving = stack.enter_context(Arriving(helper, one, scratch, streams.failed, notify, broken))
                for start, end in pieces_of(one.size, arriving.hashed):
                    yield lambda arriving=arriving, start=start, end=end: arriving.bring(start, end)  # type: ignore[misc]
            for bundle in bundles_of(small):
                yield lambda bundle=bundle: _bring_bundle(helper, bundle, scratch, notify, broken)  # type: ignore[misc]

        streams.run(parts())
    return broken


def _bring_bundle(
    helper: Helper, bundle: list[Wanted], scratch: Path, notify: Callable[[int], None], broken: list[Wanted]
) -> None:
    contents = helper.repeat(lambda door: fetch_files(door, [one.path for one in bundle]))
    for one in bundle:
        content = contents[one.path]
        if hashlib.sha256(content).hexdigest() == one.sha256:
            made = scratch / f"{one.sha256}-{threading.get_ident()}"
            made.write_bytes(content)
            made.replace(one.target)
        else:
            broken.append(one)
        notify(one.size)


def fetch_files(door: Door, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of small files; raises RefusedError for one that is missing, CutError."""
    reply = door.send("POST", "/give", body=json.dumps({"paths": list(paths)}).encode())
    try:
        raise_refused(reply)
        data = memoryview(reply.read_all())
    finally:
        reply.close()
    found: dict[str, bytes] = {}
    while data:
        line = bytes(data[: 1 << 16]).partition(b"\n")[0]
        head: Record = json.loads(line)
        data = data[len(line) + 1 :]
        if "errno" in head:
            raise RefusedError(head["text"], head["errno"], path=head["path"])
        found[head["path"]] = bytes(data[: head["size"]])
        data = data[head["size"] :]
    if len(found) != len(set(paths)):
        raise CutError("the helper pod's answer was cut short", hint="give the same command again")
    return found
