"""Where the components of a DAG lie, of which commit they are, and the keys that follow from them."""

from collections.abc import Mapping
from pathlib import Path

from src.components import component_sum, locate_components
from src.dag import Dag
from src.errors import FetchError
from src.plan import Plan, step_key
from src.settings import ROOT, Settings
from src.step import SAVE_MEDIA
from src.sums import SumMemory


def find_folders(dag: Dag, settings: Settings) -> dict[str, Path]:
    """Return the folder of each step's component, save-media included; raises FetchError when one is not here."""
    return {SAVE_MEDIA: ROOT / "src" / SAVE_MEDIA, **(_fetched(dag, settings) or locate_components(dag, settings, {}))}


def _fetched(dag: Dag, settings: Settings) -> dict[str, Path]:
    if not dag.repository:
        return {}
    from src.fetch import fetched_folders  # with all that Git needs, which runs without a repository need not wait for
    from src.repository.url import clean_url

    folders = fetched_folders(dag, settings)
    if folders is None:
        raise FetchError(
            f"the components of {clean_url(dag.repository)} are not here yet",
            hint=f"fetch them: python3 download_components.py -i {dag.path}",
        )
    return folders


def origin_of(dag: Dag, settings: Settings) -> dict[str, str | None]:
    """Return the repository that the components come from and its commit, None where there is none."""
    if not dag.repository:
        return {"repository": None, "commit": None}
    from src.fetch import fetched_commit
    from src.repository.url import clean_url

    return {"repository": clean_url(dag.repository), "commit": fetched_commit(dag, settings)}


def component_sums(folders: Mapping[str, Path], settings: Settings) -> dict[str, str]:
    """Return the sum of each component; see component_sum."""
    with SumMemory(settings.cache_dir) as memory:
        return {name: component_sum(name, folder, memory) for name, folder in folders.items()}


def step_keys(plan: Plan, sums: Mapping[str, str], environments: Mapping[str, str]) -> dict[str, str]:
    """Return the known part of each step's keys, for the steps whose environment is known."""
    return {
        step.name: step_key(sums[step.name], environments[step.name], step.options)
        for step in plan.steps
        if step.name in environments
    }
