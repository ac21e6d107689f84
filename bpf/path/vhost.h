/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost, the interrupt and the vCPU.  Joined by what runs nested in one task, by the pointer of
 * vhost's work, and from waking to running by the thread: never by the order of events.
 *
 *   guest_kick: ioeventfd_write in the vCPU's task, in it vhost_poll_wakeup(work), in it sched_waking
 *   of the worker; the worker's sched_switch; handle_tx_kick(work), in it tun_sendmsg.
 *
 *   tun_out: tun_net_xmit(skb), in it vhost_poll_wakeup(work) and sched_waking of the worker; its
 *   sched_switch; tun_recvmsg(skb); vhost_add_used_and_signal_n, in it eventfd_signal, irqfd_wakeup,
 *   kvm_apic_accept_irq and sched_waking of the vCPU; its sched_switch; its kvm_entry.
 */

#define WORK_TX_KICK 1
#define WORK_RX_NET 2
#define WATCH_WORKER 1
#define WATCH_VCPU 2
#define READABLE 1 /* EPOLLIN */

/* What a thread may be; told without a hash table, because every switch of the host asks. */
INLINE u32 watched_as(u32 tid)
{
	u32 index = tid & (WATCH_ROOM - 1);
	u32 *kinds = watched.lookup(&index);

	return kinds ? *kinds : 0;
}

#if FUNCTIONS && PART == 3

/* The current task runs vhost's works. */
INLINE struct worker *worker_here(void)
{
	u32 tid = bpf_get_current_pid_tgid(), zero = 0, index = tid & (WATCH_ROOM - 1), *kinds;
	struct worker *w = workers.lookup(&tid), *blank;
	struct wake *still, *running;

	if (w)
		return w;
	blank = blank_worker.lookup(&zero);
	still = blank_wake.lookup(&zero);
	if (!blank || !still || workers.update(&tid, blank))
		return 0;
	wakes.update(&tid, still);
	running = wakes.lookup(&tid);
	if (running)
		running->runs = 1;
	kinds = watched.lookup(&index);
	if (kinds)
		*kinds |= WATCH_WORKER;
	w = workers.lookup(&tid);
	if (w)
		w->since = bpf_ktime_get_ns();
	return w;
}

/* ---- the guest's kick and the worker's wake-up --------------------------------------------- */

int fn_ioeventfd_write(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct vcpu *v = vcpus.lookup(&tid);

	if (v)
		v->kick_t = bpf_ktime_get_ns();
	return 0;
}

/* wait: the work follows it in struct vhost_poll (all versions from 2.6.34 to 6.12). */
int fn_vhost_poll_wakeup(struct arguments *ctx)
{
	u64 address = ARG(1, vhost_poll_wakeup) + WAIT_ENTRY + 16;
	struct work *work = works.lookup(&address);
	u32 tid = bpf_get_current_pid_tgid();
	struct context *x = context();

	if (!work || !x)
		return 0;
	x->work = address;
	x->work_tid = tid;
	if (work->kind == WORK_TX_KICK) {
		struct vcpu *v = vcpus.lookup(&tid);

		if (v && v->kick_t) {
			if (!work->kick_t) {
				work->woken_t = 0;
				work->kicker = tid;
				work->cpu = bpf_get_smp_processor_id();
				work->kick_t = v->kick_t;
			}
			v->kick_t = 0;
		}
	} else if (!(ARG(4, vhost_poll_wakeup) & READABLE)) {
		x->work = 0;
	}
	return 0;
}

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

INLINE void begin_run(u64 address, u32 hook)
{
	struct worker *w = worker_here();
	struct work *work = works.lookup(&address), fresh = {};

	if (!w)
		return;
	w->run_first = 1;
	w->run_hook = hook;
	w->kick_t = w->run_woken_t = w->run_on_cpu_t = 0;
	w->kicker = 0;
	w->run_t = bpf_ktime_get_ns();
	if (hook != HOOK_HANDLE_TX_KICK) {
		w->run_absent = ABSENT_KICK_NONE + 1;
	} else if (!work) {
		fresh.kind = WORK_TX_KICK;
		fresh.worker = bpf_get_current_pid_tgid();
		works.update(&address, &fresh);
		w->run_absent = ABSENT_TX_WORKER_NEW + 1;
	} else {
		w->kick_t = work->kick_t;
		w->kicker = work->kicker;
		w->kick_cpu = work->cpu;
		w->run_woken_t = work->kick_t ? work->woken_t : 0;
		if (w->run_woken_t && w->on_cpu_t >= w->run_woken_t)
			w->run_on_cpu_t = w->on_cpu_t;
		work->kick_t = 0;
		w->run_absent = !w->kick_t	? ABSENT_KICK_NONE + 1 :
				!w->run_woken_t ? ABSENT_TX_WORKER_AWAKE + 1 :
				!w->run_on_cpu_t ? ABSENT_TX_WORKER_NOT_ASLEEP + 1 :
						   0;
	}
}

