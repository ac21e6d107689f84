/* SPDX-License-Identifier: GPL-2.0-only */
/* Where packets end: bins, legs, flows, drops, and the ring to user space. */

/* 1 if v is above limit, else 0, without a branch: branches here multiply the verifier's work. */
#define ABOVE(limit, v) (((limit) - (v)) >> 63)

/* Log-linear, eight buckets an octave.  Twin of bucket_of() in vmlat_tui/model/histogram.py. */
INLINE u64 bucket_of(u64 ns)
{
	u64 w = (ns & 0xffffffffffffULL) + 8, v = w, e, shift;

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

/* `first` is the place of this processor's legs of the vNIC. */
INLINE void book_leg(u32 first, u32 leg, u64 ns)
{
	u32 index = first + leg;
	struct leg *l = legs.lookup(&index);
	u64 bucket = bucket_of(ns);

	if (!l)
		return;
	if (bucket >= BUCKETS)
		bucket = BUCKETS - 1;
	if (ns > l->max_ns)
		l->max_ns = ns;
	l->count += 1;
	l->sum_ns += ns;
	l->bucket[bucket] += 1;
}

/* Every leg of the packet and its total; the legs of one packet add up to its total. */
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

	u32 place = p->slot * table->room;

	if (place >= table->processor) { /* of no vNIC */
		s->unlisted += 1;
		return 0;
	}
	place += bpf_get_smp_processor_id() * table->processor;
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
	book_leg(place, table->total[direction], before - begin);
	return before - begin;
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

/* May one more packet go to user space in this second? */
INLINE int within_rate(u32 max_rate)
{
	u32 zero = 0, one = 1;
	u64 now, *since, *given;

	if (!max_rate)
		return 1;
	since = rate.lookup(&zero);
	given = rate.lookup(&one);
	if (!since || !given)
		return 0;
	now = bpf_ktime_get_ns();
	if (now - *since >= 1000000000ULL) {
		*since = now;
		*given = 0;
	}
	if (*given >= max_rate)
		return 0;
	__sync_fetch_and_add(given, 1);
	return 1;
}

INLINE void emit(struct packet *p, struct stats *s, struct control *c)
{
	if (!within_rate(c->max_rate))
		s->suppressed += 1;
	else if (events.ringbuf_output(p, sizeof(*p), BPF_RB_NO_WAKEUP)) /* user space polls */
		s->lost += 1;
	else
		s->emitted += 1;
}

INLINE void book_drop(struct packet *p)
{
	struct drop_key key = {
		.location = p->location, .reason = p->reason, .direction = p->direction,
		.slot = p->slot, .last = p->last, .hook = p->hook[p->last & (STEPS - 1)],
	};
	u64 *count = drops.lookup(&key), none = 0;

	if (!count) {
		drops.insert(&key, &none);
		count = drops.lookup(&key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
}

/* The packet ends here, in exactly one bin. */
INLINE void finish(struct packet *p, struct stats *s, struct control *c, u32 bin)
{
	p->active = 0;
	p->bin = bin;
	s->bins[p->direction & 1][bin] += 1;
	if (bin == BIN_COMPLETED) {
		u64 total_ns = book_legs(p, s);

		book_flow(p, s);
		if (c->emit && total_ns >= c->threshold_ns &&
		    (c->sample < 2 || bpf_get_prandom_u32() % c->sample == 0))
			emit(p, s, c);
	} else if (bin == BIN_DROPPED) {
		book_flow(p, s);
		book_drop(p);
		if (c->emit)
			emit(p, s, c);
	}
	if (c->crowded) {
		u64 address = p->skb;

		packets.delete(&address);
	}
}
