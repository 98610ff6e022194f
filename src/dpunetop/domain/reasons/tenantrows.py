"""Rows of what a person has to do about the tenant's API server, and about credentials."""

from __future__ import annotations

from dpunetop.domain.reasons.rows import Rows

TENANT_ROWS: Rows = {
    "AddressRefused": (
        "the kubeconfig names an address that the operator never connects to",
        "add the address to --tenant-allowed-cidrs, if it is a tenant's",
    ),
    "BadAnswer": (
        "the server's answer is not one of the Kubernetes API",
        "see which server answers at the address of the kubeconfig",
    ),
    "CertificateExpired": (
        "which certificate of the tenant's databases ended, and when",
        "have the tenant's cluster network operator renew it: `oc describe co network` there says what keeps it",
    ),
    "CertificateExpiresSoon": (
        "which certificate of the tenant's databases ends within seven days, and when",
        "have the tenant's cluster network operator renew it: `oc describe co network` there says what keeps it",
    ),
    "CredentialExpiresSoon": (
        "until when the given kubeconfig is good",
        "put a new kubeconfig into the Secret that the message names",
    ),
    "CredentialShortLived": (
        "the minted token expires sooner than an operator may be down",
        "raise the longest lifetime of ServiceAccount tokens in the tenant (--service-account-max-token-expiration)",
    ),
    "DNS": (
        "the name of the tenant's API server is not resolved",
        "correct the server in the kubeconfig, or add its name to infra's DNS",
    ),
    "Expired": ("when the credential ended", "put a new kubeconfig into the Secret that the message names"),
    "IdentityInDoubt": (
        "the tenant shows the identity of two clusters in turn",
        "see which clusters answer at the address of the kubeconfig",
    ),
    "InvalidKubeconfig": (
        "which member of the kubeconfig is refused, and why",
        "correct the kubeconfig in the Secret that the message names",
    ),
    "LeftInTenant": (
        "which objects stay in the tenant after the DpuClusterConfig is gone",
        "run the `sweep` command of the message once the tenant can be read",
    ),
    "MintedWithoutRights": (
        "which rights the operator's ServiceAccount lacks in the tenant",
        "apply deploy/tenant-rights.yaml in the tenant again",
    ),
    "MintingForbidden": (
        "which rights the given kubeconfig lacks to mint a token",
        "apply deploy/tenant-rights.yaml in the tenant again, or set spec.tenantCredential",
    ),
    "NoKubeconfig": (
        "no kubeconfig has worked yet",
        "see CredentialsValid and TenantReachable; spec.kubeConfigFile has to name a Secret with one that works",
    ),
    "NotAdmitted": (
        "which write of the DPU pods the tenant's admission refuses, in its own words",
        "start ovnkube-identity with --extra-allowed-user, as the message says",
    ),
    "NotTried": ("the tenant could not be asked", "see why the tenant does not answer"),
    "NotVerified": (
        "the tenant did not answer, so the kubeconfig is not verified",
        "see why the tenant does not answer",
    ),
    "Refused": (
        "nothing listens at the address of the tenant's API server",
        "see whether the tenant's API server is up, and whether the kubeconfig names its address",
    ),
    "RequestFailed": (
        "which request a server does not carry out, and its answer",
        "look at the server and its admission webhooks",
    ),
    "Reset": (
        "the connection to the tenant's API server breaks off",
        "see whether the tenant's API server is up, and what lies on the way to it",
    ),
    "Revoked": (
        "the tenant rejects the credential of the DPU pods",
        "put a good kubeconfig into the Secret that the message names",
    ),
    "SecretNotFound": (
        "the Secret that spec.kubeConfigFile names does not exist",
        "create the Secret that spec.kubeConfigFile names",
    ),
    "ServingCertificateExpiresSoon": (
        "when the certificate of the tenant's API server ends; nothing connects to it from then on",
        "have the tenant's administrator renew the serving certificate of its API server",
    ),
    "TenantIsInfra": ("the kubeconfig leads to infra itself", "put a kubeconfig of the tenant into the Secret"),
    "TenantNotEngaged": ("the tenant has no valid credential", "see CredentialsValid"),
    "TenantNotRead": (
        "the tenant's objects are not read; what runs stays as it is",
        "see TenantReachable and CredentialsValid",
    ),
    "TenantSwapped": (
        "another cluster answers behind the kubeconfig",
        "put the old tenant's kubeconfig back, or accept the new one as the message says",
    ),
    "TenantUnanswered": ("the tenant answered a question with an error", "see why the tenant does not answer"),
    "TenantUnauthorized": (
        "which right the operator lacks in the tenant",
        "apply deploy/tenant-rights.yaml in the tenant again",
    ),
    "TenantUnreachable": ("the tenant's API server does not answer", "repair the way to the tenant's API"),
    "Timeout": (
        "the tenant's API server does not answer in time",
        "see whether the tenant's API server is up, and the way to it",
    ),
    "TLS": (
        "the server's certificate is not one that the kubeconfig trusts",
        "see whether that certificate has ended, and whether the kubeconfig has its certificate authority",
    ),
    "TokenNotAccepted": (
        "the tenant does not accept the token that it has just given",
        "look at the tenant's API servers",
    ),
    "Unreachable": (
        "no verified TLS connection to the tenant's API server can be made",
        "repair the way to the tenant's API",
    ),
}
