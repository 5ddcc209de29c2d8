"""Serves the volume over HTTP inside the helper pod (`serve.py`), or leads stdin and stdout there (`serve.py tunnel`).

It is in the image of save-media, which the helper pod runs: standard library only, Python 3.8 or newer. Every request
has a token in X-Autopipe-Token, whose sha256 is in the environment; every answer has the header X-Autopipe, which
tells it from those of the API server that requests come through.

  GET  /file?path=P             a file's bytes; Range: bytes=A-B; If-Match: the ETag, "size-mtime_ns-inode"
  POST /give {paths}            several files: for each a line {path, size} and its bytes, or {path, errno, text}
  POST /take                    several files, for each a line {path, size, sha256} and its bytes; answers {entries}
  POST /piece?sha256=S&at=N     bytes N and on of the large file with that sum; `commit` publishes it
  POST /call/NAME {arguments}   lines of JSON, an empty one now and then as a sign of life, at the end {"done": true}

A file is seen only when it is complete.

Entries, and what there is to call, are in calls.py. What the disk refuses is an answer 409, or a line, {errno, text}.
"""

import contextlib
import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import parse_qsl, urlsplit

from calls import CALLS, CHUNK, Record, Refused, Volume, hex_sum, write_all

ALIVE = 5.0  # seconds between signs of life


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 600.0  # seconds without a byte, after which a connection counts as dead
    server: "Server"

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer({"/file": self._send_file})

    def do_POST(self) -> None:
        """Answer a POST."""
        path = urlsplit(self.path).path
        if path.startswith("/call/") and path[6:] in CALLS:
            self._answer({path: self._call})
        else:
            self._answer({"/give": self._give, "/take": self._take, "/piece": self._take_piece})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: nobody reads it."""

    def _answer(self, table: Dict[str, Callable[[Dict[str, str]], None]]) -> None:
        url = urlsplit(self.path)
        self.left = int(self.headers.get("Content-Length") or 0)  # bytes of the body that are not read yet
        self.begun = False  # the status has been sent
        try:
            token = self.headers.get("X-Autopipe-Token", "")
            if not hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self.server.token_sum):
                raise Refused("wrong token", errno.EACCES, 401)
            if url.path not in table:
                raise Refused("no such request", errno.EINVAL, 404)
            with self.server.at_work():
                table[url.path](dict(parse_qsl(url.query, keep_blank_values=True)))
        except (ConnectionError, socket.timeout):
            self.close_connection = True
        except Refused as refused:
            self._refuse(refused.document, refused.status)
        except OSError as error:
            self._refuse(_document(error), 409)
        except (KeyError, ValueError, TypeError) as error:
            self._refuse(_document(error), 400)

    def _refuse(self, document: Record, status: int) -> None:
        if self.begun:
            self.close_connection = True  # the answer is cut short, which the client sees
            return
        with contextlib.suppress(OSError):
            for _ in self._body():  # who sends must come to its end to read the answer
                pass
            self._send_json(document, status)

    def _body(self, size: Optional[int] = None) -> Iterator[memoryview]:
        """Give the next size bytes of the body, or all that is left."""
        end = 0 if size is None else self.left - size
        if end < 0:
            raise ValueError("the body is too short")
        buffer = memoryview(bytearray(min(CHUNK, self.left - end)))
        while self.left > end:
            count = self.rfile.readinto(buffer[: min(CHUNK, self.left - end)])
            if not count:
                raise ConnectionResetError
            self.left -= count
            yield buffer[:count]

    def _read_body(self) -> bytes:
        return b"".join(bytes(chunk) for chunk in self._body())

    def _begin(self, status: int, *headers: Tuple[str, object]) -> None:
        self.begun = True
        self.send_response(status)
        for name, value in (("X-Autopipe", 1), ("Content-Type", "application/octet-stream"), *headers):
            self.send_header(name, str(value))
        self.end_headers()

    def _send_json(self, document: Record, status: int = 200) -> None:
        data = json.dumps(document).encode()
        self._begin(status, ("Content-Length", len(data)))
        self.wfile.write(data)

    def _send_file(self, query: Dict[str, str]) -> None:
        with self.server.volume.open(query["path"]) as file:
            status = os.fstat(file.fileno())
            tag = f'"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"'
            if self.headers.get("If-Match", tag) != tag:
                raise Refused("it was changed", errno.ESTALE, 412)
            start, end = self._range(status.st_size)
            headers = [("ETag", tag), ("Content-Length", end - start)]
            if "Range" in self.headers:
                headers.append(("Content-Range", f"bytes {start}-{end - 1}/{status.st_size}"))
            self._begin(206 if "Range" in self.headers else 200, *headers)
            self._send_bytes(file, start, end)

    def _range(self, size: int) -> Tuple[int, int]:
        match = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", self.headers.get("Range", "bytes=0-"))
        start = int(match[1]) if match else size + 1
        if start > size or (start == size and "Range" in self.headers):
            raise Refused("no such range", errno.EINVAL, 416)
        return start, min(size, int(match[2]) + 1) if match and match[2] else size

    def _send_bytes(self, file: BinaryIO, start: int, end: int) -> None:
        while start < end:
            count = self.connection.sendfile(file, start, end - start)
            if not count:
                raise ConnectionAbortedError  # the file was cut
            start += count

    def _take(self, _query: Dict[str, str]) -> None:
        entries = []
        while self.left:
            line = self.rfile.readline(1 << 16)
            self.left -= len(line)
            entries.append(self._take_file(json.loads(line)))
        self._send_json({"entries": entries})

    def _take_file(self, head: Record) -> Record:
        volume, digest = self.server.volume, hashlib.sha256()
        made = volume.incoming(secrets.token_hex(8))
        try:
            with made.open("xb", buffering=0) as file:
                for chunk in self._body(head["size"]):
                    digest.update(chunk)
                    write_all(file.fileno(), chunk, None)
            if digest.hexdigest() != head["sha256"]:
                raise Refused(f"its sum is {digest.hexdigest()}", errno.EBADMSG)
            return dict(volume.publish(made, head["path"]), sha256=head["sha256"])
        except (ConnectionError, socket.timeout):
            raise
        except (OSError, Refused) as error:
            document = _document(error)
            raise Refused(document["text"], document["errno"], path=head["path"]) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                made.unlink()

    def _take_piece(self, query: Dict[str, str]) -> None:
        made, start = self.server.volume.incoming(hex_sum(query["sha256"])), int(query["at"])
        fd, at = os.open(str(made), os.O_WRONLY | os.O_CREAT, 0o666), start
        try:
            for chunk in self._body():
                write_all(fd, chunk, at)
                at += len(chunk)
        finally:
            os.close(fd)
        with made.with_name(made.name + ".have").open("a") as have:
            have.write(f"{start} {at}\n")
        self._send_json({"start": start, "end": at})

    def _give(self, _query: Dict[str, str]) -> None:
        paths = json.loads(self._read_body())["paths"]
        self._begin(200, ("Transfer-Encoding", "chunked"))
        for path in paths:
            try:
                file = self.server.volume.open(path)
            except (OSError, Refused) as error:
                self._send_chunk(json.dumps(dict(_document(error), path=path)).encode() + b"\n")
                continue
            with file:
                size = os.fstat(file.fileno()).st_size
                line = json.dumps({"path": path, "size": size}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s" % (len(line) + size, line))
                self._send_bytes(file, 0, size)
                self.wfile.write(b"\r\n")
        self._send_chunk(b"")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _call(self, _query: Dict[str, str]) -> None:
        arguments = json.loads(self._read_body() or b"{}")
        last = [time.monotonic()]

        def send(line: bytes) -> None:
            self._send_chunk(line)
            last[0] = time.monotonic()

        def alive() -> None:
            if time.monotonic() > last[0] + ALIVE:
                send(b"\n")

        self._begin(200, ("Transfer-Encoding", "chunked"))
        try:
            for line in CALLS[urlsplit(self.path).path[6:]](self.server.volume, arguments, alive):
                send(json.dumps(line).encode() + b"\n")
            send(b'{"done": true}\n')
        except (ConnectionError, socket.timeout):
            raise
        except (OSError, Refused, KeyError, ValueError, TypeError) as error:
            send(json.dumps(_document(error)).encode() + b"\n")
        self._send_chunk(b"")


def _document(error: Exception) -> Record:
    if isinstance(error, Refused):
        return error.document
    if isinstance(error, OSError):
        return {"errno": error.errno or 0, "text": error.strerror or str(error)}
    return {"errno": errno.EINVAL, "text": f"not understood: {error!r}"}


class Server(socketserver.ThreadingMixIn, HTTPServer):
    """Listens on a port for as long as somebody asks for something."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, volume: Volume, token_sum: str, port: int) -> None:
        self.volume = volume
        self.token_sum = token_sum
        self._working = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        if socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__(("", port), Handler)

    def server_bind(self) -> None:
        """Bind without asking for the host's name, as HTTPServer would: that may take seconds."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing for a client that went away; anything else is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, socket.timeout)):
            super().handle_error(request, client_address)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a request for as long as the block runs."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1
                self._last = time.monotonic()

    def idle(self) -> float:
        """Return for how many seconds nobody has asked for anything."""
        with self._lock:
            return 0.0 if self._working else time.monotonic() - self._last


def serve(server: Server, idle: float) -> None:
    """Serve until nobody has asked for anything for idle seconds: the client is dead, and the room is wanted."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pause = threading.Event()
    while server.idle() < idle:
        pause.wait(min(1.0, idle))  # a signal that comes in the moment when a wait begins is handled at its end


def tunnel(port: int) -> None:
    """Pass stdin on to the server and its answers to stdout, until one of the two ends."""
    link = socket.create_connection(("localhost", port))

    def send() -> None:
        with contextlib.suppress(OSError):
            for data in iter(lambda: os.read(0, CHUNK), b""):
                link.sendall(data)
            link.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    with contextlib.suppress(OSError):
        for data in iter(lambda: link.recv(CHUNK), b""):
            write_all(1, data, None)


def main(argv: List[str]) -> int:
    """Serve, or tunnel; settings are in the environment, for a command line is seen by all."""
    port = int(os.environ.get("AUTOPIPE_PORT", "8765"))
    if argv == ["tunnel"]:
        tunnel(port)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the first process of a pod has to ask for that
    os.umask(0)
    volume = Volume(Path(os.environ["AUTOPIPE_VOLUME"]), Path(os.environ.get("AUTOPIPE_MEDIA", "/media")))
    serve(Server(volume, os.environ["AUTOPIPE_TOKEN_SHA256"], port), float(os.environ.get("AUTOPIPE_IDLE", "3600")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
