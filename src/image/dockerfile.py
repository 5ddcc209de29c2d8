"""The Dockerfile of a component that has none of its own: the template, filled; pure."""

import re
from collections.abc import Sequence

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
