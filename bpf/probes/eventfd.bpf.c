/* SPDX-License-Identifier: GPL-2.0-only */
/* The eventfd between vhost and KVM. */

INLINE int through_eventfd(u32 hook)
{
	struct worker *w = announcing();

	if (w && !w->open.eventfd_t) {
		w->open.eventfd_t = bpf_ktime_get_ns();
		w->open.eventfd_hook = hook;
		w->stage = STAGE_EVENTFD;
	}
	return 0;
}

int fn_eventfd_signal(struct arguments *ctx)
{
	return through_eventfd(HOOK_EVENTFD_SIGNAL);
}

int fn_eventfd_signal_mask(struct arguments *ctx)
{
	return through_eventfd(HOOK_EVENTFD_SIGNAL_MASK);
}
