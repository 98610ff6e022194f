"""Render the Helm chart from the kustomizations of config/: python -m hack.chart KUBECTL FOLDER

The output of kustomize becomes templates by text replacement: each field that a value sets is replaced by a template
expression. A replacement without a match is an error. So the chart has no manifest of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from dpunetop import __version__

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "files"
NAMESPACE = "openshift-dpu-network-operator"

# The parameters of components: each placeholder is a unique word, replaced by the expression that reads its value.
TENANT_NAMESPACE, TENANT_KUBECONFIG, POOLS, NODE_LABEL = (f"parameter-{number}" for number in range(4))
READERS = {
    NAMESPACE: "$.Release.Namespace",
    TENANT_NAMESPACE: ".namespace",
    TENANT_KUBECONFIG: ".kubeConfigFile",
    POOLS: "$.Values.admission.pools",
    NODE_LABEL: "$.Values.admission.nodeLabel",
}
TENANT = {"dpunetop-tenant": {"namespace": TENANT_NAMESPACE, "kubeConfigFile": TENANT_KUBECONFIG}}
ADMISSION = {"dpunetop-admission": {"namespace": NAMESPACE, "pools": POOLS, "nodeLabel": NODE_LABEL}}
DEPLOYMENT = {
    r"^  replicas: 2$": "  replicas: {{ .Values.replicas }}",
    r"^( +image: )registry\.example/dpunetop:\S+$": r'\1{{ include "dpunetop.image" . | quote }}',
    r"^( +- --health-probe-bind-address=\S+)$": (
        "\\1\n{{- with .Values.extraArgs }}\n{{ toYaml . | indent 8 }}\n{{- end }}"
    ),
    r"^( +- name: TENANT_NAMESPACE\n +value: )\S+$": (
        "\\1{{ .Values.tenantNamespace | quote }}\n{{- with .Values.ovnkubeImage }}\n"
        "        - name: OVNKUBE_IMAGE\n          value: {{ . | quote }}\n{{- end }}"
    ),
    r'^( +- name: ALLOWED_IMAGES\n +value: )""$': r'\1{{ join "," .Values.allowedImages | quote }}',
    r"^        resources:\n(?:          .*\n)+": "        resources:\n{{ toYaml .Values.resources | indent 10 }}\n",
}
KEPT = ("CustomResourceDefinition", "Namespace")
"""Kinds that outlive the release: deleting them would delete the DpuClusterConfigs before their hosts are led out."""
KEEP = {r"^metadata:$": "metadata:\n  annotations:\n    helm.sh/resource-policy: keep"}


class NotAsExpected(Exception):
    """config/ has changed and a replacement has no match; the text holds the pattern."""


def kustomize(kubectl: str, folders: Iterable[str], parameters: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The rendered documents of folders of config/; the first is the resource, the others are components."""
    with tempfile.TemporaryDirectory() as out:
        here = [os.path.relpath(ROOT / "config" / name, out) for name in folders]
        maps = [f"{name}.json" for name in parameters]
        for name, data in parameters.items():
            metadata = {"name": name, "annotations": {"config.kubernetes.io/local-config": "true"}}
            Path(out, f"{name}.json").write_text(
                json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
            )
        resources, components = ([], here) if parameters else (here[:1], here[1:])
        Path(out, "kustomization.yaml").write_text(
            json.dumps({"kind": "Kustomization", "resources": maps + resources, "components": components})
        )
        printed = subprocess.run([kubectl, "kustomize", out], capture_output=True, text=True, check=True).stdout
    return printed.split("---\n")


def kind(document: str) -> str:
    """The kind of a document."""
    return next(line for line in document.splitlines() if line.startswith("kind: ")).removeprefix("kind: ")


def changed(document: str, changes: Mapping[str, str]) -> str:
    """A document with all replacements. Raises: NotAsExpected unless each has exactly one match."""
    for pattern, replacement in changes.items():
        document, count = re.subn(pattern, replacement, document, flags=re.MULTILINE)
        if count != 1:
            raise NotAsExpected(f"{kind(document)}: {pattern!r} is there {count} times")
    return document


