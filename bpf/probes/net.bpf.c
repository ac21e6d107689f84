/* SPDX-License-Identifier: GPL-2.0-only */
/* The network stack: received, queued, given to the driver. */

INLINE u32 gro_slot(u64 head)
{
	return ((head >> 9) ^ (head >> 17)) & (GRO_SLOTS - 1);
}

int tp_netif_receive_skb(struct arguments *ctx)
{
	u64 skb = ctx->a[0];
	struct role *role = role_of(LOAD(u64, skb, SKB_DEV, TP_DIRECT), TP_DIRECT);

	if (!role)
		return 0;
	READY;
	if (role->kind & ROLE_ELSEWHERE) {
		struct view v = {};
		struct packet *p = find(skb, &v, s, TP_DIRECT, 0, 0);

		if (p)
			finish(p, s, c, BIN_FILTERED);
		return 0;
	}

	u32 direction = role->kind & ROLE_VNET ? TX : RX;

	if (direction == RX && (!(role->kind & ROLE_LEAF) ||
				(c->switched && (LOAD(u8, skb, SKB_PKT_TYPE_BYTE, TP_DIRECT) &
						 SKB_PKT_TYPE_MASK) == PACKET_HOST)))
		return 0;

	u32 tid = bpf_get_current_pid_tgid();
	struct worker *w = 0;
	int first = 0;

	if (FUNCTIONS && direction == TX && role->join_task) {
		w = workers.lookup(&tid);
		if (w) {
			first = w->run_first;
			w->run_first = 0;
		}
	}

	struct packet *p = start(skb, direction, role, s, c);

	if (!p)
		return 0;
	if (direction == RX) {
		u64 head = number(skb + SKB_HEAD);
		u32 index = gro_slot(head);
		struct gro *g = gro_held.lookup(&index);

		if (g && g->skb == p->skb && g->head == head) {
			prepend(p, s, STEP_PHY_GRO, HOOK_NAPI_GRO_RECEIVE, g->t);
			g->skb = 0;
		}
	} else if (FUNCTIONS && role->join_task) {
		struct entry *e = tun_entries.lookup(&tid);

		if (e)
			prepend(p, s, STEP_TUN_IN, e->hook, e->t);
		if (w)
			join_run(p, s, tid, w, first);
	}
	return 0;
}

int tp_napi_gro_receive_entry(struct arguments *ctx)
{
	u64 skb = ctx->a[0];
	struct role *role = role_of(LOAD(u64, skb, SKB_DEV, TP_DIRECT), TP_DIRECT);
	struct gro *g;
	u64 head;
	u32 index;

	if (!role || !(role->kind & ROLE_LEAF))
		return 0;
	head = number(skb + SKB_HEAD);
	index = gro_slot(head);
	g = gro_held.lookup(&index);
	if (g) {
		g->skb = skb;
		g->head = head;
		g->t = bpf_ktime_get_ns();
	}
	return 0;
}

int tp_net_dev_queue(struct arguments *ctx)
{
	u64 skb = ctx->a[0];
	struct role *role = role_of(LOAD(u64, skb, SKB_DEV, TP_DIRECT), TP_DIRECT);
	struct view v = {};
	struct packet *p;

	if (!role)
		return 0;
	READY;
	p = find(skb, &v, s, TP_DIRECT, 0, 0);
	if (!p) {
		u32 way = role->kind & ROLE_VNET ? RX : role->kind & (ROLE_LEAF | ROLE_TOP) ? TX : BOTH;

		p = original_of(skb, TP_DIRECT);
		if (!p || p->direction != way)
			return 0;
		p = follow(p, skb);
		if (!p)
			return 0;
	}
	if (role->kind & ROLE_VNET) {
		if (p->direction == RX)
			p->slot = role->slot;
		p->vm_ifindex = p->direction == RX ? role->ifindex : p->vm_ifindex;
		if (!(p->seen & (1U << STEP_VNET_QUEUE)))
			stamp(p, s, c, STEP_VNET_QUEUE, HOOK_NET_DEV_QUEUE_VNET, bpf_ktime_get_ns());
	} else if ((role->kind & (ROLE_LEAF | ROLE_TOP)) && p->direction == TX) {
		u64 info = LOAD(u64, skb, SKB_HEAD, TP_DIRECT) + LOAD(u32, skb, SKB_END, TP_DIRECT);

		p->phy_ifindex = role->ifindex;
		if (!(p->seen & (1U << STEP_PHY_QUEUE)))
			stamp(p, s, c, STEP_PHY_QUEUE, HOOK_NET_DEV_QUEUE_PHY, bpf_ktime_get_ns());
		if (LOAD(u16, info, SHINFO_GSO_SIZE, 0))
			park(p, &v, skb, s, TP_DIRECT);
	} else {
		finish(p, s, c, BIN_FILTERED);
	}
	return 0;
}

int tp_net_dev_start_xmit(struct arguments *ctx)
{
	u64 skb = ctx->a[0];
	struct role *role = role_of(ctx->a[1], TP_DIRECT);
	struct packet *p;

	if (!role || !(role->kind & (ROLE_LEAF | ROLE_VNET)))
		return 0;
	READY;
	if (role->kind & ROLE_LEAF) {
		p = hit(skb, STEP_PHY_XMIT, HOOK_NET_DEV_START_XMIT_PHY, s, c, TP_DIRECT, 0);
		if (p) {
			p->phy_ifindex = role->ifindex;
			finish(p, s, c, p->direction == TX ? BIN_COMPLETED : BIN_FILTERED);
		}
	} else if (c->tun_tracepoint)
		hit(skb, STEP_TUN_OUT, HOOK_NET_DEV_START_XMIT_VNET, s, c, TP_DIRECT, 0);
	return 0;
}
