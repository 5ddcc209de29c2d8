"""What is asked of the helper pod's server with `call`, and what it refuses; see src/save-media/calls.py."""

import errno
import json
from collections.abc import Iterator, Mapping
from typing import Any

from src.errors import RunError
from src.kube.cut import CutError
from src.kube.door import SILENCE, Door, Reply
from src.step import Record

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class RefusedError(RunError):
    """The server could not do it; number is the errno of its disk, or of the mistake."""

    def __init__(self, text: str, number: int, *, path: str = "") -> None:
        where = f"{path}: " if path else ""
        if number in _FULL:
            message, hint = f"{where}the volume is full", "raise STORAGE_SIZE; a kept volume goes with `--clean`"
        elif number in _DENIED:
            message = f"{where}the volume cannot be used by user 1000: {text}"
            hint = "choose a STORAGE_CLASS whose volumes any user, or fsGroup, may write to"
        else:
            message, hint = f"{where}the volume says: {text}", "give the same command again"
        super().__init__(message, hint=hint)
        self.number = number
        self.path = path


def call(door: Door, name: str, arguments: Mapping[str, Any], *, silence: float = SILENCE) -> Iterator[Record]:
    """Give the lines that answer a call; raises RefusedError, CutError when they end too early."""
    body = json.dumps(dict(arguments)).encode()
    reply = door.send("POST", f"/call/{name}", body=body, silence=silence)
    try:
        raise_refused(reply)
        for line in _lines(reply):
            record: Record = json.loads(line)
            if "done" in record:
                reply.read_all()
                return
            if "errno" in record:
                raise RefusedError(record["text"], record["errno"])
            yield record
    finally:
        reply.close()
    raise CutError("the helper pod's answer was cut short", hint="give the same command again")


def raise_refused(reply: Reply, path: str = "") -> None:
    """Raise RefusedError for an answer that is no success, with what it says."""
    if reply.status >= 400:
        document = json.loads(reply.read_all() or b"{}")
        text, number = str(document.get("text", reply.status)), int(document.get("errno", 0))
        raise RefusedError(text, number, path=path or document.get("path", ""))


def _lines(reply: Reply) -> Iterator[bytes]:
    rest = b""
    while chunk := reply.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line)
