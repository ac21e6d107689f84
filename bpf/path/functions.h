/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions of tun and the switches (kprobes; x86-64 calling convention). */

#define ARG1(regs) ((regs)->di)
#define ARG2(regs) ((regs)->si)
#define ARG3(regs) ((regs)->dx)
#define ARG4(regs) ((regs)->cx)

#if FUNCTIONS && PART == 2

INLINE int enter_tun(u32 hook, int nested)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct entry fresh = {bpf_ktime_get_ns(), hook};
	struct entry *e = tun_entries.lookup(&tid);

	if (!e)
		tun_entries.update(&tid, &fresh);
	else if (!nested || e->hook == hook) {
		e->hook = hook;
		e->t = fresh.t;
	}
	return 0;
}

int kp_tun_sendmsg(struct pt_regs *ctx)
{
	return enter_tun(HOOK_TUN_SENDMSG, 0);
}

/* Below tun_sendmsg in a vhost worker, the entry itself in QEMU's own back end. */
int kp_tun_get_user(struct pt_regs *ctx)
{
	return enter_tun(HOOK_TUN_GET_USER, 1);
}

INLINE int pass(u64 skb, u32 step, u32 hook, int at_data)
{
	READY;
	hit(skb, step, hook, s, c, 0, at_data);
	return 0;
}

int kp_netdev_frame_hook(struct pt_regs *ctx)
{
	return pass(LOAD(u64, ARG1(ctx), 0, 0), STEP_SWITCH_IN, HOOK_NETDEV_FRAME_HOOK, 0);
}

int kp_internal_dev_xmit(struct pt_regs *ctx)
{
	return pass(ARG1(ctx), STEP_SWITCH_IN, HOOK_INTERNAL_DEV_XMIT, 0);
}

int kp_br_handle_frame(struct pt_regs *ctx)
{
	return pass(LOAD(u64, ARG1(ctx), 0, 0), STEP_SWITCH_IN, HOOK_BR_HANDLE_FRAME, 0);
}

int kp_ovs_dp_process_packet(struct pt_regs *ctx)
{
	return pass(ARG1(ctx), STEP_OVS_DP, HOOK_OVS_DP_PROCESS_PACKET, 0);
}

int kp_ovs_dp_upcall(struct pt_regs *ctx)
{
	u64 skb = ARG2(ctx);
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

int kp_ovs_flow_key_extract_userspace(struct pt_regs *ctx)
{
	return pass(ARG3(ctx), STEP_OVS_REINJECT, HOOK_OVS_FLOW_KEY_EXTRACT_USERSPACE, 1);
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

int kp_ovs_vport_send(struct pt_regs *ctx)
{
	return leave_switch(ARG2(ctx), HOOK_OVS_VPORT_SEND);
}

int kp_br_dev_queue_push_xmit(struct pt_regs *ctx)
{
	return leave_switch(ARG3(ctx), HOOK_BR_DEV_QUEUE_PUSH_XMIT);
}

int kp_br_forward_finish(struct pt_regs *ctx)
{
	return leave_switch(ARG3(ctx), HOOK_BR_FORWARD_FINISH);
}

int kp_tun_net_xmit(struct pt_regs *ctx)
{
	struct role *role = role_of(ARG2(ctx), 0);

	if (!role || !(role->kind & ROLE_VNET))
		return 0;
	READY;

	struct context *x = context();
	u64 skb = ARG1(ctx);

	if (hit(skb, STEP_TUN_OUT, HOOK_TUN_NET_XMIT, s, c, 0, 0) && x)
		x->skb = skb;
	return 0;
}

#endif
