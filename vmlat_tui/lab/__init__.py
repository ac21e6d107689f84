"""The built-in hypervisor: a software-emulated machine that runs real KVM guests."""
