"""Why git or git-lfs failed, found in what it printed, and the words for it; pure.

Source: the messages of git 2.29 to 2.50 (transport.c, remote-curl.c, http.c, connect.c, setup.c), of curl, OpenSSL,
GnuTLS and OpenSSH, and of git-lfs 2 and 3.
"""

import re
from enum import Enum, auto


class Cause(Enum):
    """Why git failed."""

    NO_LFS = auto()
    LFS_OBJECT = auto()
    DISK = auto()
    READ_ONLY = auto()
    OWNER = auto()
    HOST_KEY = auto()
    TLS = auto()
    REFUSED = auto()
    PROTOCOL = auto()
    UNREACHABLE = auto()
    TIMEOUT = auto()
    NO_COMMIT = auto()
    NOT_FOUND = auto()
    BROKEN = auto()
    OTHER = auto()


FINAL = frozenset(Cause) - {Cause.OTHER, Cause.BROKEN}
"""Causes that another way of asking for the same objects cannot help."""

# What is more telling stands higher: the first that matches counts.
_FIRST: dict[Cause, tuple[str, ...]] = {
    Cause.NO_LFS: ("'lfs' is not a git command",),
    Cause.DISK: ("no space left on device|disk quota exceeded", "unable to write file"),
    Cause.READ_ONLY: (
        "read-only file system",
        "(unable to|cannot|could not|can't) (create|write|open|mkdir).*: Permission denied",
        "insufficient permission for adding",
    ),
}

_LFS_SIGNS: dict[Cause, tuple[str, ...]] = {
    Cause.LFS_OBJECT: (
        "object (does not exist|not found)|missing object",
        r"\[404\]|batch response: .*(404|not found)|HTTP: 404",
    ),
}

_SIGNS: dict[Cause, tuple[str, ...]] = {
    Cause.OWNER: ("dubious ownership", "unsafe repository"),
    Cause.HOST_KEY: ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"),
    Cause.TLS: (
        "SSL certificate",
        "certificate verif",
        "certificate (is|has|signed)",
        "self[- ]signed certificate",
        "gnutls_handshake",
        "SSL_ERROR|SSL routines",
        "(TLS|SSL) connect error",
        "x509:",
    ),
    Cause.REFUSED: (
        "Authentication failed|Authentication required|Authorization error",
        "could not read (Username|Password)|terminal prompts disabled",
        r"Permission denied \(",
        r"returned error: 40[13]|HTTP (Basic: )?40[13]|HTTP: 40[13]|\[40[13]\]",
        "access denied",
        "Invalid username or",
        "credentials for .* not found",
    ),
    Cause.PROTOCOL: ("transport '[^']*' not allowed", "protocol '[^']*' is not supported", "find remote helper"),
    Cause.UNREACHABLE: (
        "could not resolve|resolve host|unable to look up|no such host",
        "failed to connect|Couldn't connect|unable to connect",
        "Connection (refused|timed out|reset|closed)",
        "Network is unreachable|No route to host",
        "Operation (too slow|timed out)|i/o timeout",
        "Empty reply",
        r"returned error: (407|429|5\d\d)",
        "Proxy CONNECT",
        "dial tcp",
        "kex_exchange",
    ),
    Cause.NO_COMMIT: ("not our ref",),
    Cause.NOT_FOUND: (
        "not found|does not exist|returned error: 404",
        "does not appear to be a git repository|not a git repository",
    ),
    Cause.BROKEN: ("RPC failed|early EOF|hung up unexpectedly|unexpected disconnect|HTTP/2 stream|GnuTLS recv error",),
}

_CHECK = "check `repository:` in the DAG file"
_ROOM = "set CACHE_DIR and COMPONENTS_DIR to"

_WORDS: dict[Cause, tuple[str, str]] = {
    Cause.NO_LFS: (
        "git-lfs is not installed, and {url} needs it",
        "install git-lfs (Debian, Ubuntu: apt install git-lfs; macOS: brew install git-lfs)",
    ),
    Cause.LFS_OBJECT: (
        "the Git LFS server of {url} does not have all the files",
        "whoever committed them has to run: git lfs push --all origin",
    ),
    Cause.DISK: ("the disk is full: fetching {url}", f"make room, or {_ROOM} folders on a larger disk"),
    Cause.READ_ONLY: ("cannot write what is fetched from {url}", f"{_ROOM} folders that you may write"),
    Cause.OWNER: (
        "git refuses {url}: its folder belongs to another user",
        "if you trust it: git config --global --add safe.directory FOLDER",
    ),
    Cause.HOST_KEY: (
        "the host key of {url} is not known here, or is another one now",
        "connect once by hand with ssh, compare the key, and accept it",
    ),
    Cause.TLS: (
        "no safe connection to {url}: its certificate was not accepted",
        "if your own authority signed it: git config --global http.sslCAInfo /path/of/ca.pem",
    ),
    Cause.REFUSED: (
        "access to {url} was refused",
        "log in with a git credential helper, or an ssh key that needs no typing; may the account read the repository?",
    ),
    Cause.PROTOCOL: ("git may not speak the protocol of {url}", "use https, ssh, git or file"),
    Cause.UNREACHABLE: ("cannot reach {url}", f"see to the network and the proxy (https_proxy); {_CHECK}"),
    Cause.NO_COMMIT: (
        "{url} does not have the commit",
        "check `revision:` in the DAG file; was the commit pushed, or was its branch rewritten?",
    ),
    Cause.NOT_FOUND: (
        "there is no repository {url}",
        f"{_CHECK}; servers hide private repositories from those who are not logged in",
    ),
    Cause.BROKEN: ("the connection to {url} broke", "give the same command again"),
}


def find_cause(errors: str, *, lfs: bool = False) -> Cause:
    """Return the cause that the stderr of a command of git, or of git-lfs, tells of."""
    signs = {**_FIRST, **(_LFS_SIGNS if lfs else {}), **_SIGNS}
    return next((cause for cause in signs if re.search("|".join(signs[cause]), errors, re.IGNORECASE)), Cause.OTHER)


def describe(cause: Cause, url: str, command: str) -> tuple[str, str]:
    """Return the message and the hint for a cause."""
    message, hint = _WORDS.get(cause, (f"git {command} failed for {{url}}", "the lines above are git's own"))
    return message.replace("{url}", url), hint
