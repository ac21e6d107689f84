"""vmlat: an interactive investigator of VM network latency on KVM hypervisors."""

__version__ = "0.1.0"
