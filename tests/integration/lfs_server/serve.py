"""A Git and Git LFS server for tests, on 127.0.0.1: `git http-backend` and giftless behind one small front.

python serve.py ROOT [CERTIFICATE KEY]; the first line on stdout is the port, the server ends with its stdin. Addresses
are /<manner>/<organization>/<name>.git, for ROOT/<organization>/<name>.git; a manner is

  open     as a usual server
  closed   the same, for those who log in as USER and PASSWORD, or with TOKEN in the place of the name
  old      protocol version 0 only
  plain    files and nothing else: git's "dumb" protocol (also with an empty file `only-files` in the repository)
  broken   status 503 for everything
  silent   takes the request and never answers

Each request is a line of ROOT/requests.log: method, path, status, bytes sent.
"""

import base64
import contextlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import shift_path_info

TOKEN = "t0ken-of-somebody"
USER, PASSWORD = "reader", "s3cret/wörd@"

Environ = dict[str, Any]
Start = Callable[..., Any]
Body = Iterable[bytes]


class Server(ThreadingMixIn, WSGIServer):
    """Answers requests side by side."""

    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                request.unwrap()
        super().shutdown_request(request)


class Handler(WSGIRequestHandler):
    """Prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        pass


class Front:
    """Sends each request where its manner says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lfs = make_lfs(root)
        self.lock = threading.Lock()

    def __call__(self, environ: Environ, start: Start) -> Iterator[bytes]:
        path, seen = environ["PATH_INFO"], ["?"]

        def noting_start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            seen[0] = status.split()[0]
            return start(status, headers, *rest)

        count = 0
        for block in self.answer(environ, noting_start):
            count += len(block)
            yield block
        with self.lock, (self.root / "requests.log").open("a") as log:
            log.write(f"{environ['REQUEST_METHOD']} {path} {seen[0]} {count}\n")

    def answer(self, environ: Environ, start: Start) -> Body:
        manner = shift_path_info(environ)
        if manner == "silent":
            threading.Event().wait()
        if manner == "broken":
            return refuse(start, "503 Service Unavailable")
        if manner not in ("open", "closed", "old", "plain"):
            return refuse(start, "404 Not Found")
        inner = environ["PATH_INFO"]
        if manner == "closed" and not knows(environ):
            return refuse(start, "401 Unauthorized", ("WWW-Authenticate", 'Basic realm="tests"'))
        if "/info/lfs/" in inner:
            return self.lfs(environ, start)
        if manner == "plain" or (self.root / "org" / inner.split("/")[2] / "only-files").exists():
            return send_file(self.root / inner.lstrip("/"), start)
        return run_backend(self.root, environ, start, version=manner != "old")


def knows(environ: Environ) -> bool:
    """Whether the request has the right name and password, or the token."""
    proofs = [base64.b64encode(login.encode()).decode() for login in (f"{USER}:{PASSWORD}", f"{TOKEN}:")]
    return environ.get("HTTP_AUTHORIZATION") in [f"Basic {proof}" for proof in proofs]


def refuse(start: Start, status: str, *headers: tuple[str, str]) -> Body:
    start(status, [("Content-Type", "text/plain"), *headers])
    return [f"{status}\n".encode()]


def send_file(path: Path, start: Start) -> Body:
    if not path.is_file():
        return refuse(start, "404 Not Found")
    start("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(path.stat().st_size))])
    return [path.read_bytes()]


def run_backend(root: Path, environ: Environ, start: Start, *, version: bool) -> Body:
    """Run git's own CGI program for a request."""
    variables = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "REMOTE_USER": "tests",
        "REMOTE_ADDR": "127.0.0.1",
        "SCRIPT_NAME": environ["SCRIPT_NAME"],
    }
    for name in (
        "PATH_INFO",
        "QUERY_STRING",
        "REQUEST_METHOD",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "HTTP_CONTENT_ENCODING",
    ):
        variables[name] = environ.get(name, "")
    if version and "HTTP_GIT_PROTOCOL" in environ:
        variables["GIT_PROTOCOL"] = environ["HTTP_GIT_PROTOCOL"]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=False).stdout
    head, _, rest = answer.partition(b"\r\n\r\n")
    headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
    status = next((value for name, value in headers if name == "Status"), "200 OK")
    start(status, [(name, value) for name, value in headers if name != "Status"])
    return [rest]


def let_in(request: object) -> Any:
    """Tell giftless that a request may do everything; the front has looked at it already."""
    from giftless.auth.identity import Identity

    class Anybody(Identity):  # type: ignore[misc]  # giftless has no types
        def is_authorized(self, *question: object, **more: object) -> bool:
            return True

    return Anybody("anybody")


def make_lfs(root: Path) -> Callable[[Environ, Start], Body]:
    """Make the Git LFS application; its files are ROOT/.lfs/<organization>/<name>/<oid>."""
    import warnings

    from giftless.app import init_app

    warnings.simplefilter("ignore")
    storage = {
        "storage_class": "giftless.storage.local_storage:LocalStorage",
        "storage_options": {"path": str(root / ".lfs")},
    }
    adapter = {"factory": "giftless.transfer.basic_streaming:factory", "options": storage}
    settings = {
        "LEGACY_ENDPOINTS": False,
        "AUTH_PROVIDERS": [f"{__name__}:let_in"],
        "TRANSFER_ADAPTERS": {"basic": adapter},
        "PRE_AUTHORIZED_ACTION_PROVIDER": None,
    }
    application: Callable[[Environ, Start], Body] = init_app(additional_config=settings)
    return application


def main(root: Path, *certificate: str) -> None:
    server = make_server("127.0.0.1", 0, Front(root), server_class=Server, handler_class=Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.base_environ["wsgi.url_scheme"] = "https"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