def template(document: str) -> str:
    """A document as a template, with template expressions in place of values."""
    text = document.replace("{{", "{{ `{{` }}")
    for word, reader in READERS.items():
        text = re.sub(rf"((?:: |- )){word}$", rf"\1{{{{ {reader} | quote }}}}", text, flags=re.MULTILINE)
        text = text.replace(word, f"{{{{ {reader} }}}}")
    return text


def kept(document: str) -> str:
    """The template with the annotation that keeps its object after an uninstall, if it is of such a kind."""
    return changed(document, KEEP) if kind(document) in KEPT else document


def joined(documents: Iterable[str], begin: str = "", end: str = "") -> str:
    """One template of several documents, between two lines."""
    return begin + "---\n".join(documents) + end


def if_true(value: str, documents: Iterable[str]) -> str:
    """A template that is rendered only if a value is true."""
    return joined(documents, f"{{{{- if {value} }}}}\n", "{{- end }}\n")


def deployment(documents: Iterable[str]) -> str:
    """The operator's Deployment, as a template."""
    [found] = [document for document in documents if kind(document) == "Deployment"]
    return changed(template(found), DEPLOYMENT)


def templates(kubectl: str) -> dict[str, str]:
    """Each template by its file. Raises: NotAsExpected; subprocess.CalledProcessError."""
    plain = kustomize(kubectl, ("default",), {})
    host_network = kustomize(kubectl, ("default", "host-network"), {})
    beyond = {name: set(kustomize(kubectl, ("default", name), {})) - set(plain) for name in ("egress", "host-network")}
    rest = [each for each in plain if kind(each) not in (*KEPT, "Deployment")]
    definitions = [kept(template(each)) for each in plain if kind(each) == "CustomResourceDefinition"]
    namespaces = [kept(template(each)) for each in plain if kind(each) == "Namespace"]
    [policy] = beyond["egress"]
    [binding] = [each for each in beyond["host-network"] if kind(each) != "Deployment"]
    monitoring = kustomize(kubectl, ("prometheus",), {})
    tenant = [kept(template(each)) for each in kustomize(kubectl, ("tenant-namespace",), TENANT)]
    admission = kustomize(kubectl, ("admission",), ADMISSION)
    both = (
        "{{- if .Values.hostNetwork }}\n"
        + deployment(host_network)
        + "{{- else }}\n"
        + deployment(plain)
        + "{{- end }}\n"
    )
    return {
        "crds.yaml": if_true(".Values.crds.install", definitions),
        "namespace.yaml": if_true(".Values.namespace.create", namespaces),
        "operator.yaml": joined(map(template, rest)),
        "deployment.yaml": both,
        "host-network.yaml": if_true(".Values.hostNetwork", [template(binding)]),
        "egress.yaml": if_true(".Values.egressPolicy", [template(policy)]),
        "monitoring.yaml": if_true(".Values.monitoring.enabled", map(template, monitoring)),
        "admission.yaml": if_true(".Values.admission.enabled", map(template, admission)),
        "tenants.yaml": joined(tenant, "{{- range .Values.tenants }}\n---\n", "{{- end }}\n"),
    }


def main(kubectl: str, folder: str) -> int:
    """Write the chart, or print why not."""
    out = Path(folder)
    try:
        written = templates(kubectl)
    except NotAsExpected as error:
        print(f"config/ has changed and the chart no longer fits; adapt hack/chart: {error}", file=sys.stderr)
        return 1
    shutil.copytree(FILES, out)
    for name, text in written.items():
        head = "{{- /* Rendered from config/ by `make manifests`. Change it there. */ -}}\n"
        (out / "templates" / name).write_text(head + text)
    chart = out / "Chart.yaml"
    chart.write_text(chart.read_text().replace("VERSION", __version__))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
