/* SPDX-License-Identifier: GPL-2.0-only */
/* Linux bridges. */

int fn_br_handle_frame(struct arguments *ctx)
{
	return pass(number(ARG(1, br_handle_frame)), STEP_SWITCH_IN, HOOK_BR_HANDLE_FRAME, 0);
}

int fn_br_dev_queue_push_xmit(struct arguments *ctx)
{
	return leave_switch(ARG(3, br_dev_queue_push_xmit), HOOK_BR_DEV_QUEUE_PUSH_XMIT);
}

int fn_br_forward_finish(struct arguments *ctx)
{
	return leave_switch(ARG(3, br_forward_finish), HOOK_BR_FORWARD_FINISH);
}
