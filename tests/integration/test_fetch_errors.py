"""What stage 2 refuses, and how it fails: the message, the hint, and that nothing of the user's is touched."""

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import src.repository.config
import src.repository.door
from download_components import main
from src.errors import FetchError
from src.fetch import fetch_components
from src.repository.url import parse_repository
from src.settings import Settings
from tests.integration.git_hosts import MAIN, GitHost, Link, Site, Upstream, contents, git, run_host

pytestmark = pytest.mark.usefixtures("clean_git")

ROOT = Path(__file__).parents[2]


def fails(site: Site, repository: str, *names: str, revision: str | None = None) -> FetchError:
    """Fetch, which must fail, and leave nothing unfinished behind."""
    with pytest.raises(FetchError) as caught:
        fetch_components(site.dag(repository, *names, revision=revision), site.settings)
    error = caught.value
    assert error.status == 3
    assert error.message
    assert "\n" not in error.message
    assert error.hint
    assert not list(site.folder.rglob(".tmp-autopipe-*"))
    return error


def text(error: FetchError) -> str:
    return "\n".join([error.message, *error.details, error.hint])


# What is not there


def test_unknown_component(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"blur-faces/main.py": MAIN, "pkg/audio/main.py": MAIN, "empty/readme": b""})
    url = git_host.url(upstream)
    error = fails(site, url, "blur-face")
    assert "blur-face (application_dag.yaml:5): not there" in error.message
    assert "components/blur-face, component/blur-face, src/blur-face" in error.message
    assert error.hint == "did you mean blur-faces?"
    assert "there is pkg/audio" in fails(site, url, "audio").hint
    assert "empty has no main.py and no Dockerfile" in fails(site, url, "empty").message
    error = fails(site, url, "blur-faces", "empty", "zzz")
    assert error.message.startswith("2 components cannot be taken from http")
    assert [line.split()[0] for line in error.details] == ["empty", "zzz"]
    assert not (site.components / ".fetched").exists() or not list((site.components / ".fetched").glob("*/*/main.py"))


