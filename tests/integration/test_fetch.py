"""Stage 2 over every kind of remote: what comes, how little travels, what stays."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from src.dag import Options
from src.errors import FetchError
from src.fetch import fetch_components, fetched_commit, fetched_folders
from src.repository.door import GitFolder
from src.repository.url import Repository
from src.settings import Settings
from tests.integration.git_hosts import MAIN, GitHost, Link, Program, Site, Upstream, contents, git
from tests.integration.lfs_server.serve import PASSWORD, TOKEN, USER

pytestmark = pytest.mark.usefixtures("clean_git")

Files = dict[str, bytes | Link]

A: Files = {
    "main.py": MAIN,
    "run.sh": Program(b"#!/bin/sh\n"),
    "sub/data.txt": b"\r\nx\0\xff",
    "sub/deep/link": Link("../data.txt"),
    "dangling": Link("nothing"),
    ".hidden": b"",
    "odd \u00e4 name\n.txt": b"1",
}
MODEL = os.urandom(50_000)
BALLAST = os.urandom(400_000)


def under(folder: str, files: Files) -> Files:
    return {f"{folder}/{name}": content for name, content in files.items()}


def fill(upstream: Upstream) -> str:
    """Commit component a at the root, and b, which has a model in Git LFS, in components/."""
    upstream.track("*.onnx")
    files = {**under("a", A), "components/b/main.py": MAIN, "components/b/m.onnx": Program(MODEL)}
    return upstream.commit({**files, "other/ballast.bin": BALLAST, "other/main.py": b"#"})


def never_git(site: Site) -> None:
    assert not [path for path in site.components.rglob("*") if path.name == ".git"]


REMOTES: dict[str, Callable[[GitHost, Upstream], str]] = {
    "http": lambda host, upstream: host.url(upstream),
    "old http": lambda host, upstream: host.url(upstream, "old"),
    "plain files": lambda host, upstream: host.url(upstream, "plain"),
    "login": lambda host, upstream: host.url(upstream, "closed", login=True),
    "file": lambda host, upstream: upstream.bare.as_uri(),
    "path": lambda host, upstream: str(upstream.bare),
    "relative": lambda host, upstream: os.path.relpath(upstream.bare, upstream.work.parent / "site/dag"),
}


@pytest.mark.parametrize("filters", ["true", "false"])
@pytest.mark.parametrize("remote", REMOTES)
@pytest.mark.parametrize("pinned", [True, False])
def test_all_remotes_give_the_same(
    remote: str, filters: str, pinned: bool, git_host: GitHost, upstream: Upstream, site: Site
) -> None:
    first = fill(upstream)
    if pinned:  # not at the tip of anything
        upstream.commit({"a/main.py": b"later", "components/b/main.py": b"later"})
    upstream.set("uploadpack.allowFilter", filters)
    url = REMOTES[remote](git_host, upstream)
    dag = site.dag(url, "a", "b", revision=first if pinned else None)
    folders = fetch_components(dag, site.settings)
    assert folders == {name: site.components / ".fetched" / first / name for name in ("a", "b")}
    assert contents(folders["a"]) == A
    assert contents(folders["b"]) == {"main.py": MAIN, "m.onnx": Program(MODEL)}
    assert isinstance(contents(folders["b"])["m.onnx"], Program)
    assert isinstance(contents(folders["a"])["run.sh"], Program)
    assert contents(site.components / "a") == A
    assert (site.components / "a").is_symlink()
    assert fetched_folders(dag, site.settings) == folders
    assert fetched_commit(dag, site.settings) == first
    never_git(site)


def test_only_what_is_wanted_travels(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    fill(upstream)
    git_host.requests()
    fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    requests = git_host.requests()
    assert sum(size for *_, size in requests) < 4000
    assert not [path for _, path, *_ in requests if "lfs" in path]
    assert len(requests) == 6  # two of each for: which commit, its trees, its files


def test_the_next_commit_is_a_few_round_trips(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    first = fill(upstream)
    url = git_host.url(upstream)
    fetch_components(site.dag(url, "a", "b"), site.settings)
    second = upstream.commit({"a/main.py": b"new"})
    git_host.requests()
    folders = fetch_components(site.dag(url, "a", "b"), site.settings)
    requests = git_host.requests()
    assert sum(size for *_, size in requests) < 1500
    assert len(requests) == 6
    assert contents(folders["a"]) == {**A, "main.py": b"new"}
    assert contents(folders["b"])["m.onnx"] == MODEL  # from the mirror: its server was not asked
    assert str((site.components / "a").readlink()) == f".fetched/{second}/a"
    assert contents(site.components / ".fetched" / first / "a") == A


def test_the_next_commit_from_a_server_without_filters(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    fill(upstream)
    upstream.set("uploadpack.allowFilter", "false")
    url = git_host.url(upstream)
    fetch_components(site.dag(url, "a"), site.settings)
    assert sum(size for *_, size in git_host.requests()) > len(BALLAST)
    upstream.commit({"a/main.py": b"new"})
    folders = fetch_components(site.dag(url, "a"), site.settings)
    assert contents(folders["a"])["main.py"] == b"new"
    assert sum(size for *_, size in git_host.requests()) < 2500


def test_nothing_new_costs_one_question(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    commit = fill(upstream)
    dag = site.dag(git_host.url(upstream), "a", "b")
    fetch_components(dag, site.settings)
    before = {path: path.lstat().st_ino for path in site.components.rglob("*")}
    git_host.requests()
    fetch_components(dag, site.settings)
    assert len(git_host.requests()) == 2
    assert {path: path.lstat().st_ino for path in site.components.rglob("*")} == before
    fetch_components(site.dag(git_host.url(upstream), "a", "b", revision=commit), site.settings)
    assert git_host.requests() == []


def test_a_whole_id_that_is_here_needs_no_network(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    commit = fill(upstream)
    here = site.dag(git_host.url(upstream), "a", revision=commit.upper())
    fetch_components(here, site.settings)
    upstream.bare.rename(upstream.bare.with_name("gone.git"))
    assert contents(fetch_components(here, site.settings)["a"]) == A
    with pytest.raises(FetchError):
        fetch_components(site.dag(git_host.url(upstream), "b", revision=commit), site.settings)


def test_another_component_of_the_same_commit_asks_for_its_files_only(
    git_host: GitHost, upstream: Upstream, site: Site
) -> None:
    commit = fill(upstream)
    fetch_components(site.dag(git_host.url(upstream), "a", revision=commit), site.settings)
    git_host.requests()
    fetch_components(site.dag(git_host.url(upstream), "a", "b", revision=commit), site.settings)
    assert len([path for _, path, *_ in git_host.requests() if "lfs" not in path]) == 2


def test_git_lfs_files_are_fetched_once(git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    fill(upstream)
    git_host.requests()
    fetch_components(site.dag(git_host.url(upstream), "b"), site.settings)
    assert len([1 for _, path, *_ in git_host.requests() if "storage" in path]) == 1
    other = Site(folder=tmp_path / "other")
    other.folder.mkdir()
    folders = fetch_components(other.dag(git_host.url(upstream), "b"), site.settings)
    assert (folders["b"] / "m.onnx").read_bytes() == MODEL
    assert not [1 for _, path, *_ in git_host.requests() if "lfs" in path]


def test_lfs_files_left_out_by_configuration_come_all_the_same(
    git_host: GitHost, upstream: Upstream, site: Site, clean_git: Path
) -> None:
    upstream.track("*.onnx")
    upstream.commit({"a/main.py": MAIN, "a/deep/m.onnx": MODEL, ".lfsconfig": b"[lfs]\n\tfetchexclude = *\n"})
    with clean_git.open("a") as config:
        config.write("[lfs]\n\tfetchinclude = nothing\n")
    folders = fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    assert (folders["a"] / "deep/m.onnx").read_bytes() == MODEL


def test_lfs_address_of_the_repository_is_used(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    config = f"[lfs]\n\turl = {upstream.lfs_url}/info/lfs\n".encode()
    upstream.track("*.onnx")
    upstream.commit({"a/main.py": MAIN, "a/m.onnx": MODEL, ".lfsconfig": config})
    copy = git_host.create(upstream.work.parent / "copy")
    git(upstream.work, "push", "--quiet", "--no-verify", str(copy.bare), "main")
    folders = fetch_components(site.dag(git_host.url(copy), "a"), site.settings)
    assert (folders["a"] / "m.onnx").read_bytes() == MODEL


@pytest.mark.parametrize("manner", ["open", "old", "plain"])
@pytest.mark.parametrize("kind", ["branch", "tag", "annotated tag", "whole name", "short", "HEAD", "default"])
def test_revisions(kind: str, manner: str, git_host: GitHost, upstream: Upstream, site: Site) -> None:
    old = upstream.commit({"a/main.py": b"old"})
    git(upstream.work, "branch", "release/1.0")
    git(upstream.work, "tag", "light")
    git(upstream.work, "tag", "-a", "-m", "x", "heavy")
    new = upstream.commit({"a/main.py": b"new"})
    git(upstream.work, "switch", "-q", "-c", "dev")
    git(upstream.bare, "symbolic-ref", "HEAD", "refs/heads/main")
    upstream.commit({"a/main.py": b"dev"})
    revision, commit = {
        "branch": ("release/1.0", old),
        "tag": ("light", old),
        "annotated tag": ("heavy", old),
        "whole name": ("refs/tags/heavy", old),
        "short": (old[:7].upper(), old),
        "HEAD": ("HEAD", new),
        "default": (None, new),
    }[kind]
    dag = site.dag(git_host.url(upstream, manner), "a", revision=revision)
    folders = fetch_components(dag, site.settings)
    assert folders["a"].parent.name == commit == fetched_commit(dag, site.settings)
    assert (folders["a"] / "main.py").read_bytes() == (b"old" if commit == old else b"new")
    assert fetch_components(dag, site.settings) == folders


def test_a_branch_goes_before_a_tag_of_its_name(
    git_host: GitHost, upstream: Upstream, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.commit({"a/main.py": b"tag"})
    git(upstream.work, "tag", "deadbeef")
    git(upstream.work, "switch", "-q", "-c", "deadbeef")
    branch = upstream.commit({"a/main.py": b"branch"})
    folders = fetch_components(site.dag(git_host.url(upstream), "a", revision="deadbeef"), site.settings)
    assert folders["a"].parent.name == branch
    assert "refs/tags/deadbeef" in caplog.text


def test_a_short_id_does_not_spoil_what_follows(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    old = fill(upstream)
    upstream.commit({"a/main.py": b"new"})
    git_host.requests()
    folders = fetch_components(site.dag(git_host.url(upstream), "a", "b", revision=old[:8]), site.settings)
    assert contents(folders["a"]) == A
    assert sum(size for *_, size in git_host.requests()) < len(MODEL) + 5000
    folders = fetch_components(site.dag(git_host.url(upstream), "a", "b"), site.settings)
    assert contents(folders["a"])["main.py"] == b"new"
    git_host.requests()
    fetch_components(site.dag(git_host.url(upstream), "a", "b", revision=old[:9]), site.settings)
    assert len(git_host.requests()) == 2  # is it a branch? no, and the commit is known


def test_sha256_repositories(git_host: GitHost, clean_git: Path, tmp_path: Path, site: Site) -> None:
    upstream = git_host.create(tmp_path / "up256", object_format="sha256")
    commit = upstream.commit(under("a", A))
    folders = fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    assert folders["a"].parent.name == commit
    assert contents(folders["a"]) == A
    upstream.commit({"a/main.py": b"new"})
    assert contents(fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)["a"])["main.py"] == b"new"


@pytest.mark.parametrize("place", ["", "components/", "component/", "src/"])
def test_layouts(place: str, git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({f"{place}a/main.py": MAIN, "readme": b"", "pkg/a/main.py": b"wrong"})
    assert contents(fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)["a"]) == {"main.py": MAIN}


def test_a_folder_with_a_program_goes_before_one_without(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/readme": b"", "src/a/main.py": MAIN})
    assert contents(fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)["a"]) == {"main.py": MAIN}


def test_components_that_are_links(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    real: Files = under("pkg/deep/real", {"main.py": MAIN, "to": Link("main.py"), "inner/main.py": b"inner"})
    links: Files = {
        "one": Link("pkg/deep/real"),
        "src/two": Link("../x/real"),
        "x": Link("pkg/deep"),
        "in": Link("one/inner"),
    }
    upstream.commit({**real, **links})
    folders = fetch_components(site.dag(git_host.url(upstream), "one", "two", "in"), site.settings)
    expected = {"main.py": MAIN, "to": Link("main.py"), "inner/main.py": b"inner"}
    assert contents(folders["one"]) == contents(folders["two"]) == expected
    assert contents(folders["in"]) == {"main.py": b"inner"}
    assert not any(folder.is_symlink() for folder in folders.values())


def test_a_dockerfile_or_a_command_will_do(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/Dockerfile": b"FROM scratch\n", "b/run.py": MAIN})
    dag = site.dag(git_host.url(upstream), "a", "b", b=Options(command=("python", "run.py")))
    assert contents(fetch_components(dag, site.settings)["b"]) == {"run.py": MAIN}


def test_files_do_not_depend_on_who_fetches(
    git_host: GitHost, upstream: Upstream, site: Site, clean_git: Path, tmp_path: Path
) -> None:
    attributes = tmp_path / "attributes"
    attributes.write_text("* ident\n")
    with clean_git.open("a") as config:
        config.write(f"[core]\n\tautocrlf = true\n\tattributesFile = {attributes}\n\tsymlinks = false\n")
    git(upstream.work, "config", "core.autocrlf", "false")
    files: Files = {"main.py": b"# $Id$\nx\n", "link": Link("main.py")}
    above = {".gitattributes": b"*.txt text eol=crlf\n", "a/note.txt": b"x\n"}
    upstream.commit({**under("a", files), **above, "a/win.bat": b"x\n", "a/.gitattributes": b"*.bat text eol=crlf\n"})
    old = os.umask(0o077)
    try:
        folder = fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)["a"]
    finally:
        os.umask(old)
    assert contents(folder) == {
        **files,
        "win.bat": b"x\r\n",
        "note.txt": b"x\r\n",
        ".gitattributes": b"*.bat text eol=crlf\n",
    }
    assert (folder / "main.py").stat().st_mode & 0o777 == 0o444
    assert folder.stat().st_mode & 0o777 == 0o755


def test_no_code_runs_while_fetching(
    git_host: GitHost, upstream: Upstream, site: Site, clean_git: Path, tmp_path: Path
) -> None:
    hooks, ran = tmp_path / "hooks", tmp_path / "ran"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (hooks / name).chmod(0o755)
    git(upstream.work, "config", "core.hooksPath", "/dev/null")
    attributes = b"* filter=evil diff=evil merge=evil\n"
    upstream.commit(
        {
            "a/main.py": MAIN,
            ".gitattributes": attributes,
            ".lfsconfig": f"[lfs]\n[core]\n\tfsmonitor = touch {ran}\n".encode(),
        }
    )
    with clean_git.open("a") as config:
        config.write(f"[core]\n\thooksPath = {hooks}\n")
    git(tmp_path, "init", "-q", "proof")  # the hooks are such that they run
    git(tmp_path / "proof", "commit", "-q", "--allow-empty", "-m", "x")
    assert ran.exists()
    ran.unlink()
    fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    assert not ran.exists()


SSH = """#!/bin/sh
printf '%s\\n' "$*" >>"$0.log"
for last; do :; done
case $last in
  git-lfs-authenticate*) printf '{"href": "%s"}' "LFS_URL" ;;
  git-lfs-transfer*) exit 1 ;;
  *) exec sh -c "$last" ;;
