/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside a guest: where the kernel sees echo packets, between the socket and the driver.
 *
 * Nothing is kept here of a packet.  Each point that one passes is one record to user space, which
 * joins them by the packet's own numbers (vmlat_tui/model/guest.py).  What belongs to a request's
 * socket is the thread that queues it on the device inside sendto or sendmsg.
 */
#include <vmlat/record.h>

#include "lib/program.h"
#include "lib/parse.h"

/* "virtio0-input.0": an interrupt of a receive queue of virtio-net. */
#define NAME_BYTES 24
#define UNCLEAR (~0ULL)

#define SYS_SENDTO 44
#define SYS_SENDMSG 46
/* struct pt_regs: the number of the system call. */
#define REGS_ORIG_AX 120

/* What this processor is at. */
struct place {
	u64 skb;	   /* the driver transmits this echo packet, */
	u64 kick;	   /* and has kicked the host then */
	u64 interrupt;	   /* of a receive queue, without a packet yet */
	u32 irq;	   /* its number */
	u32 serving;	   /* it is in an interrupt's handler */
	struct sighting out;
};

BPF_HASH(sends, u32, u64, 1);
BPF_PERCPU_ARRAY(places, struct place, 1);
BPF_ARRAY(guest_netns, u32, 1);
BPF_ARRAY(guest_lost, u64, 1);
BPF_RINGBUF_OUTPUT(sightings, 1);

/* Is it one of this network namespace?  In sockets packets have no device. */
INLINE int ours(u64 dev)
{
	u32 zero = 0, *netns = guest_netns.lookup(&zero);
	u64 net = LOAD(u64, dev, NETDEV_ND_NET, 0);

	return netns && LOAD(u32, net, NET_NS + NS_INUM, 0) == *netns;
}

/* By the IP header: beside the socket there is no other. */
INLINE void identify_network(struct view *v, u64 skb)
{
	u8 b[104] __attribute__((aligned(8)));
	u64 mac = LOAD(u64, skb, SKB_HEAD, 0) + LOAD(u16, skb, SKB_NETWORK_HEADER, 0) - 14;

	if (!bpf_probe_read_kernel(b, sizeof(b), (void *)(mac - 2)))
		identify_ip(v, b, b[16] >> 4 == 6 ? P_IPV6 : P_IP, mac);
}

/* Is it an echo packet?  Then everything of it but the times. */
INLINE int describe(struct sighting *e, struct view *v, u32 point, u64 dev)
{
	u64 id = bpf_get_current_pid_tgid();

	if (!v->known || (v->flow.proto != PROTO_ICMP && v->flow.proto != PROTO_ICMPV6))
		return 0;
	e->flow = v->flow;
	e->id1 = v->id1;
	e->id2 = v->id2;
	e->ifindex = dev ? LOAD(u32, dev, NETDEV_IFINDEX, 0) : 0;
	e->tgid = id >> 32;
	e->tid = id;
	e->point = point;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	return 1;
}

INLINE void tell(struct sighting *e)
{
	u32 zero = 0;
	u64 *lost;

	if (sightings.ringbuf_output(e, sizeof(*e), BPF_RB_NO_WAKEUP)) {
		lost = guest_lost.lookup(&zero);
		if (lost)
			__sync_fetch_and_add(lost, 1);
	}
}

INLINE void give(struct view *v, u32 point, u64 now, u64 also, u64 dev)
{
	struct sighting e = {.t = now, .also = also};

	if (describe(&e, v, point, dev))
		tell(&e);
}

/* The functions are compiled in three parts at the same time. */
#if PART == 1

int tp_sys_enter(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u64 now;

	if (ctx->a[1] != SYS_SENDTO && ctx->a[1] != SYS_SENDMSG)
		return 0;
	now = bpf_ktime_get_ns();
	sends.update(&tid, &now);
	return 0;
}

int tp_sys_exit(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u64 number = LOAD(u64, ctx->a[0], REGS_ORIG_AX, 0);

	if (number == SYS_SENDTO || number == SYS_SENDMSG)
		sends.delete(&tid);
	return 0;
}

/* The newest interrupt of a receive queue is that of the first packet after it, which was there
 * then; of those that come in the same poll nobody knows.  Nor of whose queue, if there are two. */
