/* SPDX-License-Identifier: GPL-2.0-only */
/* Idle states. */

int tp_cpu_idle(struct arguments *ctx)
{
	struct context *x = context();

	if (x && (u32)ctx->a[0] != 0xffffffffU)
		x->idle_state = ctx->a[0];
	return 0;
}
