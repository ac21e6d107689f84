/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The structures that the BPF programs share with user space, which reads their layout from here
 * (vmlat_tui/probes/records.py): one member a line, no holes, types u8 to u64, char, struct.
 *
 * The numbers that come from the model (steps, legs, buckets, bins) are macros given at compile
 * time, so that there is one definition of each, in vmlat_tui/model.
 */
#ifndef VMLAT_RECORD_H
#define VMLAT_RECORD_H

/* The 5-tuple.  IPv4 addresses are in the first four bytes, the rest is zero.
 * Addresses and ports are in network byte order; ICMP echo has its id in both ports. */
struct flow {
	u64 src[2];
	u64 dst[2];
	u16 sport;
	u16 dport;
	u8 proto;
	u8 version; /* 4 or 6 */
	u16 pad;
};

/* One packet on its way.  Keyed by the address of its socket buffer; t[s] is valid
 * only where bit s of seen is set. */
struct packet {
	u64 skb;
	struct flow flow;
	u64 t[STEPS];	   /* bpf_ktime_get_ns at each step */
	u16 cpu[STEPS];	   /* processor at each step, when detail is on */
	u8 hook[STEPS];	   /* which of the point's hooks fired */
	u32 seen;
	u32 id1;	   /* content identity, see identify() */
	u32 id2;
	u32 bytes;	   /* length of the frame at the first step */
	u32 vm_ifindex;
	u32 phy_ifindex;
	u32 tgid;	   /* the task at the first step */
	u32 tid;
	char comm[16];
	u32 reason;	   /* of a drop: enum skb_drop_reason, 0 where the kernel has none */
	u16 slot;	   /* of the vNIC */
	u8 direction;
	u8 last;	   /* last step passed */
	u8 active;	   /* the packet is in flight */
	u8 bin;		   /* where it ended */
	u8 parked;	   /* waits for a new socket buffer (upcall, segmentation) */
	u8 first;	   /* first step passed */
	u32 cursor;	   /* work of book_legs() */
	u32 kicker;	   /* the thread that kicked the queue */
	u32 worker;	   /* the vhost worker */
	u32 vcpu;	   /* the thread of the interrupted vCPU */
	u8 absent[2];	   /* why points are absent (number + 1): before tun or vhost, and after */
	u8 gap[2];
	u64 passed_ns;	   /* the legs booked so far, while it is in the guest's ring */
	u64 location;	   /* of a drop: the address that freed it */
	u64 stack[DROP_FRAMES];
};

/* Identity of a packet whose socket buffer is about to be replaced. */
struct content {
	struct flow flow;
	u32 id1;
	u32 id2;
	u32 payload;
	u32 pad;
};

/* What an interface is to the measurement. */
struct role {
	u32 ifindex;	   /* the place in the array holds this interface, or none (0) */
	u16 slot;	   /* of the vNIC */
	u8 kind;
	u8 join_task;	   /* tun delivers in the sender's task (not IFF_NAPI) */
	u32 netns;	   /* inode of the namespace: interface numbers are unique in one only */
};

/* One condition of a filter; a field whose bit is not set in `fields` matches all. */
struct rule {
	struct flow flow;
	u32 fields;
	u32 either;	   /* also match the mirrored packet */
};

struct rules {
	u32 count;	   /* 0: everything matches */
	u32 pad;
	struct rule rule[RULES];
};

struct control {
	u32 active_rules;  /* index of the rule set in force */
	u32 directions;	   /* bit 0 TX, bit 1 RX; 0: nothing starts */
	u32 detail;	   /* record processor and task of each packet */
	u32 switched;	   /* the uplink is a port of the switch: skip frames for the host itself */
	u32 emit;	   /* EMIT_* */
	u32 sample;	   /* every n-th packet */
	u32 max_rate;	   /* packets a second given to user space; 0: no limit */
	u32 tun_tracepoint; /* tun_net_xmit has no kprobe: stamp tun_out at net_dev_start_xmit */
	u64 threshold_ns;
	u64 crowded;	   /* the table is full: finished states are deleted; set here */
};

/* A vhost work: a queue's kick, or a socket that became readable. */
struct work {
	u64 exit_t;	   /* the guest left for the first kick since it ran last */
	u64 kick_t;	   /* that kick */
	u64 woken_t;	   /* it woke the worker */
	u32 kicker;
	u32 worker;
	u32 kind;	   /* WORK_* */
	u32 cpu;	   /* of the kick */
};

/* One signal for the packets that a worker put into the guest's ring; a time of 0: not passed. */
struct signal {
	u64 signal_t;
	u64 eventfd_t;
	u64 irqfd_t;
	u64 accept_t;
	u64 woken_t;	   /* of the vCPU */
	u64 on_cpu_t;
	u64 entry_t;
	u64 end_t;	   /* work of end_signal(): the last step passed, and all */
	u32 last;
	u32 seen;
	u32 first;	   /* of the worker's packets */
	u32 count;
	u32 worker;
	u32 on_cpu;	   /* where the vCPU came on a processor */
	u16 cpu;	   /* of the worker */
	u16 slot;	   /* of the vNIC */
	u16 absent;	   /* why points of it are absent (number + 1) */
	u16 eventfd_hook;
};

