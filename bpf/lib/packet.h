/* SPDX-License-Identifier: GPL-2.0-only */
/* The life of a packet: started, found again, parked, adopted, stamped. */

/* Addresses may be rewritten on the way (NAT), but hardly both at once. */
INLINE int same(struct packet *p, struct view *v)
{
	return v->known && p->id1 == v->id1 && p->id2 == v->id2 && p->flow.proto == v->flow.proto &&
	       ((p->flow.src[0] == v->flow.src[0] && p->flow.src[1] == v->flow.src[1]) ||
		(p->flow.dst[0] == v->flow.dst[0] && p->flow.dst[1] == v->flow.dst[1]));
}

/* What identifies the packet when its socket buffer is replaced.  The first payload bytes
 * tell UDP datagrams of one flow apart where all have the IP id 0; only a linear
 * buffer surely has them (`payload` 0 otherwise). */
INLINE void content_of(struct content *key, struct view *v, u64 skb, int direct)
{
	key->flow = v->flow;
	key->id1 = v->id1;
	key->id2 = v->id2;
	if (v->flow.proto == PROTO_UDP) {
		key->id1 = 0; /* the length changes when a datagram is segmented */
		if (LOAD(u32, skb, SKB_DATA_LEN, direct) == 0)
			key->payload = v->payload;
	}
}

INLINE void parked_add(long n)
{
	u32 zero = 0;
	u64 *count = parked_count.lookup(&zero);

	if (count)
		__sync_fetch_and_add(count, n);
}

/* The socket buffer is about to be replaced: keep the state under the content. */
INLINE void park(struct packet *p, struct view *v, u64 skb, struct stats *s, int direct)
{
	struct content key = {};
	struct packet *before;

	content_of(&key, v, skb, direct);
	before = parked.lookup(&key);
	if (before) /* two packets that nothing tells apart: the later one wins */
		s->bins[before->direction & 1][BIN_EVICTED] += 1;
	p->parked = 1;
	if (parked.update(&key, p))
		s->bins[p->direction & 1][BIN_EVICTED] += 1;
	else if (!before)
		parked_add(1);
	p->active = 0;
	p->parked = 0;
}

/* This processor takes the packet through the switch now, to the end of its way unless it is queued
 * (upcall, qdisc). */
INLINE void enter_switch(u64 skb)
{
	u32 zero = 0;
	u64 *now = at_switch.lookup(&zero);

	if (now)
		*now = skb;
}

/* A socket buffer without a state: is it the successor of a parked one? */
INLINE struct packet *adopt(struct view *v, u64 skb, struct stats *s, int direct, int itself)
{
	struct content key = {};
	u64 address = skb;
	struct packet *p;

	content_of(&key, v, skb, direct);
	p = parked.lookup(&key);
	if (!p && key.payload) {
		key.payload = 0;
		p = parked.lookup(&key);
	}
	if (!p || (itself && p->skb != skb))
		return 0;
	if (packets.update(&address, p)) {
		s->bins[p->direction & 1][BIN_EVICTED] += 1;
		p = 0;
	} else {
		p = packet_of(skb);
	}
	if (parked.delete(&key) == 0)
		parked_add(-1);
	if (p) {
		p->skb = skb;
		p->parked = 0;
		s->adopted += 1;
		enter_switch(skb);
	}
	return p;
}

/* A switch that sends a packet to several ports (unknown address, mirror) gives all but the last of
 * them a clone: the packet that this clone was made of, or none. */
INLINE struct packet *original_of(u64 skb, int direct)
{
	u32 zero = 0;
	u64 *origin = at_switch.lookup(&zero);
	struct view v = {};
	struct packet *p;

	if (!origin || *origin == skb ||
	    !(LOAD(u8, skb, SKB_CLONED_BYTE, direct) & SKB_CLONED_MASK))
		return 0;
	p = packet_of(*origin);
	if (!p || !p->active || p->last > STEP_SWITCH_OUT)
		return 0;
	identify(&v, mac_of(skb, direct, 0));
	return same(p, &v) ? p : 0;
}

/* The packet goes its way as this clone. */
INLINE struct packet *follow(struct packet *p, u64 skb)
{
	u64 address = skb;
	struct packet *clone;

	if (packets.update(&address, p))
		return 0;
	p->active = 0;
	clone = packet_of(skb);
	if (clone)
		clone->skb = skb;
	return clone;
}

/* The packet in flight that this socket buffer carries, or none.  `itself`: of a parked packet only
 * its own buffer counts, not one with the same content; a neighbour's driver frees such a one when
 * it has sent it (to this very host, in a lab or between namespaces). */