int fn_handle_tx_kick(struct arguments *ctx)
{
	begin_run(ARG(1, handle_tx_kick), HOOK_HANDLE_TX_KICK);
	return 0;
}

int fn_handle_tx_net(struct arguments *ctx)
{
	begin_run(ARG(1, handle_tx_net), HOOK_HANDLE_TX_NET);
	return 0;
}

int fn_handle_rx_net(struct arguments *ctx)
{
	u64 address = ARG(1, handle_rx_net);
	struct work fresh = {.kind = WORK_RX_NET, .worker = bpf_get_current_pid_tgid()};

	if (worker_here() && !works.lookup(&address))
		works.update(&address, &fresh);
	return 0;
}

/* ---- into the guest's ring, and its interrupt ---------------------------------------------- */

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

/* The worker, if it is just announcing packets. */
INLINE struct worker *announcing(void)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct worker *w = watched_as(tid) & WATCH_WORKER ? workers.lookup(&tid) : 0;

	return w && w->stage >= STAGE_SIGNAL && w->stage < STAGE_HANDED ? w : 0;
}

int fn_vhost_add_used_and_signal_n(struct arguments *ctx)
{
	u32 tid = bpf_get_current_pid_tgid(), count;
	struct worker *w = workers.lookup(&tid);

	if (!w)
		return 0;
	READY;
	settle(w, s, c);
	count = w->taken - w->signalled;
	if (!count) /* of the TX queue */
		return 0;
	__builtin_memset(&w->open, 0, sizeof(w->open));
	w->open.signal_t = bpf_ktime_get_ns();
	w->open.first = w->signalled;
	w->open.count = count > BATCH_ROOM ? BATCH_ROOM : count;
	w->open.worker = tid;
	w->open.cpu = bpf_get_smp_processor_id();
	w->open.slot = w->slot;
	w->signalled += w->open.count;
	w->stage = STAGE_SIGNAL;
	return 0;
}

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
	if (number >= VCPU_ROOM)
		return 0;
	w->vcpu = number;
	index = w->open.slot * VCPU_ROOM + number;
	tid = vcpu_threads.lookup(&index);
	if (tid && *tid)
		hand_over(w, *tid);
	return 0;
}

/* ---- the scheduler ------------------------------------------------------------------------- */

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

/* Whose turn took most of the time from `since` to `now` on this processor. */
INLINE struct turn *longest_turn(struct context *x, u64 since, u64 now)
{
	u64 longest = 0, end = now;
	u32 found = x->turn;

#pragma clang loop unroll(disable)
	for (u32 back = 0; back < TURNS; back++) {
		u32 index = (x->turn - back) & (TURNS - 1);
		u64 begin = x->turns[index].since, from = begin > since ? begin : since;

		if (!begin) /* of before the measurement */
			break;
		if (end - from > longest) {
			longest = end - from;
			found = index;
		}
		if (begin <= since)
			break;
		end = begin;
	}
	x->longest_ns = longest;
	return &x->turns[found & (TURNS - 1)];
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

/* A woken thread runs: what had it waited for? */
INLINE void book_wake(struct wake *k, struct context *x, u64 now)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct turn *turn = longest_turn(x, k->woken_t, now);

	if (k->cpu != cpu && k->idle.count + k->queued.count)
		k->migrations += 1;
	k->cpu = cpu;
	count_leg(turn->tid ? &k->queued : &k->idle, now - k->woken_t, 1);
	k->woken_t = 0;
	if (turn->tid) {
		book_ahead(k, turn, x->longest_ns);
	} else {
		u32 state = x->idle_state;

		k->idle_states[state < IDLE_STATES ? state : IDLE_STATES - 1] += 1;
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

int tp_cpu_idle(struct arguments *ctx)
{
	struct context *x = context();

	if (x && (u32)ctx->a[0] != 0xffffffffU)
		x->idle_state = ctx->a[0];
	return 0;
}

/* ---- the vCPU ------------------------------------------------------------------------------ */

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

#endif
