"""The instructions of a Dockerfile: the images that it is built on, pinned; the labels that we add; pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined; lines are counted from 1."""

    word: str  # upper case
    rest: str
    first: int
    line: int  # the last one


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
        elif one.word == "COPY":
            match = re.match(r"(?:--\S+\s+)*?--from=(\S+)", one.rest)
            if match and _is_image(match[1], stages):
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