esac
"""


def test_ssh_never_asks(
    git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(upstream)
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.replace("LFS_URL", f"{upstream.lfs_url}/info/lfs"))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    folders = fetch_components(site.dag(f"somebody@example.invalid:{upstream.bare}", "a", "b"), site.settings)
    assert contents(folders["a"]) == A
    assert (folders["b"] / "m.onnx").read_bytes() == MODEL
    calls = (tmp_path / "bin/ssh.log").read_text().splitlines()
    assert all("BatchMode=yes" in call and "somebody@example.invalid" in call for call in calls)
    assert any("upload-pack" in call for call in calls)


@pytest.mark.parametrize("by", ["variable", "configuration"])
def test_the_users_ssh_command_stays(
    by: str, upstream: Upstream, site: Site, tmp_path: Path, clean_git: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.commit({"a/main.py": MAIN})
    ssh = tmp_path / "own-ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    if by == "variable":
        monkeypatch.setenv("GIT_SSH_COMMAND", f"{ssh} -i mine")
    else:
        with clean_git.open("a") as config:
            config.write(f"[core]\n\tsshCommand = {ssh} -i mine\n")
    fetch_components(site.dag(f"ssh://me@example.invalid{upstream.bare}", "a"), site.settings)
    calls = (tmp_path / "own-ssh.log").read_text().splitlines()
    assert all("-i mine" in call and "BatchMode" not in call for call in calls)


def test_credentials_stay_out_of_everything(
    git_host: GitHost,
    upstream: Upstream,
    site: Site,
    clean_git: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(upstream)
    saved = tmp_path / "saved"
    trace = tmp_path / "trace"
    with clean_git.open("a") as config:
        config.write(f"[credential]\n\thelper = store --file={saved}\n")
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))  # all commands that git runs, as a process list shows them
    caplog.set_level("DEBUG")
    dag = site.dag(git_host.url(upstream, "closed", login=True), "a", "b")
    fetch_components(dag, site.settings)
    with pytest.raises(FetchError) as caught:
        fetch_components(site.dag(dag.repository, "a", "nope"), site.settings)
    everything = [caplog.text, str(vars(caught.value)), trace.read_text()]
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.stat().st_size < 20_000]
    everything += [path.read_bytes().decode("latin-1") for path in files]
    assert "credential" in everything[2]
    for text in everything:
        assert not [form for form in (PASSWORD, quote(PASSWORD, safe=""), f"{USER}:") if form in text]
    assert not saved.exists()
    marker = json.loads(next((site.components / ".fetched").glob("*.json")).read_text())
    assert marker["repository"] == git_host.url(upstream, "closed")


def test_a_name_alone_lets_the_users_helper_give_the_password(
    git_host: GitHost, upstream: Upstream, site: Site, clean_git: Path
) -> None:
    fill(upstream)
    with clean_git.open("a") as config:
        answer = f"echo username={USER}; echo 'password={PASSWORD}'"
        config.write(f'[credential]\n\thelper = "!f() {{ {answer}; }}; f"\n')
    url = git_host.url(upstream, "closed").replace("://", f"://{USER}@")
    assert contents(fetch_components(site.dag(url, "a"), site.settings)["a"]) == A


def test_a_token_in_the_place_of_the_name(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    fill(upstream)
    url = git_host.url(upstream, "closed").replace("://", f"://{TOKEN}@")
    folders = fetch_components(site.dag(url, "a", "b"), site.settings)
    assert contents(folders["b"])["m.onnx"] == MODEL
    assert not [path for path in site.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_the_users_askpass_stays(
    git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(upstream)
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\ncase $1 in Username*) echo '{USER}' ;; *) echo '{PASSWORD}' ;; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(program))
    assert contents(fetch_components(site.dag(git_host.url(upstream, "closed"), "a"), site.settings)["a"]) == A


def test_inside_a_hook_of_git(
    git_host: GitHost, upstream: Upstream, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(upstream)
    around = upstream.work
    for name, value in {
        "GIT_DIR": ".git",
        "GIT_WORK_TREE": ".",
        "GIT_INDEX_FILE": ".git/index",
        "GIT_PREFIX": "x/",
    }.items():
        monkeypatch.setenv(name, str(around / value))
    before = (around / ".git/index").read_bytes()
    folders = fetch_components(site.dag(git_host.url(upstream), "a", "b"), site.settings)
    assert contents(folders["a"]) == A
    assert (around / ".git/index").read_bytes() == before


def test_a_server_that_became_plain(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    # The mirror has no files of b; git itself would ask for them object by object, each time by a process within
    # the last one.
    commit = fill(upstream)
    url = git_host.url(upstream)
    fetch_components(site.dag(url, "a"), site.settings)
    (upstream.bare / "only-files").touch()
    git_host.requests()
    assert contents(fetch_components(site.dag(url, "b", revision=commit), site.settings)["b"])["main.py"] == MAIN
    assert len(git_host.requests()) < 60


def test_a_damaged_mirror_heals(git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    fill(upstream)
    fetch_components(site.dag(git_host.url(upstream), "a", "b"), site.settings)
    packs = list(site.settings.cache_dir.rglob("*.pack"))
    assert packs
    for pack in packs:
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:-30] + b"x" * 30)
    other = Site(folder=tmp_path / "other")
    other.folder.mkdir()
    folders = fetch_components(other.dag(git_host.url(upstream), "a", "b"), site.settings)
    assert contents(folders["a"]) == A


def test_a_damaged_file_of_git_lfs_heals(git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    fill(upstream)
    fetch_components(site.dag(git_host.url(upstream), "b"), site.settings)
    kept = next(path for path in site.settings.cache_dir.glob("mirrors/*/lfs/objects/*/*/*"))
    kept.chmod(0o644)
    kept.write_bytes(b"x" * len(MODEL))  # of the right size
    other = Site(folder=tmp_path / "other")
    other.folder.mkdir()
    (other.folder / "cache").symlink_to(site.settings.cache_dir)
    folders = fetch_components(other.dag(git_host.url(upstream), "b"), other.settings)
    assert (folders["b"] / "m.onnx").read_bytes() == MODEL
    assert kept.read_bytes() == MODEL


def test_what_git_says_is_masked(tmp_path: Path) -> None:
    folder = GitFolder(folder=tmp_path, repository=Repository(url="http://h/", username="me", password="topsecret"))
    outcome = folder.attempt("http://me:topsecret@h/")
    assert "'http://***@h/' is not a git command" in outcome.errors


def test_folders_are_real_paths(git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    upstream.commit({"a/main.py": MAIN})
    real = tmp_path / "real"
    (real / "mine").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (real / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(real)
    settings = Settings(cache_dir=site.settings.cache_dir, components_dir=tmp_path / "link")
    folders = fetch_components(site.dag(git_host.url(upstream), "a", "mine", "linked"), settings)
    assert folders["a"] == folders["a"].resolve()
    assert folders["mine"] == real / "mine"
    assert folders["linked"] == tmp_path / "elsewhere"


def test_stages_that_run_alone_find_what_was_fetched(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    fill(upstream)
    dag = site.dag(git_host.url(upstream), "a")
    assert fetched_folders(dag, site.settings) is None
    assert fetched_commit(dag, site.settings) is None
    folders = fetch_components(dag, site.settings)
    new = upstream.commit({"a/main.py": b"new"})
    git_host.requests()
    assert fetched_folders(dag, site.settings) == folders
    assert fetched_folders(site.dag(git_host.url(upstream), "a", "b"), site.settings) is None
    assert fetched_folders(site.dag(git_host.url(upstream), "a", revision="main"), site.settings) is None
    assert fetched_folders(site.dag(git_host.url(upstream), "a", revision=new), site.settings) is None
    assert git_host.requests() == []
    marker = next((site.components / ".fetched").glob("*.json"))
    marker.write_text("{")
    assert fetched_folders(dag, site.settings) is None


def test_the_components_are_ignored_by_a_repository_around(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    fill(upstream)
    fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    git(site.folder, "init", "-q")
    shown = subprocess.run(
        ["git", "status", "--short", "-uall", "dag"], cwd=site.folder, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["??", "dag/components/a"]
