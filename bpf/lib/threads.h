/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that are followed: vhost's workers, found by what they run, and vCPUs, named by user space. */

#define TID_BITS 22 /* PID_MAX_LIMIT */

/* What a thread may be; told without a hash table, because every switch of the host asks. */
INLINE u32 watched_as(u32 tid)
{
	u32 index = tid & (WATCH_ROOM - 1);
	u32 *kinds = watched.lookup(&index);

	return kinds ? *kinds : 0;
}

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
