/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets at their vhost worker, which have no socket buffer.  Joined by what runs nested in one task,
 * by the pointer of vhost's work, and from waking to running by the thread: never by the order of
 * events.
 *
 *   guest_exit: the last kvm_exit in the vCPU's task before guest_kick, its ioeventfd_write; in that
 *   vhost_poll_wakeup(work), in it sched_waking of the worker; the worker's sched_switch;
 *   handle_tx_kick(work), in it tun_sendmsg.
 *
 *   tun_out: tun_net_xmit(skb), in it vhost_poll_wakeup(work) and sched_waking of the worker; its
 *   sched_switch; tun_recvmsg(skb); vhost_add_used_and_signal_n, in it eventfd_signal, irqfd_wakeup,
 *   kvm_apic_accept_irq and sched_waking of the vCPU; its sched_switch; its kvm_entry.
 *
 * After vhost's reader has freed a received packet's socket buffer, its state lies in `taken` under
 * (worker, number), until the signal that announces it has come to an end: the guest was entered, or
 * it wanted no interrupt.
 */

#define STAGE_NONE 0	 /* no packet is being announced */
#define STAGE_SIGNAL 1
#define STAGE_EVENTFD 2
#define STAGE_IRQFD 3
#define STAGE_ACCEPT 4	 /* but to which thread is not known */
#define STAGE_HANDED 5	 /* the vCPU's thread brings it to an end */

INLINE u64 taken_key(u32 worker, u32 number)
{
	return ((u64)worker << 32) | (number & (TAKEN_ROOM - 1));
}

INLINE u32 leg_number(struct leg_table *table, u32 from, u32 to)
{
	return table->leg[RX][from & (STEPS - 1)][to & (STEPS - 1)];
}

/* A step that all packets of a signal pass; its leg is booked once for all of them. */
INLINE void pass_together(struct signal *e, u32 step, u32 hook, u64 t, struct leg_table *table,
			  u32 place, struct stats *s)
{
	u32 leg = leg_number(table, e->last, step), index = place + leg;
	u64 ns = t - e->end_t;
	struct leg *l;

	if (!t)
		return;
	s->hits[hook & (HOOKS - 1)] += e->count;
	if ((s64)ns < 0) {
		s->disorder += e->count;
		return;
	}
	e->end_t = t;
	e->last = step;
	e->seen |= 1U << step;
	l = leg < table->room ? legs.lookup(&index) : 0;
	if (l)
		count_leg(l, ns, e->count);
	else
		s->unlisted += e->count;
}

/* What the packet does not know itself, for user space. */
INLINE void complete(struct packet *p, struct signal *e, u32 vcpu)
{
	p->seen |= e->seen;
	p->last = e->last;
	p->absent[1] = e->absent;
	p->vcpu = vcpu;
	p->t[STEP_VHOST_SIGNAL] = e->signal_t;
	p->t[STEP_EVENTFD] = e->eventfd_t;
	p->t[STEP_IRQFD] = e->irqfd_t;
	p->t[STEP_IRQ_ACCEPT] = e->accept_t;
	p->t[STEP_VCPU_WOKEN] = e->woken_t;
	p->t[STEP_VCPU_ON_CPU] = e->on_cpu_t;
	p->t[STEP_GUEST_ENTRY] = e->entry_t;
	p->hook[STEP_VHOST_SIGNAL] = HOOK_VHOST_ADD_USED_AND_SIGNAL_N;
	p->hook[STEP_EVENTFD] = e->eventfd_hook;
	p->hook[STEP_IRQFD] = HOOK_IRQFD_WAKEUP;
	p->hook[STEP_IRQ_ACCEPT] = HOOK_KVM_APIC_ACCEPT_IRQ;
	p->hook[STEP_VCPU_WOKEN] = HOOK_SCHED_WAKING_VCPU;
	p->hook[STEP_VCPU_ON_CPU] = HOOK_SCHED_SWITCH_VCPU;
	p->hook[STEP_GUEST_ENTRY] = HOOK_KVM_ENTRY;
	p->cpu[STEP_VHOST_SIGNAL] = p->cpu[STEP_EVENTFD] = p->cpu[STEP_IRQFD] =
		p->cpu[STEP_IRQ_ACCEPT] = p->cpu[STEP_VCPU_WOKEN] = e->cpu;
	p->cpu[STEP_VCPU_ON_CPU] = e->on_cpu;
	p->cpu[STEP_GUEST_ENTRY] = bpf_get_smp_processor_id();
}

