"""The real OVN and Open vSwitch on one machine, in namespaces of their own: what our pods run beside `ovnkube`."""
