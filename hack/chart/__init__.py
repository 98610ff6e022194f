"""The Helm chart, rendered from the kustomizations of config/: python -m hack.chart KUBECTL FOLDER"""
