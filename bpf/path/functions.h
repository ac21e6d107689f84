/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions of tun and the switches. */

/*
 * Argument n of a function: of a fentry program an element of the context, of a kprobe a register
 * (x86-64 calling convention).  User space says which, function by function.  fentry's
 * are read as numbers, because the verifier knows their types and would forbid to calculate.
 */
#define REGISTER_1 14 /* di in struct pt_regs */
#define REGISTER_2 13 /* si */
#define REGISTER_3 12 /* dx */
#define REGISTER_4 11 /* cx */
#define ARG(n, symbol)                                                                       \
	(FENTRY_##symbol ? number((u64)&ctx->a[(n) - 1]) : ((u64 *)ctx)[REGISTER_##n])

#if FUNCTIONS && PART == 2

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

INLINE int pass(u64 skb, u32 step, u32 hook, int at_data)
{
	READY;
	hit(skb, step, hook, s, c, 0, at_data);
	return 0;
}

int fn_netdev_frame_hook(struct arguments *ctx)
{
	return pass(number(ARG(1, netdev_frame_hook)), STEP_SWITCH_IN, HOOK_NETDEV_FRAME_HOOK, 0);
}

int fn_internal_dev_xmit(struct arguments *ctx)
{
	return pass(ARG(1, internal_dev_xmit), STEP_SWITCH_IN, HOOK_INTERNAL_DEV_XMIT, 0);
}

int fn_br_handle_frame(struct arguments *ctx)
{
	return pass(number(ARG(1, br_handle_frame)), STEP_SWITCH_IN, HOOK_BR_HANDLE_FRAME, 0);
}

int fn_ovs_dp_process_packet(struct arguments *ctx)
{
	return pass(ARG(1, ovs_dp_process_packet), STEP_OVS_DP, HOOK_OVS_DP_PROCESS_PACKET, 0);
}

int fn_ovs_dp_upcall(struct arguments *ctx)
{
	u64 skb = ARG(2, ovs_dp_upcall);
	struct view v = {};
	struct packet *p;

	READY;
	p = find(skb, &v, s, 0, 0, 0);
	if (!p)
		return 0;
	if (!(p->seen & (1U << STEP_OVS_UPCALL)))
		stamp(p, s, c, STEP_OVS_UPCALL, HOOK_OVS_DP_UPCALL, bpf_ktime_get_ns());
	park(p, &v, skb, s, 0);
	return 0;
}

int fn_ovs_flow_key_extract_userspace(struct arguments *ctx)
{
	return pass(ARG(3, ovs_flow_key_extract_userspace), STEP_OVS_REINJECT,
		    HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE, 1);
}

/* Itself or one of its clones: the last one counts. */
INLINE int leave_switch(u64 skb, u32 hook)
{
	READY;
	if (!hit(skb, STEP_SWITCH_OUT, hook, s, c, 0, 0)) {
		struct packet *p = original_of(skb, 0);

		if (p)
			stamp(p, s, c, STEP_SWITCH_OUT, hook, bpf_ktime_get_ns());
	}
	return 0;
}

int fn_ovs_vport_send(struct arguments *ctx)
{
	return leave_switch(ARG(2, ovs_vport_send), HOOK_OVS_VPORT_SEND);
}

int fn_br_dev_queue_push_xmit(struct arguments *ctx)
{
	return leave_switch(ARG(3, br_dev_queue_push_xmit), HOOK_BR_DEV_QUEUE_PUSH_XMIT);
}

int fn_br_forward_finish(struct arguments *ctx)
{
	return leave_switch(ARG(3, br_forward_finish), HOOK_BR_FORWARD_FINISH);
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

#endif
