"""Environments of the process target, made for real with uv from wheels that the test writes; no index is asked."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from src import environments
from tests.integration.test_process_launcher import PYTHONS
from tests.support import Project, make_wheel

IMPORT = "import thing\nopen(OUT, 'w').write(thing.VERSION)"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels to install from, and an empty cache of environments."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "thing", "1.0")
    make_wheel(folder, "thing", "2.0")
    make_wheel(folder, "other", "1.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    return folder


def made(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "environments").iterdir())


def write(project: Project, requirements: str | bytes, script: str = IMPORT) -> None:
    project.media()
    folder = project.python_component("a", script)
    content = requirements if isinstance(requirements, bytes) else requirements.encode()
    (folder / "requirements.txt").write_bytes(content)
    project.write("a")


def output(project: Project) -> str:
    return (project.succeed().folder / "a" / "a").read_text()


@pytest.mark.parametrize(
    "requirements",
    [
        "thing==1.0",
        "thing==1.0\r\n\r\n",
        "# first\n\n  thing == 1.0   # why\n\n",
        "\ufeffthing==1.0\n",
        "thing<2\nother\n",
        "thing==1.0; python_version > '3'\nnever==1; python_version < '3'\n",
    ],
)
def test_requirements_in_every_shape(project: Project, wheels: Path, requirements: str) -> None:
    write(project, requirements)
    assert output(project) == "1.0"


def test_an_environment_is_made_once_for_all_that_ask_for_the_same(
    project: Project, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "thing==1.0\nother\n")
    project.python_component("b", IMPORT, files={"requirements.txt": "# the same\nother\nthing==1.0"})
    project.write("ab")
    project.succeed()
    assert len(made(tmp_path)) == 1
    monkeypatch.setattr(environments, "_uv", lambda *_: pytest.fail("an environment was made again"))
    assert project.succeed("--fresh").ran == {"a": 1, "b": 1}


def test_a_file_that_requirements_include_counts_with_its_content(project: Project, wheels: Path) -> None:
    write(project, "-r more.txt\n")
    more = project.folder / "components" / "a" / "more.txt"
    more.write_text("thing==1.0\n")
    assert output(project) == "1.0"
    more.write_text("thing==2.0\n")
    assert output(project) == "2.0"


def test_a_package_in_the_components_own_folder(project: Project, wheels: Path) -> None:
    folder = project.python_component("a", IMPORT)
    make_wheel(folder / "vendored", "thing", "7.0")
    write(project, "./vendored/thing-7.0-py3-none-any.whl\n")
    assert output(project) == "7.0"
    # The same component somewhere else gives the same results: nothing is run again.
    there = project.folder.parent / "moved"
    shutil.move(project.folder, there)
    moved = Project(there)
    assert moved.succeed().ran == {}


def test_a_newer_version_of_what_is_not_pinned_is_not_looked_for(project: Project, wheels: Path) -> None:
    write(project, "thing\n")
    assert output(project) == "2.0"
    make_wheel(wheels, "thing", "3.0")
    assert output(project) == "2.0"


def test_an_installer_that_fails_is_quoted(project: Project, wheels: Path, tmp_path: Path) -> None:
    write(project, "thing==9.0\n")
    outcome = project.fail(4)
    assert outcome.errors[0].startswith("error: component a")
    assert any("thing==9.0" in line for line in outcome.errors[1:-1])
    assert "requirements.txt" in outcome.errors[-1]
    assert made(tmp_path) == []
    write(project, "thing==1.0\n")
    assert output(project) == "1.0"


def test_the_stub_of_aisprint_and_a_real_one(project: Project, wheels: Path) -> None:
    script = (
        "from aisprint.annotations import annotation, exec_time\nimport aisprint\n"
        "@annotation({'component_name': {'name': 'a'}})\ndef run(): return 'ran'\n"
        "open(OUT, 'w').write(run() + ' ' + getattr(aisprint, 'OWNER', 'stub'))"
    )
    write(project, "", script)
    assert output(project) == "ran stub"
    vendored = project.folder / "components" / "a" / "aisprint"
    vendored.mkdir()
    (vendored / "__init__.py").write_text("OWNER = 'the user'\n")
    (vendored / "annotations.py").write_text("def annotation(_): return lambda f: f\nexec_time = None\n")
    assert output(project) == "ran the user"


def test_nothing_of_the_tools_own_python_is_seen(project: Project, wheels: Path) -> None:
    write(project, "", "import json\ntry:\n    import yaml\nexcept ImportError:\n    open(OUT, 'w').write('alone')")
    assert output(project) == "alone"


@pytest.mark.parametrize("version", PYTHONS)
def test_the_option_python(project: Project, wheels: Path, version: str) -> None:
    write(project, "thing==1.0\n", IMPORT + "\nopen(OUT, 'w').write('%d.%d' % sys.version_info[:2])")
    project.write("a", options={"a": {"python": version}})
    assert output(project) == version
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    project.write("a", options={"a": {"python": own}})
    outcome = project.succeed()
    assert outcome.ran == ({"a": 1} if version != own else {})


def test_an_environment_whose_python_is_gone_is_made_anew(project: Project, wheels: Path, tmp_path: Path) -> None:
    write(project, "thing==1.0\n")
    assert output(project) == "1.0"
    (environment,) = (tmp_path / "cache" / "environments").iterdir()
    for path in (environment / "bin").glob("python*"):
        path.unlink()
    (environment / "bin" / "python").symlink_to("/no/such/python")
    assert project.succeed("--fresh").ran == {"a": 1}
    assert json.loads((environment / "autopipe.json").read_bytes())["packages"] == ["thing==1.0"]


def test_two_that_make_the_same_environment_at_once(project: Project, wheels: Path, tmp_path: Path) -> None:
    write(project, "thing==1.0\n")
    others = [tmp_path / f"output-{number}" for number in range(3)]
    running = [project.start("--output", str(other)) for other in others]
    for process in running:
        _, err = process.communicate()
        assert process.returncode == 0, err.decode()
    assert len(made(tmp_path)) == 1


def test_system_packages_that_are_missing_are_named(project: Project, wheels: Path) -> None:
    write(project, "thing==1.0\n")
    folder = project.folder / "components" / "a"
    (folder / "requirements.sys").write_bytes(b"# tools\r\nno-such-package-here\r\n\r\n" + b"sh  another-missing # x")
    outcome = project.succeed()
    assert "no-such-package-here, another-missing" in outcome.err
    assert " sh" not in outcome.err.partition("not installed")[2].partition("\n")[0]
    (folder / "requirements.sys").unlink()
    assert "not installed" not in project.succeed().err


def test_an_interpreter_of_the_environment_is_first_on_the_path(project: Project, wheels: Path) -> None:
    project.media()
    project.component("a", 'python -c "import sys; print(sys.prefix)" > "$out"; command -v python >> "$out"')
    project.write("a")
    prefix, program = (project.succeed().folder / "a" / "a").read_text().split()
    assert prefix.startswith(os.environ["CACHE_DIR"])
    assert program == f"{prefix}/bin/python"