INLINE struct packet *find(u64 skb, struct view *v, struct stats *s, int direct, int at_data,
			   int itself)
{
	struct packet *p = packet_of(skb);
	u32 zero = 0;
	u64 *waiting = parked_count.lookup(&zero);
	int mine = p && p->active;

	if (!waiting || (!mine && (long)*waiting <= 0))
		return 0;
	identify(v, mac_of(skb, direct, at_data));
	if (mine) {
		if (same(p, v))
			return p;
		p->active = 0;
		s->reused += 1;
		s->bins[p->direction & 1][BIN_EXPIRED] += 1;
	}
	if (!v->known || (long)*waiting <= 0)
		return 0;
	return adopt(v, skb, s, direct, itself);
}

INLINE void stamp(struct packet *p, struct stats *s, struct control *c, u32 step, u32 hook, u64 now)
{
	s->hits[hook] += 1;
	p->t[step] = now;
	p->hook[step] = hook;
	p->seen |= 1U << step;
	p->last = step;
	if (c->detail)
		p->cpu[step] = bpf_get_smp_processor_id();
}

/* A later step: the first passage counts, except that the way out of the switch is its last. */
INLINE struct packet *hit(u64 skb, u32 step, u32 hook, struct stats *s, struct control *c,
			  int direct, int at_data)
{
	struct view v = {};
	struct packet *p = find(skb, &v, s, direct, at_data, 0);

	if (p && (step == STEP_SWITCH_OUT || !(p->seen & (1U << step))))
		stamp(p, s, c, step, hook, bpf_ktime_get_ns());
	return p;
}

INLINE struct packet *start(u64 skb, u32 direction, struct role *role, struct stats *s,
			    struct control *c)
{
	u64 now = bpf_ktime_get_ns();
	u32 step = direction == TX ? STEP_VNET_RX : STEP_PHY_RX;
	u32 hook = direction == TX ? HOOK_NETIF_RECEIVE_SKB_VNET : HOOK_NETIF_RECEIVE_SKB_PHY;
	struct view v = {};
	struct packet *p;

	if (!(c->directions & (1 << direction)))
		return 0;
	identify(&v, mac_of(skb, TP_DIRECT, 0));
	if (!v.known) {
		if (v.later_fragment)
			s->fragments += 1;
		else
			s->unparsed += 1;
		return 0;
	}
	if (!wanted(c, &v.flow))
		return 0;
	s->started[direction] += 1;
	p = packet_of(skb);
	if (!p) {
		u32 zero = 0;
		u64 address = skb;
		struct packet *b = blank.lookup(&zero);

		if (b)
			packets.update(&address, b);
		p = packet_of(skb);
		if (!p) { /* no room: from here on finished states leave the table */
			c->crowded = 1;
			s->bins[direction][BIN_EVICTED] += 1;
			return 0;
		}
	} else if (p->active) {
		/* Its end was not seen: a program does not run within itself on one processor. */
		s->reused += 1;
		s->bins[p->direction & 1][BIN_EXPIRED] += 1;
	}
	p->skb = skb;
	p->flow = v.flow;
	p->id1 = v.id1;
	p->id2 = v.id2;
	p->seen = 0;
	p->first = step;
	p->direction = direction;
	p->slot = role->slot;
	p->bytes = LOAD(u32, skb, SKB_LEN, TP_DIRECT) + 14;
	p->vm_ifindex = direction == TX ? role->ifindex : 0;
	p->phy_ifindex = direction == RX ? role->ifindex : 0;
	p->reason = 0;
	p->location = 0;
	p->parked = 0;
	p->kicker = p->worker = p->vcpu = 0;
	p->absent[0] = p->absent[1] = 0;
	if (c->detail) {
		u64 id = bpf_get_current_pid_tgid();

		p->tgid = id >> 32;
		p->tid = id;
		bpf_get_current_comm(p->comm, sizeof(p->comm));
	}
	stamp(p, s, c, step, hook, now);
	p->active = 1;
	enter_switch(skb);
	return p;
}

/* A step before the start, known only now: prepend it. */
INLINE void prepend(struct packet *p, struct stats *s, u32 step, u32 hook, u64 t)
{
	s->hits[hook & (HOOKS - 1)] += 1;
	p->t[step] = t;
	p->hook[step] = hook;
	p->cpu[step] = p->cpu[p->last & (STEPS - 1)];
	p->seen |= 1U << step;
	p->first = step;
}

/* A function that is given the socket buffer: its point, and nothing else. */
INLINE int pass(u64 skb, u32 step, u32 hook, int at_data)
{
	READY;
	hit(skb, step, hook, s, c, 0, at_data);
	return 0;
}

/* Itself or one of its clones: the last one counts. */
INLINE int leave_switch(u64 skb, u32 hook)
{
	READY;
	if (!hit(skb, STEP_SWITCH_OUT, hook, s, c, 0, 0)) {
		struct packet *p = original_of(skb, 0);

		if (p)
			stamp(p, s, c, STEP_SWITCH_OUT, hook, bpf_ktime_get_ns());
	}
	return 0;
}
