"""Dockerfiles: the template filled for a component, and what a component's own one is built on; pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MEDIA_FOLDER = "/media"
"""Where the image of save-media has the media, if it is to carry it."""

_INSTALL = (
    "RUN PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \\\n"
    "    python3 -m pip install --no-cache-dir --no-input --progress-bar off -r requirements.txt"
)
_FILES = "COPY component/ ./"
_LOCAL = re.compile(
    r"^(-[rcef]\b|--(requirement|constraint|editable|find-links)\b|[./])|file:|\.(whl|zip|tar\.gz)\s*$", re.MULTILINE
)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined; lines are counted from 1."""

    word: str  # upper case
    rest: str
    first: int
    line: int  # the last one


def fill_template(
    template: str, *, packages: Sequence[str], requirements: str, build_args: Sequence[str], media: bool = False
) -> str:
    """Return the template for a component, all but its base filled in.

    packages: of requirements.sys, names that are safe in a shell. requirements: the text of requirements.txt, of which
    matters whether it says something and whether it names files of the component.
    """
    asks = says_something(requirements)
    all_first = asks and _LOCAL.search(requirements) is not None
    copies = _FILES if all_first else "COPY component/requirements.txt ./"
    filled = {
        "build_args": "\n".join(f"ARG {name}" for name in sorted(build_args)),
        "packages": " ".join(packages),
        "needs_pip": "yes" if asks else "",
        "requirements": f"{copies}\n{_INSTALL}" if asks else "",
        "files": "" if all_first else _FILES,
        "media": f"COPY media/ {MEDIA_FOLDER}/" if media else "",
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filled.get(match[1], match[0]), template)


def set_base(text: str, base: str) -> str:
    """Fill the base into a template that is filled but for it."""
    return text.replace("{{base}}", base)


def says_something(requirements: str) -> bool:
    """Whether a requirements.txt has a line that is neither blank nor a comment."""
    return any(line.strip() and not line.strip().startswith("#") for line in requirements.splitlines())


def read_instructions(text: str) -> Iterator[Instruction]:
    """Give the instructions of a Dockerfile; what is no instruction is the builder's to complain of."""
    directive = re.match(r"\ufeff?(?:#[^\n]*\n)*?#\s*escape\s*=\s*(\S)", text)
    escape = directive[1] if directive else "\\"
    whole: list[str] = []
    first = 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        part = line.rstrip()
        first = first if whole else number
        whole.append(part.removesuffix(escape))
        if part.endswith(escape):
            continue
        word, _, rest = " ".join(whole).strip().partition(" ")
        whole.clear()
        yield Instruction(word=word.upper(), rest=rest.strip(), first=first, line=number)


def find_bases(text: str, build_args: Mapping[str, str]) -> list[str]:
    """Return the images that a Dockerfile names in FROM and COPY --from, in order; stages and scratch are none.

    A name that cannot be told, for it has a variable without a value, is left to the builder.
    """
    return list(dict.fromkeys(name for _, _, name in _named_images(text, build_args)))


def pin_bases(text: str, build_args: Mapping[str, str], pins: Mapping[str, str]) -> str:
    """Return a Dockerfile in which the images that pins names have the names that it gives them."""
    lines = text.removeprefix("\ufeff").splitlines()
    for one, written, name in _named_images(text, build_args):
        before = r"(?<=--from=)" if one.word == "COPY" else r"(?<!\S)"
        for number in range(one.first - 1, one.line):
            found = re.search(f"{before}{re.escape(written)}(?!\\S)", lines[number])
            if found:
                lines[number] = lines[number][: found.start()] + pins.get(name, name) + lines[number][found.end() :]
                break
    return "\n".join(lines) + "\n"


def _named_images(text: str, build_args: Mapping[str, str]) -> Iterator[tuple[Instruction, str, str]]:
    """Give each instruction that names an image, with the name as written and with its variables put in."""
    values: dict[str, str] = {}
    stages: set[str] = {"scratch"}
    begun = False
    for one in read_instructions(text):
        if one.word == "ARG" and not begun:
            for word in one.rest.split():
                name, _, default = word.partition("=")
                values[name] = build_args.get(name, _expand(default.strip("\"'"), values))
        elif one.word == "FROM":
            begun = True
            words = [word for word in one.rest.split() if not word.startswith("--")]
            if words and _is_image(name := _expand(words[0], values), stages):
                yield one, words[0], name
            if len(words) == 3 and words[1].lower() == "as":
                stages.add(words[2].lower())
        elif one.word == "COPY" and (match := re.match(r"(?:--\S+\s+)*?--from=(\S+)", one.rest)):
            if _is_image(match[1], stages):
                yield one, match[1], match[1]


def _is_image(name: str, stages: set[str]) -> bool:
    return bool(name) and "$" not in name and name.lower() not in stages and not name.isdecimal()


def _expand(text: str, values: Mapping[str, str]) -> str:
    """Put in $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other}."""

    def value(match: "re.Match[str]") -> str:
        known = values.get(match["plain"] or match["name"], "")
        if match["sign"] == "-":
            return known or match["word"]
        if match["sign"] == "+":
            return match["word"] if known else ""
        return known or match[0]

    return re.sub(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<sign>[-+])(?P<word>[^}]*))?\})", value, text)


def add_labels(text: str, first: str, last: str) -> str:
    """Return a Dockerfile with a label that is set first in every stage, and labels that are set last.

    By the first one whatever a build leaves can be told; the last ones say that an image is complete.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    for one in sorted(read_instructions(text), key=lambda one: one.line, reverse=True):
        if one.word == "FROM":
            lines.insert(one.line, f"LABEL {first}")
    return "\n".join([*lines, f"LABEL {last}"]) + "\n"
