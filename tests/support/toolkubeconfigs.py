"""Kubeconfigs as the tools make them that people get theirs from. Source: the tools that are named."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.pki import pair

TOKEN = "sha256~abcdefghijklmnopqrstuvwxyz-0123456789_ABCDE"
SERVER = "https://api.tenant.example:6443"
CA_PEM, CERT_PEM, KEY_PEM = pair("ca").cert, pair("u").cert, pair("u").key


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CA, CERT, KEY = b64(CA_PEM), b64(CERT_PEM), b64(KEY_PEM)
_PRIVATE = serialization.load_pem_private_key(KEY_PEM, None)
assert isinstance(_PRIVATE, ec.EllipticCurvePrivateKey)
SEC1 = _PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
"""Of the curve P-256, as `openssl ecparam -genkey` puts them before the key."""

TOOLS = {
    "kind": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: https://127.0.0.1:41231
  name: kind-tenant
contexts:
- context:
    cluster: kind-tenant
    user: kind-tenant
  name: kind-tenant
current-context: kind-tenant
kind: Config
preferences: {{}}
users:
- name: kind-tenant
  user:
    client-certificate-data: {CERT}
    client-key-data: {KEY}
""",
    "kubeadm admin.conf": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: https://10.0.0.5:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
users:
- name: kubernetes-admin
  user:
    client-certificate-data: {CERT}
    client-key-data: {b64(SEC1)}
""",
    "oc login": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: {SERVER}
  name: api-tenant-example:6443
contexts:
- context:
    cluster: api-tenant-example:6443
    namespace: default
    user: kube:admin/api-tenant-example:6443
  name: default/api-tenant-example:6443/kube:admin
current-context: default/api-tenant-example:6443/kube:admin
kind: Config
preferences: {{}}
users:
- name: kube:admin/api-tenant-example:6443
  user:
    token: {TOKEN}
""",
    "openshift-install auth/kubeconfig": f"""clusters:
- cluster:
    certificate-authority-data: {b64(CA_PEM + pair("ca2").cert + pair("ca3").cert)}
    server: {SERVER}
  name: tenant
contexts:
- context:
    cluster: tenant
    user: admin
  name: admin
current-context: admin
preferences: {{}}
users:
- name: admin
  user:
    client-certificate-data: {CERT}
    client-key-data: {KEY}
""",
    "minikube --embed-certs": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    extensions:
    - extension:
        last-update: Mon, 02 Nov 2026 10:11:12 UTC
        provider: minikube.sigs.k8s.io
        version: v1.36.0
      name: cluster_info
    server: https://192.168.49.2:8443
  name: minikube
contexts:
- context:
    cluster: minikube
    extensions:
    - extension:
        last-update: Mon, 02 Nov 2026 10:11:12 UTC
        provider: minikube.sigs.k8s.io
        version: v1.36.0
      name: context_info
    namespace: default
    user: minikube
  name: minikube
current-context: minikube
kind: Config
preferences: {{}}
users:
- name: minikube
  user:
    client-certificate-data: {CERT}
    client-key-data: {KEY}
""",
    "k3s": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user:
    client-certificate-data: {b64(CERT_PEM + CA_PEM)}
    client-key-data: {b64(SEC1)}
""",
    "Rancher": f"""apiVersion: v1
kind: Config
clusters:
- name: "tenant"
  cluster:
    server: "https://rancher.example/k8s/clusters/c-m-abcdefgh"
    certificate-authority-data: "{CA[:64]}\\
      {CA[64:]}"
users:
- name: "tenant"
  user:
    token: "kubeconfig-user-abcde:abcdefghijklmnopqrstuvwxyz0123456789"
contexts:
- name: "tenant"
  context:
    user: "tenant"
    cluster: "tenant"
current-context: "tenant"
""",
    "GKE, with a token": f"""apiVersion: v1
kind: Config
current-context: gke_project_europe-west1_tenant
contexts: [{{name: gke_project_europe-west1_tenant, context: {{cluster: gke, user: gke}}}}]
clusters:
- name: gke
  cluster: {{server: "https://203.0.113.7", certificate-authority-data: {CA}}}
users:
- name: gke
  user:
    auth-provider: null
    token: {TOKEN}
""",
    "EKS, with a token": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: https://0123456789ABCDEF0123456789ABCDEF.gr7.eu-west-1.eks.amazonaws.com
  name: arn:aws:eks:eu-west-1:123456789012:cluster/tenant
contexts:
- context:
    cluster: arn:aws:eks:eu-west-1:123456789012:cluster/tenant
    user: arn:aws:eks:eu-west-1:123456789012:cluster/tenant
  name: arn:aws:eks:eu-west-1:123456789012:cluster/tenant
current-context: arn:aws:eks:eu-west-1:123456789012:cluster/tenant
kind: Config
preferences: {{}}
users:
- name: arn:aws:eks:eu-west-1:123456789012:cluster/tenant
  user:
    exec: null
    token: {TOKEN}
""",
    "a script for a ServiceAccount": f"""apiVersion: v1
kind: Config
clusters:
  - name: default-cluster
    cluster:
      certificate-authority-data: {CA}
      server: {SERVER}
contexts:
  - name: default-context
    context:
      cluster: default-cluster
      namespace: kube-system
      user: default-user
current-context: default-context
users:
  - name: default-user
    user:
      token: eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2ln_bmF0-dXJl
""",
    "kubelet, flattened": f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: {SERVER}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate-data: {b64(CERT_PEM + SEC1)}
    client-key-data: {b64(CERT_PEM + SEC1)}
""",
    "marshalled by a program, with all its members": f"""apiVersion: v1
clusters:
- cluster:
    LocationOfOrigin: ""
    certificate-authority: ""
    certificate-authority-data: {CA}
    disable-compression: false
    extensions: null
    insecure-skip-tls-verify: false
    proxy-url: ""
    server: {SERVER}
    tls-server-name: ""
  name: c
contexts:
- context:
    LocationOfOrigin: ""
    cluster: c
    extensions: null
    namespace: ""
    user: u
  name: x
current-context: x
extensions: null
kind: Config
preferences:
  colors: false
  extensions: null
users:
- name: u
  user:
    as: ""
    as-groups: null
    as-uid: ""
    as-user-extra: null
    auth-provider: null
    client-certificate: ""
    client-certificate-data: {CERT}
    client-key: ""
    client-key-data: {KEY}
    exec: null
    extensions: null
    password: ""
    token: ""
    tokenFile: ""
    username: ""
""",
    "a playbook, with a block": f"""apiVersion: v1
kind: Config
clusters:
- name: tenant
  cluster:
    server: {SERVER}/
    insecure-skip-tls-verify: False
    certificate-authority-data: |
      {CA[:76]}
      {CA[76:]}
contexts:
- name: tenant
  context: {{cluster: tenant, user: tenant}}
current-context: tenant
users:
- name: tenant
  user:
    token: >-
      {TOKEN}
""",
    "kcp, by a path": f"""apiVersion: v1
kind: Config
clusters:
- name: root
  cluster: {{server: "https://kcp.example:6443/clusters/root:org:team", certificate-authority-data: {CA}}}
contexts:
- {{name: root, context: {{cluster: root, user: admin}}}}
current-context: root
users:
- {{name: admin, user: {{token: {TOKEN}}}}}
""",
}