/* A vhost worker: a thread that was seen to run vhost's works. */
struct worker {
	u64 since;
	u64 woken_t;
	u64 on_cpu_t;	   /* first time since it was woken */
	u64 woken_skb;	   /* the packet that woke it */
	u64 run_t;	   /* the TX queue's run: begun, kicked, woken for that, on a processor */
	u64 exit_t;
	u64 kick_t;
	u64 run_woken_t;
	u64 run_on_cpu_t;
	u32 kicker;
	u8 run_hook;
	u8 run_first;	   /* its first packet has not come yet */
	u8 run_absent;
	u8 pad;
	u32 taken;	   /* packets put into the guest's ring */
	u32 signalled;	   /* those of them that belong to a signal */
	u32 stage;	   /* STAGE_*: how far the signal in `open` has come */
	u32 vcpu;	   /* what the signal is for: the vCPU's number, then its thread */
	u32 kick_cpu;
	u32 slot;	   /* of the vNIC whose packets it took last */
	struct signal open;
};

/* Signals on their way from one worker to a vCPU: only the worker fills, only the vCPU drains. */
struct lane {
	u32 worker;
	u32 filled;
	u32 drained;
	u32 pad;
	struct signal queue[LANE_ROOM];
};

/* A thread that runs a vCPU, named by user space. */
struct vcpu {
	u64 kick_t;	   /* it writes to an ioeventfd */
	u64 on_cpu_t;	   /* first time since it was woken; 0: woken, but not there yet */
	u64 polled_t;	   /* its polling for work was successful last */
	u32 on_cpu;	   /* the processor it came on */
	u32 due;	   /* work of kvm_entry: a lane that has a signal */
	struct lane lanes[LANES];
};

/* A task's turn on a processor. */
struct turn {
	u64 since;
	u64 task;
	u32 tid;
	u32 pad;
};

/* What one processor is just doing, and the tasks that it ran last. */
struct context {
	u64 skb;	   /* given to a tap, whose reader may be woken for it */
	u64 work;	   /* queued, and its worker may be woken for it */
	u32 work_tid;	   /* by this task */
	u32 idle_state;	   /* entered last */
	u32 turn;	   /* of the current task */
	u32 pad;
	u64 idle_ns;	   /* work of book_wake() */
	struct turn turns[TURNS];
};

/* Entry of a task into tun. */
struct entry {
	u64 t;
	u64 hook;
};

/* A socket buffer handed to GRO on this processor. */
struct gro {
	u64 skb;
	u64 head;
	u64 t;
};

/* Counters of one processor.  Those after `hits` are rarely written, so that neighbours in the
 * array do not slow each other down. */
struct stats {
	u64 started[2];
	u64 bins[2][BINS];
	u64 hits[HOOKS];   /* of tracked packets, per hook */
	u64 fragments;	   /* later fragments: seen, not measured */
	u64 unparsed;	   /* no IP, or a protocol that is not measured */
	u64 emitted;
	u64 suppressed;	   /* over max_rate */
	u64 lost;	   /* the ring was full */
	u64 reused;	   /* stale state met under a re-used address */
	u64 adopted;	   /* joined again by content */
	u64 disorder;	   /* a step earlier than the one before it */
	u64 unlisted;	   /* a leg with no room in the leg table */
	u64 flows_full;	   /* a packet whose flow had no room */
	u64 drops_full;	   /* a dropped packet whose place and reason had no room */
	u64 threads_full;  /* points left out because a thread or its work had no room */
};

struct leg {
	u64 count;
	u64 sum_ns;
	u64 max_ns;
	u64 pad;
	u32 bucket[BUCKETS];
};

/* A task that ran instead of a woken one. */
struct ahead {
	u64 held_ns;	   /* the processor, while the other waited */
	u32 tid;
	u32 pad;
	char comm[16];
};

/* Halts of one vCPU, as it leaves them, and the window in which KVM polls for it. */
struct halts {
	u64 polled;	   /* it had not slept: polling was successful, or the event was there already */
	u64 polled_ns;
	u64 slept;
	u64 slept_ns;	   /* the poll before included */
	u64 grown;	   /* changes of the window */
	u64 shrunk;
	u32 window_ns;
	u32 window_known;  /* it was seen to be set */
};

/* Wake-ups of one thread, from waking to running. */
struct wake {
	u64 woken_t;	   /* 0: it is not being woken */
	u64 migrations;
	u32 cpu;	   /* where it ran before */
	u32 runs;	   /* it has a processor: waking it means nothing */
	struct leg idle;   /* most of the time the processor was idle */
	struct leg queued; /* another task ran there */
	u64 idle_states[IDLE_STATES];
	struct ahead ahead[AHEAD];
	struct halts halts; /* of a vCPU */
};

struct flow_key {
	struct flow flow;
	u16 slot;
	u8 direction;
	u8 pad[5];
};

struct flow_value {
	u64 packets;
	u64 bytes;
	u64 first_ns;
	u64 last_ns;
};

/* Where packets are dropped: last step, the kernel's reason and the address that freed them. */
struct drop_key {
	u64 location;
	u32 reason;
	u16 slot;
	u8 direction;
	u8 last;
	u8 hook;
	u8 pad[7];
};

/* Numbers of the legs of one vNIC, made by user space for the steps that can occur. */
struct leg_table {
	u32 room;	   /* legs of one vNIC, totals included; a higher number: not listed */
	u32 processor;	   /* legs of all vNICs: the histograms of one processor */
	u32 vnics;
	u32 pad;
	u16 total[2];
	u16 leg[2][STEPS][STEPS]; /* [direction][from step][to step] */
};

/* Inside a guest: an echo packet at a point. */
struct sighting {
	u64 t;
	u64 also;	   /* what belongs to it, or 0; see Sighting in vmlat_tui/model/guest.py */
	struct flow flow;
	u32 id1;
	u32 id2;
	u32 ifindex;
	u32 tgid;
	u32 tid;
	u32 point;
	char comm[16];
};

#endif