/*
 * All packets of a signal end here: they share its legs.  The loop has few branches, as the verifier
 * follows each of them in each iteration; for the same reason what is one of a few known values
 * (`absent`) comes in memory.
 */
INLINE void end_signal(struct signal *e, u32 vcpu, struct stats *s, struct control *c)
{
	u32 zero = 0, place, index;
	struct leg_table *table = leg_tables.lookup(&zero);
	struct leg *arrival, *total;
	u64 *given = given_this_second();
	u64 limit = c->max_rate ? c->max_rate : NO_LIMIT, least = c->emit ? c->threshold_ns : 1ULL << 62;
	u32 sample = c->sample > 1 ? c->sample : 1;

	if (!table || !given)
		return;
	place = place_of(table, e->slot);
	index = leg_number(table, STEP_VHOST_TAKE, STEP_VHOST_SIGNAL);
	if (place == ~0U || index >= table->room)
		return;
	index += place;
	arrival = legs.lookup(&index);
	index = place + table->total[RX];
	total = legs.lookup(&index);
	if (!arrival || !total)
		return;
	s->hits[HOOK_VHOST_ADD_USED_AND_SIGNAL_N] += e->count;
	s->bins[RX][BIN_COMPLETED] += e->count;
	book_absent(e->slot, e->absent, e->count);
	e->end_t = e->signal_t;
	e->last = STEP_VHOST_SIGNAL;
	e->seen = 1U << STEP_VHOST_SIGNAL;
	pass_together(e, STEP_EVENTFD, e->eventfd_hook, e->eventfd_t, table, place, s);
	pass_together(e, STEP_IRQFD, HOOK_IRQFD_WAKEUP, e->irqfd_t, table, place, s);
	pass_together(e, STEP_IRQ_ACCEPT, HOOK_KVM_APIC_ACCEPT_IRQ, e->accept_t, table, place, s);
	pass_together(e, STEP_VCPU_WOKEN, HOOK_SCHED_WAKING_VCPU, e->woken_t, table, place, s);
	pass_together(e, STEP_VCPU_ON_CPU, HOOK_SCHED_SWITCH_VCPU, e->on_cpu_t, table, place, s);
	pass_together(e, STEP_GUEST_ENTRY, HOOK_KVM_ENTRY, e->entry_t, table, place, s);

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < BATCH_ROOM; i++) {
		if (i >= e->count)
			break;

		u64 key = taken_key(e->worker, e->first + i), ns;
		struct packet *p = taken.lookup(&key);

		if (!p || !p->active) { /* given up meanwhile */
			s->bins[RX][BIN_COMPLETED] -= 1;
			continue;
		}
		p->active = 0;
		p->bin = BIN_COMPLETED;
		ns = e->signal_t - p->t[p->first & (STEPS - 1)] - p->passed_ns;
		s->disorder += ns >> 63;
		ns &= (ns >> 63) - 1;
		count_leg(arrival, ns, 1);
		ns += p->passed_ns + e->end_t - e->signal_t;
		count_leg(total, ns, 1);
		if (((ns - least) >> 63) | (bpf_get_prandom_u32() % sample))
			continue;
		complete(p, e, vcpu);
		emit_within(p, given, limit, s);
	}
}

/* The signal that this worker has open will not be handed to a vCPU any more. */
INLINE void settle(struct worker *w, struct stats *s, struct control *c)
{
	u32 stage = w->stage;

	if (stage == STAGE_NONE)
		return;
	w->stage = STAGE_NONE;
	if (stage == STAGE_HANDED)
		return;
	w->open.absent = stage == STAGE_SIGNAL ? ABSENT_SIGNAL_SUPPRESSED + 1 :
			 stage == STAGE_ACCEPT ? ABSENT_ENTRY_UNSEEN + 1 :
						 ABSENT_INJECTED_ELSEWHERE + 1;
	end_signal(&w->open, 0, s, c);
}

/* Signals that threads with this number (its lower bits) were handed and have not ended: every entry
 * of every guest asks, so it is told without a hash table. */
INLINE u32 *handed_to(u32 tid)
{
	u32 index = tid & (WATCH_ROOM - 1);

	return handed.lookup(&index);
}

INLINE void count_handed(u32 tid, int more)
{
	u32 *count = handed_to(tid);

	if (count)
		__sync_fetch_and_add(count, more);
}

