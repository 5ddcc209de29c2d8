"""The pure parts of stage 2: addresses, causes, trees."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import FetchError
from src.repository.causes import Cause, describe, find_cause
from src.repository.config import make_config
from src.repository.errors import Outcome, explain, last_lines
from src.repository.revision import as_full_commit, ref_names
from src.repository.tree import (
    LINK,
    PLACES,
    Entry,
    LinkError,
    Tree,
    explain_unfit,
    find_folder,
    follow,
    list_components,
    parse_tree,
)
from src.repository.url import Repository, clean_url, parse_repository

BASE = Path("/home/me/dag")

ADDRESSES = {
    "https://host/a.git": ("https://host/a.git", None, None),
    "https://me:pa%2Fss@host:8443/a.git": ("https://host:8443/a.git", "me", "pa/ss"),
    "https://token@host/a": ("https://host/a", "token", None),
    "HTTP://me:p@[::1]:80/a": ("http://[::1]:80/a", "me", "p"),
    "https://me:p@ss@host/a": ("https://host/a", "me", "p@ss"),
    "  https://host/a.git\n": ("https://host/a.git", None, None),
    "ssh://git@host:22/a.git": ("ssh://git@host:22/a.git", None, None),
    "ssh://git:secret@host/a.git": ("ssh://git@host/a.git", "git", "secret"),
    "git+ssh://git@host/a.git": ("git+ssh://git@host/a.git", None, None),
    "git@host:group/a.git": ("git@host:group/a.git", None, None),
    "host:a": ("host:a", None, None),
    "git://host/a": ("git://host/a", None, None),
    "file:///srv/a%20b": ("file:///srv/a%20b", None, None),
    "/srv/a b": ("file:///srv/a%20b", None, None),
    "../up": ("file:///home/me/up", None, None),
    "./x:y": ("file:///home/me/dag/x%3Ay", None, None),
    "-upload-pack=x": ("file:///home/me/dag/-upload-pack%3Dx", None, None),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    url, username, password = ADDRESSES[text]
    repository = parse_repository(text, BASE)
    assert repository.url == url
    assert repository.password == password
    if repository.protocol in ("http", "https"):
        assert repository.username == username
    for secret in (password, username if repository.protocol in ("http", "https") else None):
        if secret and len(secret) > 2:
            assert secret not in repr(repository)
            assert secret not in clean_url(text)
            assert secret not in make_config(repository)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ext::sh -c id",
        "fd::17",
        "ftp://host/a",
        "rsync://h/a",
        "https://",
        "https://h:port/a",
        "https://h/a\nb",
        "a\0b",
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(FetchError) as caught:
        parse_repository(text, BASE)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_refused_address_keeps_its_secret() -> None:
    with pytest.raises(FetchError) as caught:
        parse_repository("ftp://me:topsecret@host/a", BASE)
    assert "topsecret" not in caught.value.message + caught.value.hint


def test_masks() -> None:
    repository = Repository(url="https://host/a", username="me", password="to/p secret")
    text = "fatal: https://me:to%2Fp%20secret@host/a: to/p secret; http://x:y@z/ ssh://git@host/ ssh://a:b@c"
    assert repository.mask(text) == "fatal: https://***@host/a: ***; http://***@z/ ssh://git@host/ ssh://a:***@c"
    assert Repository(url="https://h/", username="token1").mask("a token1 b") == "a *** b"
    assert Repository(url="ssh://git@h/", username="git", password="topsecret").mask("git topsecret") == "git ***"
    assert Repository(url="https://h/", username="reader", password="p").mask("a reader p") == "a reader p"


CAUSES = {
    Cause.REFUSED: [
        "remote: Invalid username or password.\nfatal: Authentication failed for 'https://host/x/'",
        "fatal: could not read Username for 'https://host': terminal prompts disabled",
        "git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.",
        "fatal: unable to access 'https://host/x/': The requested URL returned error: 403",
        "remote: HTTP Basic: Access denied",
    ],
    Cause.NOT_FOUND: [
        "remote: Repository not found.\nfatal: repository 'https://host/x/' not found",
        "fatal: '/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
        "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
    ],
    Cause.UNREACHABLE: [
        "fatal: unable to access 'https://host/': Could not resolve host: host",
        "fatal: unable to access 'http://h/': Failed to connect to h port 80 after 0 ms: Couldn't connect to server",
        "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.",
        "ssh: Could not resolve hostname h: Name or service not known",
        "fatal: unable to access 'https://h/': Operation too slow. Less than 1 bytes/sec",
        "fatal: unable to access 'https://h/': Received HTTP code 407 from proxy after CONNECT\nProxy CONNECT aborted",
        "fatal: unable to access 'https://h/': The requested URL returned error: 503",
        "fatal: unable to connect to h:\nh[0: 1.2.3.4]: errno=No route to host",
    ],
    Cause.TLS: [
        "fatal: unable to access 'https://h/': SSL certificate problem: unable to get local issuer certificate",
        "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none CRLfile: none",
    ],
    Cause.HOST_KEY: [
        "No RSA host key is known for h.\nHost key verification failed.\nfatal: Could not read from remote"
    ],
    Cause.DISK: [
        "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output",
        "error: unable to write file a/big",
    ],
    Cause.READ_ONLY: ["fatal: Unable to create '/x/shallow.lock': Permission denied"],
    Cause.OWNER: ["fatal: detected dubious ownership in repository at '/srv/x'"],
    Cause.NO_COMMIT: ["fatal: remote error: upload-pack: not our ref 1111"],
    Cause.PROTOCOL: ["fatal: transport 'ext' not allowed"],
    Cause.BROKEN: ["error: RPC failed; curl 56\nfatal: early EOF", "fatal: the remote end hung up unexpectedly"],
    Cause.OTHER: [
        "",
        "fatal: dumb http transport does not support shallow capabilities",
        "error: Server does not allow request for unadvertised object 11",
    ],
}


@pytest.mark.parametrize("cause", CAUSES)
def test_causes(cause: Cause) -> None:
    assert [find_cause(errors) for errors in CAUSES[cause]] == [cause] * len(CAUSES[cause])


def test_causes_of_git_lfs() -> None:
    assert find_cause("git: 'lfs' is not a git command. See 'git --help'.", lfs=True) is Cause.NO_LFS
    gone = "[3e5a8] Object does not exist on the server: [404] Object does not exist on the server"
    assert find_cause(gone, lfs=True) is Cause.LFS_OBJECT
    assert (
        find_cause("batch response: Authentication required: Authorization error: https://h", lfs=True) is Cause.REFUSED
    )
    assert find_cause("LFS: dial tcp 1.2.3.4:443: i/o timeout", lfs=True) is Cause.UNREACHABLE
    assert find_cause("write /x/incomplete/1: no space left on device", lfs=True) is Cause.DISK


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words(cause: Cause) -> None:
    message, hint = describe(cause, "https://host/{x}", "fetch")
    assert "https://host/{x}" in message
    assert hint
    assert "\n" not in message + hint


def test_errors_show_the_end_of_what_git_said() -> None:
    errors = "\n".join(f"line {n}" for n in range(20)) + "\nhint: advice\nA 10%\rA 100%\n\n"
    outcome = Outcome(command="fetch", status=1, output=b"", errors=errors)
    error = explain(outcome, Repository(url="https://host/a"))
    assert error.message == "git fetch failed for https://host/a"
    assert error.details == last_lines(errors) == (*(f"line {n}" for n in range(13, 20)), "A 100%")


def test_revisions() -> None:
    assert as_full_commit("A" * 40) == "a" * 40
    assert as_full_commit("a" * 64) == "a" * 64
    assert [as_full_commit(text) for text in (None, "", "a" * 39, "a" * 41, "g" * 40)] == [None] * 5
    assert ref_names(None) == ref_names("HEAD") == ("HEAD",)
    assert ref_names("v1") == ("refs/heads/v1", "refs/tags/v1")
    assert ref_names("refs/tags/v1") == ("refs/tags/v1",)


def make_tree(files: Mapping[str, str | None]) -> Tree:
    """Make a tree of files (None) and links (where they lead)."""
    entries: dict[str, Entry] = {}
    for path, target in files.items():
        for parent in Path(path).parents[:-1]:
            entries[str(parent)] = Entry(mode="040000", oid="")
        entries[path] = Entry(mode="100644" if target is None else LINK, oid=target or "")
    return Tree(entries=entries, read_link=lambda oid: oid)


def test_a_listing_is_parsed() -> None:
    listing = b"040000 tree 11\ta\x00100755 blob 22\ta/b c\n\xff\x00120000 blob 33\tl\0"
    assert parse_tree(listing) == {
        "a": Entry(mode="040000", oid="11"),
        "a/b c\n\udcff": Entry(mode="100755", oid="22"),
        "l": Entry(mode="120000", oid="33"),
    }
    assert parse_tree(b"") == {}


@pytest.mark.parametrize("place", PLACES)
def test_places(place: str) -> None:
    assert find_folder(make_tree({f"{place}a/main.py": None, "z/a/main.py": None}), "a") == f"{place}a"


def test_no_place() -> None:
    tree = make_tree({"z/a/main.py": None, "b": None, "link": "z", "self": "."})
    assert find_folder(tree, "a") is None
    assert find_folder(tree, "b") is None  # a file
    assert find_folder(tree, "self") is None  # all of the repository
    assert list_components(tree) == ["link", "self", "z/a"]


def test_links_to_components() -> None:
    tree = make_tree(
        {"z/y/main.py": None, "a": "l/y", "l": "z", "src/b": "../a", "c": "../c", "components": "/x", "d": "d"}
    )
    assert find_folder(tree, "a") == find_folder(tree, "b") == "z/y"
    for name in ("c", "d"):
        with pytest.raises(LinkError):
            find_folder(tree, name)


def test_unfit() -> None:
    good = {"a/main.py": None, "a/x": "s/../main.py", "a/s": "deep", "a/deep/y": "../..", "b/z": "/etc"}
    assert "a/deep/y" in explain_unfit(make_tree(good), "a")
    assert not explain_unfit(make_tree({**good, "a/deep/y": ".."}), "a")
    assert "a/.GIT/x" in explain_unfit(make_tree({**good, "a/deep/y": "..", "a/.GIT/x": None}), "a")


NAMES = st.sampled_from(["a", "b", "c"])
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4).map("/".join)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.one_of(st.none(), TARGETS), min_size=1, max_size=8
)


@settings(deadline=None)
@given(TREES, st.lists(NAMES, min_size=1, max_size=4).map("/".join))
def test_links_lead_where_the_system_says(files: dict[str, str | None], path: str) -> None:
    """follow agrees with the kernel on all that exists, and so lets nothing out of the folder."""
    kept: dict[str, str | None] = {}
    for name in sorted(files):
        if not any(str(parent) in kept for parent in Path(name).parents):
            kept[name] = files[name]
    with tempfile.TemporaryDirectory() as made:
        root = Path(os.path.realpath(made)) / "x/y/root"
        for name, target in kept.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if target is None:
                (root / name).touch()
            else:
                (root / name).symlink_to(target)
        try:
            real = (root / path).resolve(strict=True)
        except (OSError, RuntimeError):
            real = None
        try:
            end = follow(path, make_tree(kept).link_at)
        except LinkError:
            return  # it leaves, were it to come back, or runs in a circle: refused, whatever the kernel does
        if real:
            assert real == root / end
