"""What runs inside the lab's hypervisor: its boot, its scenarios and its guests.

Standard library and the distribution's ``libvirt`` only; nothing here runs on the user's machine.
"""
