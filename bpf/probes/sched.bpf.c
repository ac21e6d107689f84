/* SPDX-License-Identifier: GPL-2.0-only */
/* Workers and vCPUs from being woken to running, and what they waited for. */

INLINE void wake_worker(struct worker *w, u64 now)
{
	struct context *x = context();
	struct work *work;
	struct packet *p;
	u64 address;

	w->woken_t = now;
	w->on_cpu_t = 0;
	w->woken_skb = 0;
	if (!x || !x->work || x->work_tid != (u32)bpf_get_current_pid_tgid())
		return;
	address = x->work;
	work = works.lookup(&address);
	x->work = 0;
	if (!work)
		return;
	if (work->kind == WORK_TX_KICK) {
		if (work->kick_t && !work->woken_t)
			work->woken_t = now;
		return;
	}
	p = packet_of(x->skb);
	if (p && p->active && p->direction == RX && p->last == STEP_TUN_OUT) {
		READY_OR(return);
		stamp(p, s, c, STEP_RX_VHOST_WOKEN, HOOK_SCHED_WAKING_VHOST, now);
		w->woken_skb = x->skb;
	}
	x->skb = 0;
}

/* The current task wakes a vCPU: is it the worker that interrupts it? */
INLINE void wake_vcpu(struct vcpu *v, u32 tid, u64 now)
{
	u32 self = bpf_get_current_pid_tgid();
	struct worker *w = workers.lookup(&self);
	struct lane *lane;

	v->on_cpu_t = 0;
	if (!w)
		return;
	if (w->stage == STAGE_ACCEPT) { /* so this is the thread of that vCPU */
		u32 index = w->open.slot * VCPU_ROOM + w->vcpu;

		w->open.woken_t = now;
		if (w->vcpu < VCPU_ROOM)
			vcpu_threads.update(&index, &tid);
		hand_over(w, tid);
	} else if (w->stage == STAGE_HANDED && w->vcpu == tid) {
		lane = &v->lanes[self & (LANES - 1)];
		lane->queue[(lane->filled - 1) & (LANE_ROOM - 1)].woken_t = now;
	}
}

int tp_sched_waking(struct arguments *ctx)
{
	u32 tid = LOAD(u32, ctx->a[0], TASK_PID, TP_DIRECT);
	u32 kinds = watched_as(tid);
	u64 now;

	if (!kinds)
		return 0;
	now = bpf_ktime_get_ns();
	if (kinds & WATCH_WORKER) {
		struct worker *w = workers.lookup(&tid);

		if (w)
			wake_worker(w, now);
	}
	if (kinds & WATCH_VCPU) {
		struct vcpu *v = vcpus.lookup(&tid);

		if (v)
			wake_vcpu(v, tid, now);
	}

	struct wake *k = wakes.lookup(&tid);

	/* On its way to sleep it just goes on: there is no switch to wait for. */
	if (k && !k->runs)
		k->woken_t = now;
	return 0;
}

/* The part of a turn, which ended at `end`, in which a thread woken at `since` waited. */
INLINE u64 part_of(struct turn *turn, u64 since, u64 end)
{
	u64 begin = turn->since > since ? turn->since : since;

	return end > begin ? end - begin : 0;
}

/* That task held the processor while another waited.  Who did it for longest stays. */
INLINE void book_ahead(struct wake *k, struct turn *turn, u64 held_ns)
{
	struct ahead *a = &k->ahead[turn->tid & (AHEAD - 1)];

	if (a->tid == turn->tid) {
		a->held_ns += held_ns;
	} else if (a->held_ns >= held_ns) {
		a->held_ns -= held_ns;
	} else {
		a->held_ns = held_ns - a->held_ns;
		a->tid = turn->tid;
		/* It may have ended since, and another task lie there. */
		if (LOAD(u32, turn->task, TASK_PID, 0) != turn->tid ||
		    bpf_probe_read_kernel(a->comm, sizeof(a->comm), (void *)(turn->task + TASK_COMM)))
			a->comm[0] = 0;
	}
}

