/* SPDX-License-Identifier: GPL-2.0-only */
/* Where packets end: bins, legs, flows, drops, and the ring to user space. */

/* 1 if v is above limit, else 0, without a branch: branches here multiply the verifier's work. */
#define ABOVE(limit, v) (((limit) - (v)) >> 63)

/* The last value (+ 8) of the last bucket. */
#define TOP ((16ULL << (BUCKETS / 8 - 1)) - 1)

/* Log-linear, eight buckets an octave.  Twin of bucket_of() in vmlat_tui/model/histogram.py. */
INLINE u64 bucket_of(u64 ns)
{
	u64 w = (ns & 0xffffffffffffULL) + 8, v, e, shift;

	w -= (w - TOP) * ABOVE(TOP, w); /* longer ones count in the last bucket */
	v = w;
	e = ABOVE(0xffffffffULL, v) << 5;
	v >>= e;
	shift = ABOVE(0xffffULL, v) << 4;
	v >>= shift;
	e += shift;
	shift = ABOVE(0xffULL, v) << 3;
	v >>= shift;
	e += shift;
	shift = ABOVE(0xfULL, v) << 2;
	v >>= shift;
	e += shift;
	shift = ABOVE(3ULL, v) << 1;
	v >>= shift;
	e += shift + (v >> 1) - 3;
	return e * 8 + ((w >> (e & 63)) & 7);
}

INLINE void count_leg(struct leg *l, u64 ns, u32 packets)
{
	u64 bucket = bucket_of(ns);

	opaque(bucket);
	if (bucket >= BUCKETS) /* never, which the verifier cannot know */
		return;
	opaque(bucket);
	l->max_ns += (ns - l->max_ns) * ABOVE(l->max_ns, ns);
	l->count += packets;
	l->sum_ns += ns * packets;
	l->bucket[bucket] += packets;
}

/* `first` is the place of this processor's legs of the vNIC. */
INLINE void book_leg(u32 first, u32 leg, u64 ns)
{
	u32 index = first + leg;
	struct leg *l = legs.lookup(&index);

	if (l)
		count_leg(l, ns, 1);
}

/* This processor's legs of a vNIC begin there; past the end of the table for a packet of no vNIC. */
INLINE u32 place_of(struct leg_table *table, u32 slot)
{
	u32 place = slot * table->room;

	return place >= table->processor ?
		       ~0U :
		       place + bpf_get_smp_processor_id() * table->processor;
}

/* Every leg of the packet up to its last step; returns their sum. */
INLINE u64 book_legs(struct packet *p, struct stats *s)
{
	u32 zero = 0;
	struct leg_table *table = leg_tables.lookup(&zero);
	u32 direction = p->direction & 1;
	u32 step = p->first & (STEPS - 1);
	u32 seen = p->seen & ~(1U << step);
	u64 begin = p->t[step], before = begin;

	if (!table)
		return 0;

	u32 place = place_of(table, p->slot);

	if (place == ~0U) {
		s->unlisted += 1;
		return 0;
	}
	p->cursor = step;
#pragma clang loop unroll(disable)
	for (step = FIRST_START + 1; step < LAST_STEP + 1; step++) {
		if (!((seen >> step) & 1))
			continue;

		u64 ns = p->t[step] - before;

		if ((s64)ns < 0) {
			s->disorder += 1;
			continue;
		}
		before += ns;

		u32 leg = table->leg[direction][p->cursor & (STEPS - 1)][step];

		p->cursor = step;
		if (leg < table->room)
			book_leg(place, leg, ns);
		else
			s->unlisted += 1;
	}
	return before - begin;
}

/* The whole way of the packet: the sum of its legs. */
INLINE void book_total(struct packet *p, u64 ns)
{
	u32 zero = 0, place;
	struct leg_table *table = leg_tables.lookup(&zero);

	if (!table)
		return;
	place = place_of(table, p->slot);
	if (place != ~0U)
		book_leg(place, table->total[p->direction & 1], ns);
}

