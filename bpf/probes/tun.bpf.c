/* SPDX-License-Identifier: GPL-2.0-only */
/* tun: what the guest sends comes in, what it receives goes out. */

INLINE int enter_tun(u32 hook, int nested)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct entry fresh = {bpf_ktime_get_ns(), hook};
	struct entry *e = tun_entries.lookup(&tid);

	if (!e) {
		if (tun_entries.update(&tid, &fresh))
			no_room_for_thread();
	} else if (!nested || e->hook == hook) {
		e->hook = hook;
		e->t = fresh.t;
	}
	return 0;
}

int fn_tun_sendmsg(struct arguments *ctx)
{
	return enter_tun(HOOK_TUN_SENDMSG, 0);
}

/* Below tun_sendmsg in a vhost worker, the entry itself in QEMU's own back end. */
int fn_tun_get_user(struct arguments *ctx)
{
	return enter_tun(HOOK_TUN_GET_USER, 1);
}

int fn_tun_net_xmit(struct arguments *ctx)
{
	struct role *role = role_of(ARG(2, tun_net_xmit), 0);

	if (!role || !(role->kind & ROLE_VNET))
		return 0;
	READY;

	struct context *x = context();
	u64 skb = ARG(1, tun_net_xmit);

	if (hit(skb, STEP_TUN_OUT, HOOK_TUN_NET_XMIT, s, c, 0, 0) && x)
		x->skb = skb;
	return 0;
}

/* The ring of the tap gave vhost this packet (a tagged pointer is an XDP frame). */
int fn_tun_recvmsg(struct arguments *ctx)
{
	u64 skb = LOAD(u64, ARG(2, tun_recvmsg), MSG_CONTROL, 0);
	struct view v = {};
	struct packet *p;

	if (!skb || (skb & 7))
		return 0;
	READY;
	p = find(skb, &v, s, 0, 0, 0);
	if (p && p->direction == RX && worker_here())
		stamp(p, s, c, STEP_VHOST_TAKE, HOOK_TUN_RECVMSG, bpf_ktime_get_ns());
	return 0;
}
