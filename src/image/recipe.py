"""How a component's image is built: its own Dockerfile or the template, on what base, with which files."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from src.components import IGNORE_FILE, component_files
from src.dag import Options
from src.errors import ImageError
from src.image.context import Member, folder_members
from src.image.dockerfile import fill_template, set_base
from src.image.instructions import add_labels, find_bases, pin_bases
from src.settings import ROOT, Settings

TEMPLATE = ROOT / "src" / "template" / "dockerfile.template"
STUB = ROOT / "src" / "template" / "aisprint"
DOCKERFILE = "Dockerfile"
AFTER_SHARED = "USER 1000:1000"
"""The instruction of the template after which a component's own files come."""

OWN = ".autopipe-dockerfile"  # where the context has a component's own, with our label; kept out of the image
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.:~=_/-]*")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that the image of one component is made from, but for the content of its bases."""

    component: str
    folder: Path
    own: bool  # text is a Dockerfile of the component's
    text: str  # a Dockerfile; a template's base is still open
    bases: tuple[str, ...]  # names of images
    packages: Mapping[str, int]  # of requirements.sys, with their lines
    requirements: bytes  # requirements.txt
    media: Mapping[str, Path]  # files that the image carries besides, by name


def read_recipe(
    component: str, folder: Path, options: Options, settings: Settings, media: Mapping[str, Path]
) -> Recipe:
    """Read what a component's folder says of its image; raises ImageError with the line that is wrong."""
    own = folder / DOCKERFILE
    if own.is_file():
        text = _read(component, own).decode("utf-8-sig", "replace")
        bases = tuple(find_bases(text, settings.build_args))
        return Recipe(
            component=component,
            folder=folder,
            own=True,
            text=text,
            bases=bases,
            packages={},
            requirements=b"",
            media={},
        )
    packages = read_packages(component, folder / "requirements.sys")
    requirements = _read(component, folder / "requirements.txt")
    text = fill_template(
        TEMPLATE.read_text(),
        packages=list(packages),
        requirements=_decode(requirements),
        build_args=list(settings.build_args),
        media=bool(media),
    )
    return Recipe(
        component=component,
        folder=folder,
        own=False,
        text=text,
        bases=(choose_base(options, settings),),
        packages=packages,
        requirements=requirements,
        media=media,
    )


def shared_layers(recipe: Recipe, base: str) -> list[str]:
    """Return names for the layers that take long and that other components may have too: system, packages."""
    if recipe.own:
        return []
    system = f"{base}\n{recipe.text.partition('COPY')[0]}"
    return [system, f"{system}\n{recipe.requirements!r}"] if recipe.requirements else [system]


def choose_base(options: Options, settings: Settings) -> str:
    """Return the base image of a component without a Dockerfile: its own, that of its Python, BASE_IMAGE.

    A BASE_IMAGE called `…/python:3.11-slim` gives the place and the kind of those for other Pythons.
    """
    if options.base_image:
        return options.base_image
    if not options.python:
        return settings.base_image
    match = re.fullmatch(r"((?:.*/)?python):\d+(?:\.\d+)*(-[^@]*)?", settings.base_image)
    return f"{match[1]}:{options.python}{match[2] or ''}" if match else f"python:{options.python}-slim"


def read_packages(component: str, path: Path) -> dict[str, int]:
    """Return the Debian packages that a requirements.sys names, each with its line.

    The file may be absent or empty, have comments, CRLF or no last newline. Raises ImageError for a word that is no
    package: it would reach a shell.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(_decode(_read(component, path)).splitlines(), 1):
        for word in line.partition("#")[0].split():
            if not _PACKAGE.fullmatch(word):
                raise ImageError(
                    f"component {component}: {path}:{number}: {word} is no name of a Debian package",
                    hint="write one package a line; a version is written name=version",
                )
            found.setdefault(word, number)
    return found


def _read(component: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ImageError(
            f"cannot read component {component}: {path}: {error.strerror}", hint="check its rights"
        ) from error


def _decode(data: bytes) -> str:
    # `pip freeze >requirements.txt` in PowerShell writes UTF-16, which pip reads.
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def list_members(
    recipe: Recipe, pins: Mapping[str, str], build_args: Mapping[str, str], labels: tuple[str, str]
) -> tuple[list[Member], str]:
    """Return the members of the context of a build, and the name of the Dockerfile among them.

    pins: what to build on for each base image. labels: for every stage, and for the image; see add_labels.
    """
    based = pin_bases(recipe.text, build_args, pins) if recipe.own else set_base(recipe.text, pins[recipe.bases[0]])
    text = add_labels(based, *labels).encode()
    files = component_files(recipe.folder)
    if recipe.own:
        members = [one for one in folder_members(recipe.folder, files) if one.name != IGNORE_FILE]
        ignore = _read(recipe.component, recipe.folder / IGNORE_FILE) or f"{IGNORE_FILE}\n".encode()
        members += [Member(name=OWN, source=text), Member(name=IGNORE_FILE, source=ignore + f"\n{OWN}\n".encode())]
        return members, OWN
    requirements = "component/requirements.txt"
    members = [one for one in folder_members(recipe.folder, files, "component/") if one.name != requirements]
    if recipe.requirements:
        members.append(Member(name=requirements, source=recipe.requirements))
    members += folder_members(STUB.parent, _stub_files(), "stub/")
    members += [Member(name=f"media/{name}", source=path) for name, path in recipe.media.items()]
    return [*members, Member(name=DOCKERFILE, source=text)], DOCKERFILE


def _stub_files() -> Iterable[Path]:
    return sorted(STUB.glob("*.py"))


def stub_texts() -> list[str]:
    """Return what the stub of aisprint is made of, for keys."""
    return [path.read_text() for path in _stub_files()]
