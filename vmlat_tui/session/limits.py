"""How long anybody waits for an agent, by what is waited for: the same for every command.

They are for the slowest that works: over ssh, on an emulated machine.  Whoever waits reads them
when the wait begins.
"""

from __future__ import annotations

#: From the start of an agent, or from what is requested of it, until the probes are in place: it
#: compiles, loads and attaches before.  So is its description of a host.
START_S = 240.0
#: The same of several agents at once: in the lab four compile on two processors.
START_ALL_S = 600.0
#: Until it has said which VMs there are.
LOOK_S = 180.0
#: After that, until libvirt has named a VM that the user names.
NAME_S = 6.0
#: After that, until its host has learned the addresses of a VM.
ADDRESS_S = 10.0
#: After that, until counters have been read twice, which makes rates of them.
RATES_S = 8.0
#: How long packets wait to be shown until it is known which VMs there are.
HOLD_S = 6.0
#: From the request to stop to the final statistics.
END_S = 30.0
