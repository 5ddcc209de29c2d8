"""Opens the cluster that the user's kubeconfig, or the pod that we run in, leads to."""

import contextlib
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.kube.api_server import ApiServer
from src.kube.cluster import Cluster
from src.kube.patience import Stop
from src.settings import Settings

CONNECTIONS = 16
IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def open_cluster(settings: Settings, stop: Stop | None = None) -> Cluster:
    """Return the cluster that KUBECONFIG and KUBE_CONTEXT say, or the one that we run in.

    Nothing is sent yet. Raises ConfigError when there is no such configuration or context.
    """
    import warnings

    import urllib3

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about itself
        from kubernetes import client, config  # noqa: TID251  # this is the door
    configuration = client.Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    if settings.kubeconfig or Path("~/.kube/config").expanduser().exists():
        _load_kubeconfig(config, settings, configuration)
    elif IN_CLUSTER.exists():
        config.load_incluster_config(configuration)
    else:
        raise ConfigError(
            "no cluster is set up on this machine: there is no kubeconfig",
            hint="set KUBECONFIG to the file that your cluster's administrator gave you",
        )
    if not configuration.verify_ssl:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was switched off in the kubeconfig
    return Cluster(ApiServer(client.ApiClient(configuration)), settings.kube_namespace, stop)


def _load_kubeconfig(config: Any, settings: Settings, configuration: Any) -> None:
    import yaml  # noqa: TID251  # its errors pass through the package

    place = settings.kubeconfig or "~/.kube/config"
    path = place if ":" in place else str(Path(place).expanduser())
    broken = (config.ConfigException, yaml.YAMLError, OSError, TypeError, KeyError, ValueError)
    try:
        config.load_kube_config(path, context=settings.kube_context, client_configuration=configuration)
    except broken as error:
        hint = "correct KUBECONFIG; `kubectl get pods` must work with it"
        with contextlib.suppress(*broken):
            names = ", ".join(str(one["name"]) for one in config.list_kube_config_contexts(path)[0][:10])
            hint = f"set KUBE_CONTEXT to one of its contexts: {names}"
        raise ConfigError(
            f"the kubeconfig {place} cannot be used: {' '.join(str(error).split())}", hint=hint
        ) from error
