/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host path of a VM's packets, both directions, one state per packet.
 *
 * No kernel header is included: STEPS, BINS, … come from vmlat_tui/model, the SKB_* and
 * NETDEV_* offsets from the running kernel's BTF (vmlat_tui/probes/offsets.py).
 *
 * Life of a packet: start() at vnet_rx (TX) or phy_rx (RX) claims the state stored under the
 * address of its socket buffer; hit() stamps each later step after checking that the content
 * is still that packet's; finish() books it into exactly one bin.  A packet whose socket buffer
 * is replaced on the way (upcall, software segmentation) is park()ed under its content
 * and adopt()ed by the new one.
 *
 * With vhost a received packet goes on after its socket buffer is freed: put_into_ring() keeps its
 * state by worker and number, end_signal() books it when the guest was interrupted.
 *
 * States are never deleted here: a finished one stays under its address, inactive, and the next
 * packet with that address re-uses it in place, which costs one lookup in place of an
 * insertion and a deletion.  User space removes those long unused.
 */
#include <vmlat/record.h>

#define BOTH 2 /* beside TX and RX */

#define PACKET_HOST 0

/*
 * What user space reads while packets run, it maps into its memory: one element per processor,
 * or per processor, vNIC and leg.  While it looks an element up through the system call, the kernel
 * skips kprobes on that processor, and the packet just passing loses a point.
 */
#define MAPPED(type, name) BPF_F_TABLE("array", u32, type, name, 1, 1 << 10)

/* Sizes of 1 are given by user space when it creates the maps. */
BPF_HASH(packets, u64, struct packet, 1);
BPF_HASH(parked, struct content, struct packet, 1);
BPF_HASH(tun_entries, u32, struct entry, 1);
BPF_ARRAY(parked_count, u64, 1);
BPF_ARRAY(roles, struct role, ROLE_SLOTS);
BPF_HASH(roles_beside, u32, struct role, 1);
BPF_ARRAY(rulesets, struct rules, 2);
BPF_ARRAY(controls, struct control, 1);
BPF_ARRAY(leg_tables, struct leg_table, 1);
BPF_ARRAY(blank, struct packet, 1);
BPF_ARRAY(rate, u64, 2);
BPF_PERCPU_ARRAY(gro_held, struct gro, GRO_SLOTS);
BPF_PERCPU_ARRAY(at_switch, u64, 1);
MAPPED(struct stats, statistics);
MAPPED(struct leg, legs);
MAPPED(u64, absences);
BPF_HASH(flows, struct flow_key, struct flow_value, 1);
BPF_HASH(drops, struct drop_key, u64, 1);
BPF_RINGBUF_OUTPUT(events, 1);
BPF_HASH(taken, u64, struct packet, 1);
BPF_HASH(works, u64, struct work, 1);
BPF_HASH(workers, u32, struct worker, 1);
BPF_HASH(vcpus, u32, struct vcpu, 1);
BPF_HASH(wakes, u32, struct wake, 1);
BPF_ARRAY(vcpu_threads, u32, 1);
BPF_ARRAY(watched, u32, WATCH_ROOM);
BPF_ARRAY(handed, u32, WATCH_ROOM);
BPF_ARRAY(exits, u64, WATCH_ROOM);
BPF_ARRAY(blank_worker, struct worker, 1);
BPF_ARRAY(blank_wake, struct wake, 1);
BPF_PERCPU_ARRAY(contexts, struct context, 1);

#include "lib/program.h"
#include "lib/parse.h"
#include "lib/lookup.h"
#include "lib/filter.h"
#include "lib/account.h"
#include "lib/packet.h"
#include "lib/threads.h"
#include "lib/worker.h"

/* The programs, by the subsystem that they observe.  They are compiled in three parts at the same
 * time. */
#if PART == 1
#include "probes/net.bpf.c"
#if FUNCTIONS
#include "probes/bridge.bpf.c"
#include "probes/ovs.bpf.c"
#endif
#elif PART == 2
#include "probes/skb.bpf.c"
#if FUNCTIONS
#include "probes/tun.bpf.c"
#endif
#if TP_DIRECT
#include "lib/iterators.h"
#endif
#elif PART == 3 && FUNCTIONS
#include "probes/vhost.bpf.c"
#include "probes/eventfd.bpf.c"
#include "probes/kvm.bpf.c"
#include "probes/sched.bpf.c"
#include "probes/power.bpf.c"
#endif
