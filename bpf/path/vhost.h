/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost, the interrupt and the vCPU.  Joined by what runs nested in one task, by the pointer of
 * vhost's work, and from waking to running by the thread: never by the order of events.
 *
 *   guest_exit: the last kvm_exit in the vCPU's task before guest_kick, its ioeventfd_write; in that
 *   vhost_poll_wakeup(work), in it sched_waking of the worker; the worker's sched_switch;
 *   handle_tx_kick(work), in it tun_sendmsg.
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
#define TID_BITS 22 /* PID_MAX_LIMIT */

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
	if (!blank || !still)
		return 0;
	if (workers.update(&tid, blank)) {
		no_room_for_thread();
		return 0;
	}
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

/* When a thread's guest left last; 0 if that is not known. */
INLINE u64 left_at(u32 tid, u64 now)
{
	u32 index = tid & (WATCH_ROOM - 1);
	u64 *left = exits.lookup(&index), since;

	if (!left)
		return 0;
	since = *left;
	if ((since & ((1 << TID_BITS) - 1)) != tid)
		return 0;
	return now - (((now << TID_BITS) - (since - tid)) >> TID_BITS);
}

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
				work->exit_t = left_at(tid, v->kick_t);
				work->kick_t = v->kick_t;
			}
			v->kick_t = 0;
		}
	} else if (!(ARG(4, vhost_poll_wakeup) & READABLE)) {
		x->work = 0;
	}
	return 0;
}

INLINE void begin_run(u64 address, u32 hook)
{
	struct worker *w = worker_here();
	struct work *work = works.lookup(&address), fresh = {};

	if (!w)
		return;
	w->run_first = 1;
	w->run_hook = hook;
	w->exit_t = w->kick_t = w->run_woken_t = w->run_on_cpu_t = 0;
	w->kicker = 0;
	w->run_t = bpf_ktime_get_ns();
	if (hook != HOOK_HANDLE_TX_KICK) {
		w->run_absent = ABSENT_KICK_NONE + 1;
	} else if (!work) {
		fresh.kind = WORK_TX_KICK;
		fresh.worker = bpf_get_current_pid_tgid();
		if (works.update(&address, &fresh))
			no_room_for_thread();
		w->run_absent = ABSENT_TX_WORKER_NEW + 1;
	} else {
		w->exit_t = work->kick_t ? work->exit_t : 0;
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

	if (worker_here() && !works.lookup(&address) && works.update(&address, &fresh))
		no_room_for_thread();
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
	w->vcpu = number;
	if (number >= VCPU_ROOM) /* whom it wakes will tell */
		return 0;
	index = w->open.slot * VCPU_ROOM + number;
	tid = vcpu_threads.lookup(&index);
	if (tid && *tid)
		hand_over(w, *tid);
	return 0;
}

#endif
