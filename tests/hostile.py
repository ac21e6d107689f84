"""Command lines of processes that mean no good: any user can start each of them."""

from __future__ import annotations

#: Case -> arguments.  A real QEMU would have refused to start with the odd ones.
ODD: dict[str, tuple[str, ...]] = {
    "vcpus": ("-smp", "3000000"),
    "product of vCPUs": ("-smp", "sockets=4000,cores=4000"),
    "superscript": ("-smp", "²"),
    "digits": ("-smp", "9" * 5000),
    "JSON number": ("-smp", '{"cpus":' + "9" * 4000 + "}"),
    "nodes": ("-object", "memory-backend-ram,policy=bind,host-nodes=0-5000000"),
    "superscript of a node": ("-object", "memory-backend-ram,policy=bind,host-nodes=²"),
    "superscript of an MTU": ("-netdev", "tap,id=n,fd=³", "-device",
                              "virtio-net,netdev=n,host_mtu=²"),
    "infinite memory": ("-m", "9" * 400),
    "infinite terabytes": ("-m", "9" * 308 + "T"),
    "memory of 64 bits": ("-m", "99999999999999T"),
    "queues": ("-netdev", "tap,id=n,ifname=x,vhost=on,queues=99999999", "-device",
               "virtio-net,netdev=n"),
    "deep machine": ("-machine", '{"type":' + "[" * 900 + "]" * 900 + "}"),
    "deep name": ("-name", '{"guest":' + "[" * 700 + "]" * 700 + "}"),
    "very deep name": ("-name", '{"guest":' + "[" * 60000 + "]" * 60000 + "}"),
    "long name": ("-name", "guest=" + "x" * 9000),
    "vNICs": tuple(w for i in range(3000) for w in
                   ("-netdev", f"tap,id=n{i},ifname=v{i}", "-device", f"virtio-net,netdev=n{i}")),
    "model": ("-netdev", "tap,id=n", "-device", "virtio-net-" + "-a" * 60000 + "!,netdev=n"),
    "long line": ("x" * 120000,) * 2,
    "interface": ("-netdev", "tap,id=n,ifname=" + "x" * 500, "-device", "virtio-net,netdev=n"),
    "address": ("-netdev", "tap,id=n", "-device", "virtio-net,netdev=n,mac=" + "a" * 9000),
    "UUID": ("-uuid", "x" * 9000),
}  # fmt: skip
#: What is no oddity, but no name that a screen should show as it is, or no name of his.
NASTY: dict[str, tuple[str, ...]] = {
    "plain": ("-name", "guest=evil", "-m", "64"),
    "escapes": ("-name", "guest=\x1b[2J\x1b]0;owned\x07[red]x[/red]\u202eRTL\u2066\x9b31m"),
    "lines": ("-name", "guest=a\nvmlat: all is well\rroot#"),
    "no text": ("-name", "guest=\udcff\udcfe\udc80"),
    "object for a name": ("-name", '{"guest":{"a":1}}'),
}
CASES = {**ODD, **NASTY}
