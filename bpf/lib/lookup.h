/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in the maps: an interface's role, a packet's state, settings, counters. */

/* Interfaces have their place by the lower bits of their number; where two measured ones have the same,
 * all but one lie beside the table. */
INLINE struct role *role_of(u64 dev, int direct)
{
	u32 ifindex = LOAD(u32, dev, NETDEV_IFINDEX, direct);
	u32 place = ifindex & (ROLE_SLOTS - 1);
	struct role *role = roles.lookup(&place);

	if (!role)
		return 0;
	if (role->ifindex != ifindex) {
		if (!role->ifindex)
			return 0;
		role = roles_beside.lookup(&ifindex);
		if (!role)
			return 0;
	}

	u64 net = LOAD(u64, dev, NETDEV_ND_NET, direct);

	return LOAD(u32, net, NET_NS + NS_INUM, direct) == role->netns ? role : 0;
}

/* The state stored under the address of a socket buffer, in flight or not.  The key is a copy:
 * older kernels (seen on 6.1) forget the type of a pointer whose stack slot a helper has read. */
INLINE struct packet *packet_of(u64 skb)
{
	u64 address = skb;

	return packets.lookup(&address);
}

INLINE struct control *control(void)
{
	u32 zero = 0;

	return controls.lookup(&zero);
}

INLINE struct stats *stats(void)
{
	u32 processor = bpf_get_smp_processor_id();

	return statistics.lookup(&processor);
}

#define READY_OR(otherwise)                                                                  \
	struct stats *s = stats();                                                           \
	struct control *c = control();                                                       \
	if (!s || !c)                                                                        \
		otherwise
#define READY READY_OR(return 0)

/* Of a thread, or of a work that it runs. */
INLINE void no_room_for_thread(void)
{
	struct stats *s = stats();

	if (s)
		s->threads_full += 1;
}

INLINE struct context *context(void)
{
	u32 zero = 0;

	return contexts.lookup(&zero);
}
