"""vmlat: an interactive investigator of VM network latency on KVM hypervisors."""

import logging

__version__ = "0.1.0"

# Nothing is logged until somebody asks for it (vmlat_tui.log).
logging.getLogger(__name__).setLevel(logging.CRITICAL + 1)
