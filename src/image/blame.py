"""Which part of a component is to blame for a build that failed; pure."""

import re

from src.engine import explain_answer
from src.errors import ImageError
from src.image.recipe import Recipe

STEP = re.compile(r"Step (\d+/\d+) : (.*)", re.DOTALL)
"""What the engine says when it begins an instruction."""


def name_step(instruction: str) -> str:
    """Return a few words on what an instruction of a Dockerfile does."""
    if "zz_autopipe.pth" in instruction:
        packages = re.search(r"packages='([^']*)'", instruction)
        return f"install {packages[1]}" if packages and packages[1] else "prepare the system"
    if "-m pip install" in instruction and "PIP_ROOT_USER_ACTION" in instruction:
        return "install requirements.txt"
    words = " ".join(instruction.split())
    return words if len(words) <= 70 else f"{words[:67]}..."


def explain_failure(recipe: Recipe, step: str, error: str, tail: tuple[str, ...]) -> ImageError:
    """Return the error of a build: which part of the component is wrong, with the builder's own last lines."""
    name, folder = recipe.component, recipe.folder
    if "no space left on device" in error or any("No space left on device" in line for line in tail):
        return explain_answer("no space left on device")
    if "exec format error" in error + " ".join(tail):
        return ImageError(
            f"component {name}: this machine cannot run programs of the image's platform",
            details=(*tail, error),
            hint="set IMAGE_PLATFORM to its own, or let it run others: see docker's page on multi-platform builds",
        )
    if recipe.own:
        what, hint = f"its Dockerfile failed at {step.split(' : ')[0].lower()}", f"correct {folder / 'Dockerfile'}"
        if "BuildKit" in error:
            hint += ": the engine's own builder, which is used here, has no BuildKit"
        return ImageError(f"component {name}: {what}", details=(*_shown(step), *tail, error), hint=hint)
    if name_step(step) == "install requirements.txt":
        return ImageError(
            f"component {name}: its requirements could not be installed",
            details=tail or (error,),
            hint=f"correct {folder / 'requirements.txt'}; old pins may need the option `python:`",
        )
    if recipe.packages and "zz_autopipe.pth" in step:
        return ImageError(
            f"component {name}: its system packages could not be installed",
            details=(*(tail or (error,)), *_blamed_lines(recipe, tail)),
            hint=f"correct {folder / 'requirements.sys'}: each must be a package of the base image's Debian",
        )
    return ImageError(
        f"component {name}: its image could not be built",
        details=(*_shown(step), *tail, error),
        hint="see BASE_IMAGE, or the options `base_image:` and `python:` of the component",
    )


def _shown(step: str) -> tuple[str, ...]:
    begun = STEP.match(step)
    return (f"step {begun[1]}: {name_step(begun[2])}",) if begun else ()


def _blamed_lines(recipe: Recipe, tail: tuple[str, ...]) -> list[str]:
    """Return the lines of requirements.sys whose packages apt complains of."""
    blamed = [line for line in tail if line.startswith("E:")]
    words = {word.strip("'\",.") for line in blamed for word in line.split()}
    return [
        f"{recipe.folder / 'requirements.sys'}:{line}: {package}"
        for package, line in recipe.packages.items()
        if package in words or package.partition("=")[0] in words
    ]