def test_unknown_revision(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    commit = upstream.commit({"a/main.py": MAIN})
    git(upstream.work, "tag", "v1.2")
    upstream.push()
    url = git_host.url(upstream)
    assert fails(site, url, "a", revision="v1.1").hint == "did you mean v1.2?"
    assert fails(site, url, "a", revision="abcdef").hint == "there is main, v1.2"
    gone = fails(site, url, "a", revision=commit[:-4] + "0000")
    assert "does not have the commit" in gone.message
    assert "revision" in gone.hint
    assert "has no commit" in fails(site, git_host.url(upstream, "old"), "a", revision="1" * 40).message
    assert "has no commit" in fails(site, git_host.url(upstream, "plain"), "a", revision="1" * 40).message
    for nonsense in ("-x", "main^", "ma in", "*", "main~1", "@", "../x"):
        assert "is no branch, tag or commit" in fails(site, url, "a", revision=nonsense).message


def test_empty_repository_and_one_without_a_usual_branch(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    url = git_host.url(upstream)
    assert "is empty" in fails(site, url, "a").message
    upstream.commit({"a/main.py": MAIN})
    git(upstream.bare, "symbolic-ref", "HEAD", "refs/heads/other")
    error = fails(site, url, "a")
    assert "which branch" in error.message
    assert "there is main" in error.hint


def test_a_tag_of_no_commit(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN})
    git(upstream.work, "tag", "tree", "HEAD^{tree}")
    upstream.push()
    assert "has no commit" in fails(site, git_host.url(upstream), "a", revision="tree").message


def test_no_repository(git_host: GitHost, site: Site, tmp_path: Path) -> None:
    for url in (f"{git_host.address}/open/org/nope.git", str(tmp_path / "nope"), (tmp_path / "no pe").as_uri()):
        error = fails(site, url, "a")
        assert error.message.startswith("there is no repository ")
    assert fails(site, "nope/here", "a").message.endswith("/site/dag/nope/here")
    assert (
        "there is no repository" in fails(site, f"{git_host.address}/open/org/nope.git", "a", revision="1" * 40).message
    )


# What cannot be reached


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that nothing listens at; bound, so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def short_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dead connections be given up after two seconds."""
    monkeypatch.setattr(src.repository.config, "STALL_SECONDS", 2)


def test_nobody_answers(git_host: GitHost, site: Site, free_port: int, short_stall: None) -> None:
    for url in (
        f"http://127.0.0.1:{free_port}/x.git",
        f"git://127.0.0.1:{free_port}/x.git",
        f"ssh://127.0.0.1:{free_port}/x.git",
        "https://no-such-host.invalid/x.git",
        f"{git_host.address}/silent/org/x.git",
        f"{git_host.address}/broken/org/x.git",
    ):
        error = fails(site, url, "a")
        assert error.message == f"cannot reach {url}"
        assert error.details


def test_a_silent_git_server_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # git's own protocol has no limit of its own.
    monkeypatch.setattr("src.repository.revision.LOOK_SECONDS", 1.5)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        error = fails(site, f"git://127.0.0.1:{listening.getsockname()[1]}/x.git", "a")
    assert "took longer than" in error.message


def test_out_of_reach_with_something_fetched_before(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    commit = upstream.commit({"a/main.py": MAIN})
    with run_host(site.folder / "second") as second:
        shutil.copytree(upstream.bare, second.root / "org" / "r.git")
        url = f"{second.address}/open/org/r.git"
        fetch_components(site.dag(url, "a"), site.settings)
    error = fails(site, url, "a")
    assert f"revision: {commit}" in error.hint
    assert fetch_components(site.dag(url, "a", revision=commit), site.settings)


def test_refused(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN})
    url = git_host.url(upstream, "closed")
    assert fails(site, url, "a").message == f"access to {url} was refused"
    wrong = url.replace("://", "://reader:wr0ngpass@")
    error = fails(site, wrong, "a")
    assert error.message == f"access to {url} was refused"
    assert "wr0ngpass" not in text(error)


def test_a_certificate_that_nobody_knows(upstream: Upstream, site: Site, tmp_path: Path, clean_git: Path) -> None:
    upstream.commit({"a/main.py": MAIN})
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    with run_host(tmp_path / "tls", str(certificate), str(key)) as host:
        shutil.copytree(upstream.bare, host.root / "org" / "r.git")
        url = f"{host.address}/open/org/r.git"
        error = fails(site, url, "a")
        assert "certificate was not accepted" in error.message
        with clean_git.open("a") as config:  # as the hint says
            config.write(f"[http]\n\tsslCAInfo = {certificate}\n")
        assert fetch_components(site.dag(url, "a"), site.settings)


@pytest.mark.parametrize(
    "repository", ["ext::sh -c touch% RAN", "ftp://host/x", "foo::bar", "http:///x", "http://h:x/y"]
)
def test_addresses_that_are_refused(repository: str, site: Site) -> None:
    error = fails(site, repository.replace("RAN", str(site.folder / "ran")), "a")
    assert "repository" in error.message
    assert "https://" in error.hint
    assert not (site.folder / "ran").exists()


def test_a_redirect_to_another_protocol_is_refused(upstream: Upstream, site: Site, clean_git: Path) -> None:
    ran = site.folder / "ran"
    with clean_git.open("a") as config:
        config.write(f'[url "ext::touch {ran} "]\n\tinsteadOf = https://evil.invalid/\n[protocol]\n\tallow = always\n')
    assert "protocol" in fails(site, "https://evil.invalid/x.git", "a").message
    assert not ran.exists()


# What may not be in a component


BAD: dict[str, tuple[dict[str, bytes | Link | None], str]] = {
    "up": ({"a/main.py": MAIN, "a/x": Link("../other")}, "link a/x -> ../other leaves"),
    "deep": ({"a/main.py": MAIN, "a/s/x": Link("../../a/main.py")}, "link a/s/x -> ../../a/main.py leaves"),
    "absolute": ({"a/main.py": MAIN, "a/x": Link("/etc/passwd")}, "link a/x -> /etc/passwd leaves"),
    "by another": ({"a/main.py": MAIN, "a/s": Link("."), "a/x": Link("s/../y")}, "link a/x -> s/../y leaves"),
    "circle": ({"a/main.py": MAIN, "a/x": Link("y"), "a/y": Link("x")}, "leads in a circle"),
    "itself out": ({"a": Link("../somewhere")}, "link a -> ../somewhere leaves the repository"),
    "itself absolute": ({"src/a": Link("/etc")}, "link src/a -> /etc leaves the repository"),
    "place out": ({"components": Link("../x")}, "link components -> ../x leaves the repository"),
}


@pytest.mark.parametrize("case", BAD)
def test_links_that_leave(case: str, git_host: GitHost, upstream: Upstream, site: Site) -> None:
    files, message = BAD[case]
    upstream.commit({**files, "b/main.py": MAIN})
    assert message in fails(site, git_host.url(upstream), "b", "a").message
    assert not list((site.components / ".fetched").glob("[0-9a-f]*"))
    assert fetch_components(site.dag(git_host.url(upstream), "b"), site.settings)


def test_submodules(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN, "other/x": b""})
    git(upstream.work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},other/module")
    upstream.commit({})
    assert fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    git(upstream.work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},a/module")
    git(upstream.work, "commit", "-q", "-m", "x")
    upstream.push()
    assert "a/module is a submodule" in fails(site, git_host.url(upstream), "a").message
    git(upstream.work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},src/m")
    git(upstream.work, "commit", "-q", "-m", "x")
    upstream.push()
    assert "it is a submodule" in fails(site, git_host.url(upstream), "m").message


@pytest.mark.parametrize("name", [".git", ".GIT", ".Git"])
def test_git_folders_in_a_tree(name: str, git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN})
    blob = git(upstream.bare, "hash-object", "-w", "--stdin", stdin=b"[core]\n")
    inner = git(upstream.bare, "mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    a = git(upstream.bare, "mktree", stdin=f"100644 blob {blob}\tmain.py\n040000 tree {inner}\t{name}\n".encode())
    root = git(upstream.bare, "mktree", stdin=f"040000 tree {a}\ta\n".encode())
    commit = git(upstream.bare, "-c", "user.name=x", "-c", "user.email=x@x", "commit-tree", root, "-m", "x")
    git(upstream.bare, "update-ref", "refs/heads/main", commit)
    assert (
        f"a/{name}/config: nothing in a component may be called .git"
        in fails(site, git_host.url(upstream), "a").message
    )


# Git LFS


def with_model(upstream: Upstream) -> None:
    upstream.track("*.onnx")
    upstream.commit({"a/main.py": MAIN, "a/m.onnx": os.urandom(2000), "b/main.py": MAIN, "b/n.onnx": os.urandom(3000)})


@pytest.mark.parametrize("kind", ["http", "file"])
def test_lfs_files_that_the_server_lacks(kind: str, git_host: GitHost, upstream: Upstream, site: Site) -> None:
    with_model(upstream)
    for folder in (upstream.bare / "lfs", upstream.lfs_files):
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_size == 3000:
                path.unlink()
    url = git_host.url(upstream) if kind == "http" else upstream.bare.as_uri()
    error = fails(site, url, "a", "b")
    assert error.message == f"the Git LFS server of {url} does not have all the files"
    assert "b/n.onnx (3000 bytes)" in error.details
    assert "git lfs push" in error.hint
    assert fetch_components(site.dag(url, "a"), site.settings)


def test_a_pointer_that_is_none(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN, "a/m.onnx": b"version https://git-lfs.github.com/spec/v1\nbroken\n"})
    error = fails(site, git_host.url(upstream), "a")
    assert "did not bring 1 of" in error.message
    assert "a/m.onnx (0 bytes)" in error.details


def only(folder: Path, *programs: str) -> str:
    """Return a PATH on which there are just these."""
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found, program
        (folder / program).symlink_to(found)
    return str(folder)


def test_git_lfs_is_missing(
    git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model(upstream)
    monkeypatch.setenv("PATH", only(tmp_path / "bin", "git", "sh", "false", "true"))
    error = fails(site, git_host.url(upstream), "a")
    assert error.message == f"git-lfs is not installed, and {git_host.url(upstream)} needs it"
    assert "a/m.onnx (2000 bytes)" in error.details
    assert "install git-lfs" in error.hint


def test_without_lfs_files_git_lfs_is_not_needed(
    git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.commit({"a/main.py": MAIN, ".gitattributes": b"*.onnx filter=lfs diff=lfs merge=lfs -text\n"})
    monkeypatch.setenv("PATH", only(tmp_path / "bin", "git", "sh", "false", "true"))
    assert fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)


# The user's own folders


def test_a_folder_of_the_users_is_not_touched(
    git_host: GitHost, upstream: Upstream, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.commit({f"{name}/main.py": MAIN for name in ("a", "b", "c", "d")})
    site.dag(None)
    (site.components / "a").mkdir(parents=True)
    (site.components / "a/mine.py").write_text("mine")
    (site.components / "b").write_text("a file")
    (site.components / "c").symlink_to("/nowhere/at/all")
    before = contents(site.components)
    folders = fetch_components(site.dag(git_host.url(upstream), "a", "b", "c", "d"), site.settings)
    assert all(contents(folder) == {"main.py": MAIN} for folder in folders.values())
    assert all(folder.parent.parent == site.components / ".fetched" for folder in folders.values())
    after = {name: content for name, content in contents(site.components).items() if not name.startswith(".fetched")}
    assert after == {**before, "d": Link(f".fetched/{folders['d'].parent.name}/d")}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [f"{site.components / name} is yours" in line for name, line in zip("abc", warnings, strict=True)] == [
        True
    ] * 3


def test_what_the_repository_lacks_comes_from_the_users_folder(
    git_host: GitHost, upstream: Upstream, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.commit({"a/main.py": MAIN})
    site.dag(None)
    (site.components / "mine").mkdir(parents=True)
    (site.components / "mine/main.py").write_text("mine")
    dag = site.dag(git_host.url(upstream), "a", "mine")
    caplog.set_level(logging.INFO)
    folders = fetch_components(dag, site.settings)
    assert folders["mine"] == site.components / "mine"
    assert "your folder" in caplog.text
    git_host.requests()
    assert fetch_components(dag, site.settings) == folders
    assert len(git_host.requests()) == 2
    (site.components / "mine").rename(site.components / "moved")
    assert "not there" in fails(site, git_host.url(upstream), "a", "mine").message


def test_a_link_of_ours_is_not_the_users(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN, "b/main.py": MAIN})
    fetch_components(site.dag(git_host.url(upstream), "a", "b"), site.settings)
    upstream.commit({"b/main.py": None})
    assert "b (application_dag.yaml:6): not there" in fails(site, git_host.url(upstream), "a", "b").message


# This machine


def test_a_folder_that_cannot_be_written(git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    upstream.commit({"a/main.py": MAIN})
    dag = site.dag(git_host.url(upstream), "a")
    (tmp_path / "file").write_text("")
    for settings in (
        Settings(cache_dir=tmp_path / "file/cache"),
        Settings(cache_dir=site.settings.cache_dir, components_dir=tmp_path / "file/components"),
        Settings(cache_dir=site.settings.cache_dir, components_dir=Path("/proc/self/fdinfo/x")),
    ):
        with pytest.raises(FetchError) as caught:
            fetch_components(dag, settings)
        assert "cannot write" in caught.value.message
        assert "COMPONENTS_DIR" in caught.value.hint


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from download_components import main
raise SystemExit(main(["-i", {dag!r}]))
"""


def write_dag(site: Site, repository: str, *names: str, revision: str = "") -> Path:
    path = site.dag(None).path
    lines = ["System:", "  name: app", f"  repository: {repository}", f"  components: [{', '.join(names)}]"]
    path.write_text("\n".join([*lines, *([f"  revision: {revision}"] if revision else []), "  dependencies: []", ""]))
    return path


def run_alone(site: Site, dag: Path, *wrapper: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(root=str(ROOT), dag=str(dag))
    environment = {**os.environ, "CACHE_DIR": str(site.folder / "cache"), **variables}
    command = [*wrapper, sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert len(re.findall("^error: ", done.stderr, re.MULTILINE)) == 1
    assert len(re.findall("^hint: ", done.stderr, re.MULTILINE)) == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("where", ["CACHE_DIR", "COMPONENTS_DIR"])
def test_a_full_disk(where: str, git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    upstream.track("*.onnx")
    upstream.commit(
        {"a/main.py": MAIN, "a/big": os.urandom(900_000), "b/main.py": MAIN, "b/m.onnx": os.urandom(900_000)}
    )
    small = tmp_path / "small"
    small.mkdir()
    script = (
        f'mount -t tmpfs -o size=600k none {small} && "$@"; status=$?; find {small} -name ".tmp*" >&2; exit $status'
    )
    inside = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    for name in ("a", "b"):
        error = one_error(
            run_alone(site, write_dag(site, git_host.url(upstream), name), *inside, **{where: str(small)})
        )
        assert re.search("error: the disk is full|error: Git LFS did not bring 1 of", error), error
        assert re.search("hint: make room, or set|hint: is there room", error)
        assert ".tmp-autopipe" not in error.partition("hint:")[2]


def test_no_git(git_host: GitHost, upstream: Upstream, site: Site, tmp_path: Path) -> None:
    upstream.commit({"a/main.py": MAIN})
    dag = write_dag(site, git_host.url(upstream), "a")
    error = one_error(run_alone(site, dag, PATH=only(tmp_path / "none", "sh")))
    assert "git is not installed" in error
    error = one_error(run_alone(site, dag, PATH=only(tmp_path / "quiet", "sh"), GIT_PYTHON_REFRESH="quiet"))
    assert "git is not installed" in error
    old = tmp_path / "old"
    old.mkdir()
    (old / "git").write_text("#!/bin/sh\necho git version 2.20.1\n")
    (old / "git").chmod(0o755)
    assert "git 2.20.1 is too old" in one_error(run_alone(site, dag, PATH=f"{old}:{os.environ['PATH']}"))


def test_the_program(
    git_host: GitHost,
    upstream: Upstream,
    site: Site,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.commit({"a/main.py": MAIN})
    monkeypatch.setenv("CACHE_DIR", str(site.settings.cache_dir))
    monkeypatch.chdir("/")
    dag = write_dag(site, git_host.url(upstream), "a")
    assert main(["-i", str(dag)]) == 0
    assert contents(site.components / "a") == {"main.py": MAIN}
    shown = capfd.readouterr()
    assert shown.out == f"a {site.components}/.fetched/{git(upstream.work, 'rev-parse', 'HEAD')}/a\n"
    assert "error" not in shown.err
    assert main(["-i", str(write_dag(site, git_host.url(upstream), "b"))]) == 3
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "error: component b (application_dag.yaml:" in shown.err


def test_leftovers_of_dead_runs_go_after_a_day(git_host: GitHost, upstream: Upstream, site: Site) -> None:
    upstream.commit({"a/main.py": MAIN})
    fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    mirror = next((site.settings.cache_dir / "mirrors").iterdir())
    made = []
    for place in (mirror, site.components / ".fetched"):
        for name, age in (("old", 90_000), ("young", 80_000)):
            folder = place / f".tmp-autopipe-{name}"
            (folder / "sub").mkdir(parents=True)
            when = folder.stat().st_mtime - age
            os.utime(folder, (when, when))
            made.append(folder)
        (place / "of-somebody").mkdir()
        os.utime(place / "of-somebody", (1, 1))
    (mirror / "lfs/incomplete").mkdir()
    for name, when in (("dead", 1), ("alive", made[0].stat().st_mtime + 90_000)):
        (mirror / "lfs/incomplete" / name).touch()
        os.utime(mirror / "lfs/incomplete" / name, (when, when))
    upstream.commit({"a/main.py": b"new"})
    fetch_components(site.dag(git_host.url(upstream), "a"), site.settings)
    assert [folder.exists() for folder in made] == [False, True, False, True]
    assert [path.name for path in (mirror / "lfs/incomplete").iterdir()] == ["alive"]
    assert (mirror / "of-somebody").exists()
    assert (site.components / ".fetched/of-somebody").exists()


def test_our_configuration_reads_back(tmp_path: Path, clean_git: Path) -> None:
    url = 'http://h/a"b\\c;e%09f'
    repository = parse_repository(f"http://u:p@{url.partition('://')[2]}", tmp_path)
    config = tmp_path / "config"
    config.write_text(src.repository.config.make_config(repository, ssh_command='ssh -o "X=y"'))
    for name, value in {
        "remote.origin.url": url,
        "core.sshcommand": 'ssh -o "X=y"',
        "core.hookspath": "/dev/null",
    }.items():
        assert git(tmp_path, "config", "--file", str(config), name) == value
    listed = git(tmp_path, "config", "--file", str(config), "--list").split("\n")
    first, second = [line for line in listed if line.startswith("credential.http://h.helper=")]
    assert first == "credential.http://h.helper="  # the user's helpers are switched off
    assert "AUTOPIPE_GIT_PASSWORD" in second
