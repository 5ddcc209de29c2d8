"""Looks at what a run is given, media, components and Pythons, before anything is written."""

from src.dag import Dag
from src.media_files import find_media
from src.plan import make_plan
from src.settings import Settings
from src.sources import component_sums, find_folders
from src.targets import process


def check_inputs(dag: Dag, settings: Settings, target: str) -> None:
    """Raise ConfigError or FetchError for what a run could not begin with; what stage 2 fetches is not looked at."""
    find_media(dag.media)
    if target == "kubeflow":
        from src.targets.kubeflow import check_settings

        check_settings(make_plan(dag), settings)
    if dag.repository:
        return
    folders = find_folders(dag, settings)
    component_sums(folders, settings)
    if target == "process":
        process.environments(make_plan(dag), folders, settings, make=False)
