"""DAG files that are right, and files that cannot be read."""

import os
from pathlib import Path

import pytest

from src.dag import Dag, Edge, load_dag, parse_dag
from src.errors import ConfigError
from tests.unit.dag_texts import FILE, VALID, parse, system


def test_a_whole_file() -> None:
    dag = parse(
        "name: my_app\n"
        "repository: https://host/user/components.git\n"
        "revision: v1.2\n"
        "input_media: media/clip.mp4\n"
        "components: ['c', 'a', B_1.x]\n"
        "dependencies: [['a', 'B_1.x', 1], ['a', 'c', 0.6], [B_1.x, c]]\n"
        "options:\n"
        "  c: {cpu: 2}"
    )
    assert dag.path == FILE
    assert dag.name == "my_app"
    assert dag.repository == "https://host/user/components.git"
    assert dag.revision == "v1.2"
    assert dag.media == (Path("/apps/demo/media/clip.mp4"),)
    assert dag.components == ("c", "a", "B_1.x")
    assert dag.edges == (
        Edge(parent="a", child="B_1.x", probability=1.0),
        Edge(parent="a", child="c", probability=0.6),
        Edge(parent="B_1.x", child="c", probability=1.0),
    )
    assert dag.lines == {"c": 6, "a": 6, "B_1.x": 6}
    assert list(dag.options) == ["c"]
    assert dag.options_of("c").cpu == 2
    assert dag.options_of("a").cpu is None
    assert dag.warnings == ()


def test_what_may_be_missing_or_null() -> None:
    missing = parse("name: n\ncomponents: [a]")
    null = parse("name: n\nrepository:\nrevision: ~\ninput_media: null\ncomponents: [a]\ndependencies:\noptions:\n")
    for dag in (missing, null):
        assert (dag.repository, dag.revision, dag.media, dag.edges, dag.options) == (None, None, (), (), {})


def test_shapes_of_lists() -> None:
    block = parse("name: n\ncomponents:\n- a\n-   'b'\ndependencies:\n- - a\n  - b\n  - 0.75\n")
    mixed = parse('name: n\ncomponents: [a,\n  "b"]\ndependencies:\n  - [a, b,\n     7.5e-1]')
    commented = parse_dag(f"# one\n\n# two\n{system(VALID)}   \n\n# end", FILE)
    assert block.edges == mixed.edges == (Edge(parent="a", child="b", probability=0.75),)
    assert block.lines == {"a": 4, "b": 5}
    assert mixed.lines == {"a": 3, "b": 4}
    assert commented.components == ("a", "b")


@pytest.mark.parametrize(
    ("written", "number"),
    [("1", 1.0), ("1.0", 1.0), (".5", 0.5), ("0.6336", 0.6336), ("0.33333333333333331", 1 / 3), ("1e-3", 0.001)],
)
def test_probabilities(written: str, number: float) -> None:
    dag = parse(f"name: n\ncomponents: [a, b]\ndependencies: [[a, b, {written}]]")
    assert dag.edges[0].probability == number


def test_anchors_aliases_and_merge_keys() -> None:
    dag = parse(
        "name: n\n"
        "components: [&first a, b, c]\n"
        "dependencies: [[*first, b]]\n"
        "options:\n"
        "  a: &big {cpu: 2, memory: 1Gi}\n"
        "  b: {<<: *big, memory: 2Gi}\n"
        "  c: {<<: [{gpu: 1}, *big]}\n"
    )
    assert dag.edges == (Edge(parent="a", child="b"),)
    assert [dag.options_of(c).memory for c in "abc"] == [2**30, 2**31, 2**30]
    assert [dag.options_of(c).cpu for c in "abc"] == [2, 2, 2]
    assert dag.options_of("c").gpu == 1


@pytest.mark.parametrize("name", ["my app", "Café", "a.b", "  padded  ", "x" * 100, "ai-sprint_mask", "日本"])
def test_names_of_applications(name: str) -> None:
    assert parse(f"name: '{name}'\ncomponents: [a]").name == name.strip()


@pytest.mark.parametrize("name", ["a", "C1", "filter", "a_b-c.d", "mask-detector_partition1_1", "3d-pose", "x" * 100])
def test_names_of_components(name: str) -> None:
    assert parse(f"name: n\ncomponents: ['{name}']").components == (name,)


