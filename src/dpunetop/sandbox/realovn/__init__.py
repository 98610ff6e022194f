"""The real OVN and Open vSwitch, which our pods run beside `ovnkube`, on one machine in namespaces of their own."""