/* A woken thread runs: what had it waited for?  Most of the time the processor was idle, or others ran;
 * of those, who and for how long. */
INLINE void book_wake(struct wake *k, struct context *x, u64 now)
{
	u32 cpu = bpf_get_smp_processor_id(), state = x->idle_state;
	u64 since = k->woken_t, end = now;

	if (k->cpu != cpu && k->idle.count + k->queued.count)
		k->migrations += 1;
	k->cpu = cpu;
	k->woken_t = 0;
	x->idle_ns = 0;
#pragma clang loop unroll(disable)
	for (u32 back = 0; back < TURNS; back++) {
		struct turn *turn = &x->turns[(x->turn - back) & (TURNS - 1)];

		if (!turn->since) /* before the measurement */
			break;
		if (!turn->tid)
			x->idle_ns += part_of(turn, since, end);
		end = turn->since;
		if (end <= since)
			break;
	}
	if (2 * x->idle_ns >= now - since) {
		count_leg(&k->idle, now - since, 1);
		k->idle_states[state < IDLE_STATES ? state : IDLE_STATES - 1] += 1;
		return;
	}
	count_leg(&k->queued, now - since, 1);
	end = now;
#pragma clang loop unroll(disable)
	for (u32 back = 0; back < TURNS; back++) {
		struct turn *turn = &x->turns[(x->turn - back) & (TURNS - 1)];

		if (turn->tid)
			book_ahead(k, turn, part_of(turn, since, end));
		end = turn->since;
		if (end <= since)
			break;
	}
}

/* A watched thread leaves its processor. */
INLINE void leave(u32 tid, int preempted)
{
	u32 kinds = watched_as(tid);
	struct wake *k;

	if (!kinds)
		return;
	k = wakes.lookup(&tid);
	if (k)
		k->runs = 0;
	if (!preempted && (kinds & WATCH_WORKER)) {
		struct worker *w = workers.lookup(&tid);

		READY_OR(return);
		if (w)
			settle(w, s, c);
	}
}

INLINE void run_worker(struct worker *w, u64 now)
{
	struct packet *p;

	if (!w->woken_t || w->on_cpu_t)
		return;
	w->on_cpu_t = now;
	if (!w->woken_skb)
		return;
	p = packet_of(w->woken_skb);
	if (p && p->active && p->last == STEP_RX_VHOST_WOKEN) {
		READY_OR(return);
		stamp(p, s, c, STEP_RX_VHOST_ON_CPU, HOOK_SCHED_SWITCH_VHOST, now);
	}
}

/* A watched thread comes on this processor. */
INLINE void enter(struct context *x, u32 tid, u32 kinds, u64 now)
{
	struct wake *k;

	if (kinds & WATCH_WORKER) {
		struct worker *w = workers.lookup(&tid);

		if (w)
			run_worker(w, now);
	}
	if (kinds & WATCH_VCPU) {
		struct vcpu *v = vcpus.lookup(&tid);

		if (v && !v->on_cpu_t) {
			v->on_cpu_t = now;
			v->on_cpu = bpf_get_smp_processor_id();
		}
	}
	k = wakes.lookup(&tid);
	if (!k)
		return;
	k->runs = 1;
	if (k->woken_t)
		book_wake(k, x, now);
}

/* a: whether it is a preemption, who ran, who will run. */
int tp_sched_switch(struct arguments *ctx)
{
	u64 after = ctx->a[2], now = bpf_ktime_get_ns();
	u32 tid = LOAD(u32, after, TASK_PID, TP_DIRECT), kinds = watched_as(tid);
	struct context *x = context();

	if (!x)
		return 0;
	leave(LOAD(u32, ctx->a[1], TASK_PID, TP_DIRECT), ctx->a[0] & 1);
	if (kinds)
		enter(x, tid, kinds, now);
	x->turn = (x->turn + 1) & (TURNS - 1);
	x->turns[x->turn] = (struct turn){.since = now, .task = after, .tid = tid};
	return 0;
}
