"""CustomResourceDefinitions of the operators beside ours, with the true schemas of all fields that are used here."""

from __future__ import annotations

from pathlib import Path

MACHINE_CONFIGURATION = Path(__file__).with_name("machineconfiguration.yaml")
"""MachineConfig and MachineConfigPool, for the infra cluster."""

NODE_MAINTENANCE = Path(__file__).with_name("nodemaintenance.yaml")
"""NodeMaintenance, for the tenant cluster, with a policy that refuses a second one for a node."""

CLUSTER_VERSION = Path(__file__).with_name("clusterversion.yaml")
"""ClusterVersion, for the tenant cluster."""

NETWORK = Path(__file__).with_name("network.yaml")
"""Network, for the infra cluster."""