/* Packets of a vNIC that left points out; `absent` is a reason's number + 1, 0 none. */
INLINE void book_absent(u32 slot, u32 absent, u32 packets)
{
	u32 zero = 0;
	struct leg_table *table = leg_tables.lookup(&zero);

	if (!table || !absent || slot >= table->vnics)
		return;

	u32 index = (bpf_get_smp_processor_id() * table->vnics + slot) * ABSENCE_ROOM + absent - 1;
	u64 *count = absences.lookup(&index);

	if (count)
		*count += packets;
}

INLINE void book_flow(struct packet *p, struct stats *s)
{
	struct flow_key key = {};
	struct flow_value *value, fresh = {};
	u64 now = p->t[p->last & (STEPS - 1)];

	key.flow = p->flow;
	key.direction = p->direction;
	key.slot = p->slot;
	value = flows.lookup(&key);
	if (!value) {
		fresh.first_ns = now;
		flows.insert(&key, &fresh); /* another processor's is as good */
		value = flows.lookup(&key);
		if (!value) {
			s->flows_full += 1;
			return;
		}
	}
	__sync_fetch_and_add(&value->packets, 1);
	__sync_fetch_and_add(&value->bytes, p->bytes);
	value->last_ns = now;
}

/* How many packets went to user space in this second. */
INLINE u64 *given_this_second(void)
{
	u32 zero = 0, one = 1;
	u64 now = bpf_ktime_get_ns(), *since = rate.lookup(&zero), *given = rate.lookup(&one);

	if (since && given && now - *since >= 1000000000ULL) {
		*since = now;
		*given = 0;
	}
	return since ? given : 0;
}

#define NO_LIMIT (~0ULL)

/* If `given` is within the limit; user space polls the ring.  What goes without a limit is not counted
 * against one that is set later in this second. */
INLINE void emit_within(struct packet *p, u64 *given, u64 limit, struct stats *s)
{
	if (*given >= limit) {
		s->suppressed += 1;
		return;
	}
	__sync_fetch_and_add(given, limit != NO_LIMIT);

	u64 full = (u64)(s64)events.ringbuf_output(p, sizeof(*p), BPF_RB_NO_WAKEUP) >> 63;

	s->lost += full;
	s->emitted += 1 - full;
}

INLINE void emit(struct packet *p, struct stats *s, struct control *c)
{
	u64 *given = given_this_second();

	if (given)
		emit_within(p, given, c->max_rate ? c->max_rate : NO_LIMIT, s);
}

INLINE void book_drop(struct packet *p, struct stats *s)
{
	struct drop_key key = {
		.location = p->location, .reason = p->reason, .slot = p->slot,
		.direction = p->direction, .last = p->last, .hook = p->hook[p->last & (STEPS - 1)],
	};
	u64 *count = drops.lookup(&key), none = 0;

	if (!count) {
		drops.insert(&key, &none);
		count = drops.lookup(&key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		s->drops_full += 1;
}

/* The packet ends here, in exactly one bin. */
INLINE void finish(struct packet *p, struct stats *s, struct control *c, u32 bin)
{
	p->active = 0;
	p->bin = bin;
	s->bins[p->direction & 1][bin] += 1;
	if (bin == BIN_COMPLETED) {
		u64 total_ns = book_legs(p, s);

		book_total(p, total_ns);
		book_absent(p->slot, p->absent[0], 1);
		book_flow(p, s);
		if (c->emit && total_ns >= c->threshold_ns &&
		    (c->sample < 2 || bpf_get_prandom_u32() % c->sample == 0))
			emit(p, s, c);
	} else if (bin == BIN_DROPPED) {
		book_flow(p, s);
		book_drop(p, s);
		if (c->emit)
			emit(p, s, c);
	}
	if (c->crowded) {
		u64 address = p->skb;

		packets.delete(&address);
	}
}
