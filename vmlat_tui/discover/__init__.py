"""What is on this host: VMs, network interfaces, switches, and the ways between them."""
