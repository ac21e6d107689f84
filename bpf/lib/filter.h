/* SPDX-License-Identifier: GPL-2.0-only */
/* Which packets are measured. */

INLINE int rule_matches(struct rule *r, u64 src0, u64 src1, u64 dst0, u64 dst1, u16 sport, u16 dport)
{
	u32 f = r->fields;

	return (!(f & FIELD_SRC) || (r->flow.src[0] == src0 && r->flow.src[1] == src1)) &&
	       (!(f & FIELD_DST) || (r->flow.dst[0] == dst0 && r->flow.dst[1] == dst1)) &&
	       (!(f & FIELD_SPORT) || r->flow.sport == sport) &&
	       (!(f & FIELD_DPORT) || r->flow.dport == dport);
}

INLINE int wanted(struct control *c, struct flow *w)
{
	u32 index = c->active_rules & 1;
	struct rules *set = rulesets.lookup(&index);

	if (!set || set->count == 0)
		return 1;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < RULES; i++) {
		struct rule *r = &set->rule[i];

		if (i >= set->count)
			break;
		if ((r->fields & FIELD_PROTO) && r->flow.proto != w->proto)
			continue;
		if ((r->fields & FIELD_VERSION) && r->flow.version != w->version)
			continue;
		if (rule_matches(r, w->src[0], w->src[1], w->dst[0], w->dst[1], w->sport, w->dport))
			return 1;
		if (r->either &&
		    rule_matches(r, w->dst[0], w->dst[1], w->src[0], w->src[1], w->dport, w->sport))
			return 1;
	}
	return 0;
}
