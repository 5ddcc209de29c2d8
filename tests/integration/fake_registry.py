"""A registry that gives tokens, as Docker Hub, GHCR and GitLab do; it knows no image, and says who may do what."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Server(ThreadingHTTPServer):
    """Counts and answers; users: name -> (password, scopes beyond pull that tokens get)."""

    daemon_threads = True
    users: dict[str, tuple[str, bool]]
    asked: list[str]
    busy: int = 0  # answers of 503 to come

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(length).decode()) if length else {}
        url = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {url.path}")
        if self.server.busy:
            self.server.busy -= 1
            self.reply(503)
        elif url.path == "/token":
            self.give_token(parse_qs(url.query) | form)
        elif self.headers.get("Authorization") not in ("Bearer may-push", *self.enough()):
            self.ask_for_token(url.path)
        elif self.command == "POST":
            self.reply(202, Location=f"{url.path}1?state=x")
        else:
            self.reply(204 if self.command == "DELETE" else 404)

    def enough(self) -> list[str]:
        return [] if self.command == "POST" else ["Bearer may-pull"]

    do_GET = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

    def ask_for_token(self, path: str) -> None:
        challenge = f'Bearer realm="http://{self.server.host}/token",service="fake",scope="repository:{path}:pull"'
        self.reply(401, WWW_Authenticate=challenge)

    def give_token(self, asked: dict[str, list[str]]) -> None:
        may_push = False
        if "refresh_token" in asked:
            if asked["refresh_token"] != ["good"] or asked["grant_type"] != ["refresh_token"]:
                return self.reply(401)
            may_push = True
        elif header := self.headers.get("Authorization"):
            name, _, password = base64.b64decode(header.split()[1]).decode().partition(":")
            if self.server.users.get(name, ("", False))[0] != password:
                return self.reply(401)
            may_push = self.server.users[name][1]
        pushing = may_push and asked["scope"][0].endswith("push")
        return self.reply(200, json.dumps({"token": "may-push" if pushing else "may-pull"}).encode())


@contextlib.contextmanager
def fake_registry(**users: tuple[str, bool]) -> Iterator[Server]:
    """Give a registry; users: name -> (password, whether it may push)."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.users, server.asked = users, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
