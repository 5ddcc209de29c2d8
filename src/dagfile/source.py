"""Where a DAG's components and media come from: repository, revision, input_media; nothing is looked at."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from src.dagfile.problems import Problems, is_placeholder, shown
from src.dagfile.values import Listing, Table, Value, describe, is_refused, plain_text

PROTOCOLS = ("https", "http", "ssh", "git", "file")
"""Of a repository's URL; git's others run programs (ext::) or read what is open (fd::)."""

_SCP_LIKE = r"(?a)(?:[A-Za-z0-9_][\w.+-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!-|//).+"
_HOST_WITHOUT_PROTOCOL = r"(?i)(?:[a-z0-9-]+\.)+(?:com|org|net|io|eu|dev|edu)/.+"
_REVISION = r"(?![-/.+])[\w./#@=,%!$&'()+{}-]+"
_REPOSITORY_HINT = "write https://host/path, ssh://host/path, git@host:path, or the path of a folder"


def read_repository(value: Value | None, folder: Path, problems: Problems) -> str | None:
    """Return a URL, git@host:path, or an absolute path (a relative one is relative to folder).

    The text may hold a password, so that no message shows it.
    """
    if value is None or is_refused(value):
        return None
    text = (plain_text(value) or "").strip()
    wrong, hint = _explain_repository(text), _REPOSITORY_HINT
    if plain_text(value) is None:
        wrong = f"is {describe(value)}, not text"
    elif is_placeholder(text):
        wrong = "is a placeholder that was left in"
    elif re.fullmatch(_HOST_WITHOUT_PROTOCOL, text):
        wrong, hint = "is a host without a protocol", "put https:// before it, or ./ where it is a folder"
    if wrong:
        problems.add(value.line, f"repository {wrong}", hint)
        return None
    if "://" in text or re.fullmatch(_SCP_LIKE, text):
        return text
    return str(folder / _expand(text))


def _explain_repository(text: str) -> str:
    """Return why text is no repository; empty when it is one."""
    scheme, found, _ = text.partition("://")
    if not text:
        return "is empty"
    if text.startswith("-"):
        return "begins with '-'"
    if not text.isprintable():
        return "has control characters"
    if re.match(r"[A-Za-z0-9+.-]+::", text) or (found and scheme.lower() not in PROTOCOLS):
        return f"has a protocol that is not one of {', '.join(PROTOCOLS)}"
    if not found:
        return _explain_host_of_scp(text)
    if re.search(r"\s", text):
        return "has blanks in its URL"
    return _explain_url(scheme.lower(), text)


def _explain_url(scheme: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        parts.port  # noqa: B018  # read for its ValueError
    except ValueError:
        return "has a host or port that is not valid"
    if scheme == "file":
        return "" if parts.path.strip("/") else "names no folder"
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        return "names no host"
    return "" if parts.path.strip("/") else "names no repository on its host"


def _explain_host_of_scp(text: str) -> str:
    """Return what is wrong with host:path; a text with a '/' before any ':' is a folder."""
    before, found, _ = text.partition(":")
    if found and "/" not in before and not re.fullmatch(_SCP_LIKE, text):
        return "has a host that is not valid"
    return ""


def read_revision(value: Value | None, *, repository: bool, problems: Problems) -> str | None:
    """Return a branch, tag or commit; numbers are taken as written (1.10, 0123456).

    repository: whether the file names one.
    """
    if value is None or is_refused(value):
        return None
    text = (plain_text(value) or "").strip()
    hint = "write a branch, a tag or a commit"
    if plain_text(value) is None:
        problems.add(value.line, f"revision is {describe(value)}, not text", hint)
    elif is_placeholder(text):
        problems.add(value.line, f"the placeholder {shown(text)} was left in", hint)
    elif not re.fullmatch(_REVISION, text) or ".." in text or "@{" in text or len(text) > 250:
        problems.add(value.line, f"revision {shown(text)} is not a branch, tag or commit", hint)
    elif not repository:
        problems.add(value.line, "there is a revision, but no repository", "write repository: URL, or remove revision")
    else:
        return text
    return None


def read_media(value: Value | None, folder: Path, problems: Problems) -> tuple[Path, ...]:
    """Return the media as absolute paths (relative ones are relative to folder); () when the file names none."""
    if value is None:
        return ()
    items = value.items if isinstance(value, Listing) else [value]
    return tuple(path for item in items if (path := _read_path(item, folder, problems)) is not None)


def _read_path(value: Value, folder: Path, problems: Problems) -> Path | None:
    if is_refused(value):
        return None
    text = plain_text(value)
    hint = "write the path of a file or folder"
    if text is None:
        what = "is a mapping" if isinstance(value, Table) else f"has an entry that is {describe(value)}"
        problems.add(value.line, f"input_media {what}, not a path", hint)
    elif not text.strip():
        problems.add(value.line, "input_media is empty", f"{hint}, or remove the key")
    elif is_placeholder(text):
        problems.add(value.line, f"the placeholder {shown(text)} was left in", hint)
    elif "://" in text:
        problems.add(value.line, "input_media is a URL, not a path", "download it, then write the path of the file")
    else:
        return folder / _expand(text)
    return None


def _expand(text: str) -> Path:
    """Return text as a path, `~` at its beginning made the home folder; as it is where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)
