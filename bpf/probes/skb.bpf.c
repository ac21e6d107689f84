/* SPDX-License-Identifier: GPL-2.0-only */
/* Where socket buffers are freed: packets end. */

/* Freed by somebody who says that this is a drop. */
int tp_kfree_skb(struct arguments *ctx)
{
	u64 skb = ctx->a[0];
	struct view v = {};
	struct packet *p;

	READY;
	p = find(skb, &v, s, TP_DIRECT, 0, 1);
	if (!p)
		return 0;
	p->location = ctx->a[1];
#if DROP_REASON
	p->reason = ctx->a[2];
#endif
	if (bpf_get_stack(ctx, p->stack, sizeof(p->stack), 0) < 0)
		p->stack[0] = 0;
	finish(p, s, c, BIN_DROPPED);
	return 0;
}

/*
 * Freed as if it had arrived.  After tun_out that is the reader of the tap: from there on the
 * packet belongs to the processor that reads, so that no two ever end it at once (the
 * driver's return, net_dev_xmit, would race with it).  Inside the switch it is how kernels up to
 * 6.5 drop a packet whose flow has no action; a clone that went on is seen by the `cloned`
 * bit.  Elsewhere the packet was delivered to somebody that is not on the selected path.
 */
int tp_consume_skb(struct arguments *ctx)
{
	u64 skb = ctx->a[0];
	struct packet *p = packet_of(skb);

	if (!p || !p->active)
		return 0;
	READY;
	struct view v = {};

	p = find(skb, &v, s, TP_DIRECT, 0, 1);
	if (!p)
		return 0;
	if (FUNCTIONS && p->last == STEP_VHOST_TAKE) {
		put_into_ring(p, s, c);
		return 0;
	}

	/* The kernel skips kprobes on a processor that is just serving a map to user space: a packet
	 * that was queued on the vnet and then taken passed tun_out, seen or not. */
	u32 bin = p->last >= STEP_VNET_QUEUE ? BIN_COMPLETED : BIN_FILTERED;

	if (p->last >= STEP_SWITCH_IN && p->last < STEP_SWITCH_OUT &&
	    !(LOAD(u8, skb, SKB_CLONED_BYTE, TP_DIRECT) & SKB_CLONED_MASK)) {
		if (bpf_get_stack(ctx, p->stack, sizeof(p->stack), 0) < 0)
			p->stack[0] = 0;
		p->location = p->stack[1];
		bin = BIN_DROPPED;
	}
	finish(p, s, c, bin);
	return 0;
}