def test_a_name_that_some_take_for_a_number() -> None:
    assert parse("name: 1e3\ncomponents: [1e3, 3d]").components == ("1e3", "3d")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://host/a.git", "https://host/a.git"),
        ("http://user:token@host:8080/a", "http://user:token@host:8080/a"),
        ("ssh://git@host:22/a", "ssh://git@host:22/a"),
        ("git://host/a", "git://host/a"),
        ("HTTPS://host/a", "HTTPS://host/a"),
        ("file:///srv/a.git", "file:///srv/a.git"),
        ("git@host:user/a.git", "git@host:user/a.git"),
        ("host:a", "host:a"),
        ("git@host:/srv/a.git", "git@host:/srv/a.git"),
        ("/srv/my repos/a.git", "/srv/my repos/a.git"),
        ("../repos/a.git", "/apps/demo/../repos/a.git"),
        ("a.git", "/apps/demo/a.git"),
        ("./github.com/a", "/apps/demo/github.com/a"),
        ("~/a.git", "/home/me/a.git"),
        ("./with:colon", "/apps/demo/with:colon"),
    ],
)
def test_repositories(written: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse(f"{VALID}\nrepository: '{written}'").repository == meant


@pytest.mark.parametrize("revision", ["main", "v1.2", "a/b", "0123456", "1.10", "2024-01-01", "a" * 40, "1e5", "on"])
def test_revisions_are_taken_as_written(revision: str) -> None:
    assert parse(f"{VALID}\nrepository: /r\nrevision: {revision}").revision == revision


def test_media(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse(f"{VALID}\ninput_media: [a.mp4, ../b, /c, ~/d, 2024, 'e f.mp4']").media == tuple(
        Path(path)
        for path in ["/apps/demo/a.mp4", "/apps/demo/../b", "/c", "/home/me/d", "/apps/demo/2024", "/apps/demo/e f.mp4"]
    )
    assert parse(f"{VALID}\ninput_media: ~nosuchuser/x").media == (Path("/apps/demo/~nosuchuser/x"),)
    assert parse(f"{VALID}\ninput_media: []").media == ()


KNOWN = "name, repository, revision, input_media, components, dependencies, options"


def test_unknown_keys_are_remarked() -> None:
    dag = parse_dag(f"{system(VALID)}  metric_name: x\n  alternative_components: {{a: [z]}}\nx-note: 1\n", FILE)
    assert dag.warnings == (
        f"dag.yaml:5: unknown key 'metric_name' is ignored; known are {KNOWN}",
        "dag.yaml:6: alternative_components is ignored: only what stands in components is run",
        "dag.yaml:7: the key 'x-note' beside System is ignored",
    )
    assert parse(f"{VALID}\nparallelize_from: b").warnings == (
        "dag.yaml:5: parallelize_from is ignored: a component that writes several files is followed by one run a file",
    )


def test_a_thousand_components(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"component_{n}" for n in range(1000)]
    edges = [f"[{names[n // 2]}, {names[n]}, 0.5]" for n in range(1, 1000)]
    text = f"name: n\ncomponents: [{', '.join(names)}]\ndependencies: [{', '.join(edges)}]"
    fast = parse(text)
    monkeypatch.delattr("yaml.CSafeLoader")
    assert fast == parse(text)
    assert fast.components == tuple(names)
    assert [(e.parent, e.child) for e in fast.edges] == [(names[n // 2], names[n]) for n in range(1, 1000)]


def refuse(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_dag(path)
    assert caught.value.status == 2
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_load_resolves_links_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "dag.yaml", tmp_path / "link.yaml"
    real.write_bytes(b"\xef\xbb\xbf" + f"{system(VALID)}  input_media: clip.mp4".replace("\n", "\r\n").encode())
    link.symlink_to(real)
    dag = load_dag(link)
    assert isinstance(dag, Dag)
    assert dag.path == real.resolve()
    assert dag.media == (real.resolve().parent / "clip.mp4",)


def test_load_does_not_depend_on_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dag.yaml").write_text(f"{system(VALID)}  repository: ../r\n")
    monkeypatch.chdir(tmp_path)
    dag = load_dag(Path("dag.yaml"))
    assert dag.path == (tmp_path / "dag.yaml").resolve()
    assert dag.repository == f"{tmp_path.resolve()}/../r"


def test_load_missing(tmp_path: Path) -> None:
    error = refuse(tmp_path / "dag.yaml")
    assert error.message == f"no such DAG file: {tmp_path}/dag.yaml"
    assert error.hint == "give -i the path of a DAG file"
    (tmp_path / "application_dag.yaml").write_text("")
    assert refuse(tmp_path / "dag.yaml").hint == f"give -i {tmp_path}/application_dag.yaml"
    assert refuse(tmp_path).message == f"the DAG file {tmp_path} is a folder"
    assert refuse(tmp_path).hint == f"give -i {tmp_path}/application_dag.yaml"
    assert refuse(tmp_path / "no" / "dag.yaml").message == f"no such DAG file: {tmp_path}/no/dag.yaml"


def test_load_what_cannot_be_read(tmp_path: Path) -> None:
    loop, fifo, long = tmp_path / "loop", tmp_path / "fifo", tmp_path / ("x" * 300)
    loop.symlink_to(loop)
    os.mkfifo(fifo)
    assert refuse(loop).message == f"cannot read the DAG file {loop}: Too many levels of symbolic links"
    assert refuse(fifo).message == f"the DAG file {fifo} is not a regular file"
    assert refuse(long).message == f"cannot read the DAG file {long}: File name too long"
    assert refuse(Path("a\0b")).message.endswith("embedded null byte")


def test_load_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dag.yaml"
    path.write_text(system(VALID))

    def deny(*args: object, **kwargs: object) -> None:  # root reads everything, so that chmod would prove nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert refuse(path).message == f"cannot read the DAG file {path}: Permission denied"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "dag.yaml:1: the file is empty"),
        (b"\n\n# nothing\n", "dag.yaml:1: the file is empty"),
        (b"System:\n  name: caf\xe9\n", "dag.yaml:2: is text in another encoding, or no text"),
        (b"\x89PNG\r\n\x1a\n\0", "dag.yaml:1: is text in another encoding, or no text"),
        ("System:".encode("utf-16"), "dag.yaml:1: is UTF-16"),
    ],
)
def test_load_content(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dag.yaml"
    path.write_bytes(content)
    assert refuse(path).message == message


def test_load_too_large(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        file.truncate(10_000_001)
    error = refuse(path)
    assert error.message == f"the DAG file {path} is larger than 10 MB"
    assert error.hint == "give -i the YAML file, not the media"