/* The worker, if it is just announcing packets. */
INLINE struct worker *announcing(void)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct worker *w = watched_as(tid) & WATCH_WORKER ? workers.lookup(&tid) : 0;

	return w && w->stage >= STAGE_SIGNAL && w->stage < STAGE_HANDED ? w : 0;
}

/* To the vCPU's thread; 0 if it has no room. */
INLINE int hand_over(struct worker *w, u32 vcpu)
{
	struct vcpu *v = vcpus.lookup(&vcpu);
	struct lane *lane;

	if (!v)
		return 0;
	lane = &v->lanes[w->open.worker & (LANES - 1)];
	if (lane->worker != w->open.worker) {
		if (lane->filled != lane->drained)
			return 0;
		lane->worker = w->open.worker;
	}
	if (lane->filled - lane->drained >= LANE_ROOM)
		return 0;
	lane->queue[lane->filled & (LANE_ROOM - 1)] = w->open;
	barrier();
	lane->filled += 1;
	count_handed(vcpu, 1);
	w->vcpu = vcpu;
	w->stage = STAGE_HANDED;
	return 1;
}

/* vhost's reader has copied the packet into the guest's ring and frees its socket buffer. */
INLINE void put_into_ring(struct packet *p, struct stats *s, struct control *c)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct worker *w = workers.lookup(&tid);
	u32 zero = 0;
	struct leg_table *table = leg_tables.lookup(&zero);
	u64 key;
	struct packet *room;

	if (!w || !table) {
		finish(p, s, c, BIN_COMPLETED);
		return;
	}
	/* The signal before is over.  Ended here, and not at the next one: while a kprobe's program runs,
	 * those of packets that interrupt it do not. */
	settle(w, s, c);
	if ((p->seen & (1U << STEP_TUN_OUT)) && !(p->seen & (1U << STEP_RX_VHOST_WOKEN)))
		p->absent[0] = (w->since > p->t[STEP_TUN_OUT] ? ABSENT_RX_WORKER_NEW : ABSENT_RX_WORKER_AWAKE) + 1;
	else if ((p->seen & (1U << STEP_RX_VHOST_WOKEN)) && !(p->seen & (1U << STEP_RX_VHOST_ON_CPU)))
		p->absent[0] = ABSENT_RX_WORKER_NOT_ASLEEP + 1;
	p->worker = tid;
	key = taken_key(tid, w->taken);
	room = taken.lookup(&key);
	if (room && !room->active) {
		p->passed_ns = book_legs(p, s);
		*room = *p;
	} else if (!room && !taken.update(&key, p)) {
		room = taken.lookup(&key);
		if (!room)
			return;
		room->passed_ns = book_legs(room, s);
	} else { /* so many are not announced yet that it ends here */
		p->absent[1] = ABSENT_RING_FULL + 1;
		book_absent(p->slot, ABSENT_RING_FULL + 1, 1);
		finish(p, s, c, BIN_COMPLETED);
		return;
	}
	book_absent(p->slot, p->absent[0], 1);
	book_flow(p, s);
	w->slot = p->slot;
	w->taken += 1;
	p->active = 0;
	if (c->crowded) {
		u64 address = p->skb;

		packets.delete(&address);
	}
}

/* What the run of the TX queue did before its first packet came; `first`: this is that packet. */
INLINE void join_run(struct packet *p, struct stats *s, u32 tid, struct worker *w, int first)
{
	p->worker = tid;
	if (!first) {
		p->absent[0] = ABSENT_KICK_SHARED + 1;
		return;
	}
	p->absent[0] = w->run_absent;
	p->kicker = w->kicker;
	prepend(p, s, STEP_VHOST_TX, w->run_hook, w->run_t);
	if (w->run_on_cpu_t)
		prepend(p, s, STEP_TX_VHOST_ON_CPU, HOOK_SCHED_SWITCH_VHOST, w->run_on_cpu_t);
	if (w->run_woken_t)
		prepend(p, s, STEP_TX_VHOST_WOKEN, HOOK_SCHED_WAKING_VHOST, w->run_woken_t);
	if (w->kick_t)
		prepend(p, s, STEP_GUEST_KICK, HOOK_IOEVENTFD_WRITE, w->kick_t);
	if (w->exit_t)
		prepend(p, s, STEP_GUEST_EXIT, HOOK_KVM_EXIT, w->exit_t);
	p->cpu[STEP_GUEST_EXIT] = p->cpu[STEP_GUEST_KICK] = p->cpu[STEP_TX_VHOST_WOKEN] = w->kick_cpu;
}
