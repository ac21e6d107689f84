/* SPDX-License-Identifier: GPL-2.0-only */
/* Open vSwitch's kernel datapath. */

int fn_netdev_frame_hook(struct arguments *ctx)
{
	return pass(number(ARG(1, netdev_frame_hook)), STEP_SWITCH_IN, HOOK_NETDEV_FRAME_HOOK, 0);
}

int fn_internal_dev_xmit(struct arguments *ctx)
{
	return pass(ARG(1, internal_dev_xmit), STEP_SWITCH_IN, HOOK_INTERNAL_DEV_XMIT, 0);
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

int fn_ovs_vport_send(struct arguments *ctx)
{
	return leave_switch(ARG(2, ovs_vport_send), HOOK_OVS_VPORT_SEND);
}
