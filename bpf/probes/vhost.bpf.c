/* SPDX-License-Identifier: GPL-2.0-only */
/* vhost: its worker's wake-ups, runs and signals. */

#define WORK_TX_KICK 1
#define WORK_RX_NET 2
#define READABLE 1 /* EPOLLIN */

/* ---- the guest's kick and the worker's wake-up --------------------------------------------- */

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