int tp_irq_handler_entry(struct arguments *ctx)
{
	u64 now = bpf_ktime_get_ns();
	char name[NAME_BYTES] = {};
	u32 zero = 0, irq = ctx->a[0];
	struct place *p = places.lookup(&zero);
	int i, receives = 0;

	if (!p)
		return 0;
	p->serving = 1;
	bpf_probe_read_kernel_str(name, sizeof(name),
				  (void *)LOAD(u64, ctx->a[1], IRQACTION_NAME, 0));
	if (name[0] != 'v' || name[1] != 'i' || name[2] != 'r')
		return 0;
#pragma unroll
	for (i = 7; i < 11; i++)
		receives |= name[i] == '-' && name[i + 1] == 'i' && name[i + 2] == 'n' &&
			    name[i + 3] == 'p' && name[i + 6] == '.';
	if (!receives)
		return 0;
	p->interrupt = p->interrupt && p->irq != irq ? UNCLEAR : now;
	p->irq = irq;
	return 0;
}

int tp_irq_handler_exit(struct arguments *ctx)
{
	u32 zero = 0;
	struct place *p = places.lookup(&zero);

	if (p)
		p->serving = 0;
	return 0;
}

#endif
#if PART == 2

/* Whoever sends it is here, and gone when a queue lets it out. */
int tp_net_dev_queue(struct arguments *ctx)
{
	u64 now = bpf_ktime_get_ns(), skb = ctx->a[0], dev = LOAD(u64, skb, SKB_DEV, 0), *since;
	u32 tid = bpf_get_current_pid_tgid();
	struct view v = {};

	if (!ours(dev))
		return 0;
	identify(&v, mac_of(skb, 0, 0));
	since = sends.lookup(&tid);
	give(&v, POINT_QUEUE, now, since ? *since : 0, dev);
	return 0;
}

/* It is told of when the driver is done, and has kicked the host or not. */
int tp_net_dev_start_xmit(struct arguments *ctx)
{
	u64 now = bpf_ktime_get_ns(), skb = ctx->a[0], dev = ctx->a[1];
	u32 zero = 0;
	struct place *p = places.lookup(&zero);
	struct view v = {};

	if (!p || !ours(dev))
		return 0;
	identify(&v, mac_of(skb, 0, 0));
	p->kick = 0;
	p->out.t = now;
	p->skb = describe(&p->out, &v, POINT_XMIT, dev) ? skb : 0;
	return 0;
}

int tp_net_dev_xmit(struct arguments *ctx)
{
	u32 zero = 0;
	struct place *p = places.lookup(&zero);

	if (!p || !p->skb || p->skb != ctx->a[0])
		return 0;
	p->skb = 0;
	p->out.also = p->kick;
	tell(&p->out);
	return 0;
}

INLINE void receive(u64 skb, u64 now, u64 interrupt)
{
	u64 dev = LOAD(u64, skb, SKB_DEV, 0);
	struct view v = {};

	if (!ours(dev))
		return;
	identify(&v, mac_of(skb, 0, 0));
	give(&v, POINT_RECEIVE, now, interrupt, dev);
}

int tp_napi_gro_receive_entry(struct arguments *ctx)
{
	u64 now = bpf_ktime_get_ns(), interrupt = 0;
	u32 zero = 0;
	struct place *p = places.lookup(&zero);

	if (p && p->interrupt) {
		interrupt = p->interrupt == UNCLEAR ? 0 : p->interrupt;
		p->interrupt = 0;
	}
	receive(ctx->a[0], now, interrupt);
	return 0;
}

int tp_netif_receive_skb(struct arguments *ctx)
{
	receive(ctx->a[0], bpf_ktime_get_ns(), 0);
	return 0;
}

#endif
#if PART == 3

int tp_skb_copy_datagram_iovec(struct arguments *ctx)
{
	u64 now = bpf_ktime_get_ns();
	struct view v = {};

	identify_network(&v, ctx->a[0]);
	give(&v, POINT_READ, now, 0, 0);
	return 0;
}

/* vp_notify and its like: the driver is about to leave the guest.  Interrupts have kicks of theirs. */
int kp_notify(struct pt_regs *ctx)
{
	u32 zero = 0;
	struct place *p = places.lookup(&zero);

	if (p && p->skb && !p->serving)
		p->kick = bpf_ktime_get_ns();
	return 0;
}

/* icmp_rcv, icmpv6_rcv; the device is still known. */
int kp_icmp(struct pt_regs *ctx)
{
	u64 now = bpf_ktime_get_ns(), skb = ctx->di, dev = LOAD(u64, skb, SKB_DEV, 0);
	struct view v = {};

	if (!ours(dev))
		return 0;
	identify_network(&v, skb);
	give(&v, POINT_ICMP, now, 0, dev);
	return 0;
}

/* ip_local_out, ip6_local_out and what they call first. */
int kp_local_out(struct pt_regs *ctx)
{
	u64 now = bpf_ktime_get_ns();
	struct view v = {};

	identify_network(&v, ctx->dx);
	give(&v, POINT_REPLY, now, 0, 0);
	return 0;
}

#endif
