"""A relay before the API server that cuts connections when the test says so, and a kubeconfig that leads through it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Cutter:
    """Passes TCP connections on. budget: bytes from the server until all that are open are cut; None: never."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._ended: dict[socket.socket, int] = {}
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self.budget: int | None = None
        self.cuts_left = 0
        self.cuts = 0
        self.received = 0  # bytes from the server
        self.closed = False  # refuse all, as a server that is away does
        self._start(self._accept)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.closed:
                client.close()
                continue
            server = socket.create_connection(self._server)
            with self._lock:
                self._open |= {client, server}
            self._start(self._pass, client, server, False)
            self._start(self._pass, server, client, True)

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counted:
                    self._count(len(data))
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._ended[source] = self._ended.get(source, 0) + 1
            self._ended[target] = self._ended.get(target, 0) + 1
            for one in (source, target):
                if self._ended[one] == 2:  # both directions have seen the end
                    one.close()
                    del self._ended[one]

    def _count(self, size: int) -> None:
        with self._lock:
            self.received += size
            if self.budget is None or not self.cuts_left:
                return
            self.budget -= size
            if self.budget > 0:
                return
        self.cut()

    def cut(self, again_after: int = 20_000_000) -> None:
        """Cut all connections; the next time after so many bytes."""
        with self._lock:
            self.cuts += 1
            self.cuts_left -= 1
            self.budget = again_after
            victims, self._open = self._open, set()
        for one in victims:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)


@contextlib.contextmanager
def through_cutter(kubeconfig: Path, folder: Path) -> Iterator[tuple[Cutter, Path]]:
    """Give a relay before the server of a kubeconfig, and a kubeconfig that names the relay."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    place = urlsplit(cluster["server"])
    cutter = Cutter(place.hostname or "", place.port or 443)
    try:
        cluster["server"] = f"https://127.0.0.1:{cutter.port}"
        cluster["tls-server-name"] = place.hostname
        made = folder / "kubeconfig-cut"
        made.write_text(yaml.safe_dump(document))
        yield cutter, made
    finally:
        cutter.close()
