"""The Helm chart, made from the kustomize bundle: ``make chart`` writes k8s/chart/ and k8s/install.yaml."""
