"""What talks to the cluster: the login and the REST interface of Kubeflow Pipelines, its volume and its pods."""
