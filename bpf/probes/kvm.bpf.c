/* SPDX-License-Identifier: GPL-2.0-only */
/* KVM: the guest's exit and kick, its interrupt, how its halts end, its entry. */

/* The guest leaves, for whatever reason: one word a thread, with its number, as others may have the
 * same place.  Times are complete to 73 minutes. */
int tp_kvm_exit(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid(), index = tid & (WATCH_ROOM - 1);
	u64 *left;

	if (!(watched_as(tid) & WATCH_VCPU))
		return 0;
	left = exits.lookup(&index);
	if (left)
		*left = bpf_ktime_get_ns() << TID_BITS | tid;
	return 0;
}

int fn_ioeventfd_write(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct vcpu *v = vcpus.lookup(&tid);

	if (v)
		v->kick_t = bpf_ktime_get_ns();
	return 0;
}

int fn_irqfd_wakeup(struct arguments *ctx)
{
	struct worker *w = announcing();

	if (w && !w->open.irqfd_t) {
		w->open.irqfd_t = bpf_ktime_get_ns();
		w->stage = STAGE_IRQFD;
	}
	return 0;
}

/* a[0] is the number of the vCPU. */
int tp_kvm_apic_accept_irq(struct arguments *ctx)
{
	struct worker *w = announcing();
	u32 index, number = ctx->a[0], *tid;

	if (!w || w->open.accept_t)
		return 0;
	w->open.accept_t = bpf_ktime_get_ns();
	w->stage = STAGE_ACCEPT;
	w->vcpu = number;
	if (number >= VCPU_ROOM) /* whom it wakes will tell */
		return 0;
	index = w->open.slot * VCPU_ROOM + number;
	tid = vcpu_threads.lookup(&index);
	if (tid && *tid)
		hand_over(w, *tid);
	return 0;
}

/* What is counted of the current task, if it is a vCPU. */
INLINE struct wake *vcpu_here(u32 tid)
{
	return watched_as(tid) & WATCH_VCPU ? wakes.lookup(&tid) : 0;
}

/* A halt is over.  a: how long it was, whether the vCPU slept, … */
int tp_kvm_vcpu_wakeup(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct wake *k = vcpu_here(tid);
	struct vcpu *v;

	if (!k)
		return 0;
	if (ctx->a[1] & 1) {
		k->halts.slept += 1;
		k->halts.slept_ns += ctx->a[0];
		return 0;
	}
	k->halts.polled += 1;
	k->halts.polled_ns += ctx->a[0];
	v = vcpus.lookup(&tid);
	if (v)
		v->polled_t = bpf_ktime_get_ns();
	return 0;
}

/* KVM reconsiders the window in the vCPU's task.  a: whether to grow it, which vCPU, window, before */
int tp_kvm_halt_poll_ns(struct arguments *ctx)
{
	struct wake *k = vcpu_here(bpf_get_current_pid_tgid());
	u32 window_ns = ctx->a[2], before_ns = ctx->a[3];

	if (!k)
		return 0;
	k->halts.window_ns = window_ns;
	k->halts.window_known = 1;
	k->halts.grown += window_ns > before_ns;
	k->halts.shrunk += window_ns < before_ns;
	return 0;
}

/* The guest goes on: so it is entered for every signal that is open here.  One of them is ended now, as
 * two in one program are more than the verifier follows; if there are more, the next entries do it. */
int tp_kvm_entry(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid(), due, *open;
	struct vcpu *v;
	struct signal *e;
	u64 now;

	open = handed_to(tid);
	if (!open || !*open)
		return 0;
	v = vcpus.lookup(&tid);
	if (!v)
		return 0;
	READY;
	now = bpf_ktime_get_ns();
	v->due = LANES;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < LANES * LANE_ROOM; i++) {
		u32 number = (i / LANE_ROOM) & (LANES - 1);
		struct lane *lane = &v->lanes[number];

		if (lane->filled == lane->drained)
			continue;
		v->due = number; /* in memory: the verifier follows every number it knows */
		e = &lane->queue[i & (LANE_ROOM - 1)];
		if (e->entry_t)
			continue;
		e->entry_t = now;
		e->on_cpu_t = e->woken_t && v->on_cpu_t >= e->woken_t ? v->on_cpu_t : 0;
		e->on_cpu = v->on_cpu;
		if (!e->woken_t)
			e->absent = (v->polled_t > e->accept_t ? ABSENT_VCPU_POLLING :
								 ABSENT_VCPU_RUNNING) + 1;
		else if (!e->on_cpu_t)
			e->absent = ABSENT_VCPU_NOT_ASLEEP + 1;
	}
	barrier();
	due = v->due;
	if (due >= LANES)
		return 0;
	e = &v->lanes[due].queue[v->lanes[due].drained & (LANE_ROOM - 1)];
	end_signal(e, tid, s, c);
	barrier();
	v->lanes[due].drained += 1;
	count_handed(tid, -1);
	return 0;
}
