/* SPDX-License-Identifier: GPL-2.0-only */
/* What a packet is, by its bytes. */

/* Ethernet and IP, in host order on little endian. */
#define P_IP 0x0008
#define P_IPV6 0xdd86
#define P_8021Q 0x0081
#define P_8021AD 0xa888
#define IP_OFFSET_MASK 0xff1f
#define IP6_OFFSET_MASK 0xf8ff
#define PROTO_HOPBYHOP 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_FRAGMENT 44
#define PROTO_ICMPV6 58

/* What is known of a packet from its bytes. */
struct view {
	struct flow flow;
	u32 id1;
	u32 id2;
	u32 payload;
	u8 known;	     /* a first fragment or whole packet of a measured protocol */
	u8 later_fragment;
};

/* A digest of the first 32 bytes, or the first 24, 16 or 8; 0 of fewer.  `length` is the datagram's. */
INLINE u32 payload_of(const u8 *udp, u32 length)
{
	u32 digest = 0;

#pragma unroll
	for (u32 at = 8; at < 40; at += 4)
		if (length >= (at | 7) + 1)
			digest = (digest ^ *(u32 *)(udp + at)) * 0x9e3779b1U + (digest >> 15);
	return digest;
}

/*
 * Read the headers from the IP header on, which is at b + 16 and 14 bytes behind `mac`.
 *
 * id1 and id2 are what tells two packets of one flow apart and what no switch rewrites: TCP
 * sequence and acknowledgement, UDP length, ICMP id and sequence, the IP id.  Checksums
 * are left out, because checksum offload completes them on the way.  Of an echo, user space
 * takes the id and sequence from id1, the type from the low byte of id2.
 */
INLINE void identify_ip(struct view *v, const u8 *b, u16 type, u64 mac)
{
	u8 more[40] __attribute__((aligned(8)));
	const u8 *l4;
	u32 ip_id = 0;

	if (type == P_IP) {
		u32 header = (b[16] & 15) * 4;

		v->flow.version = 4;
		v->flow.proto = b[25];
		v->flow.src[0] = *(u32 *)(b + 28);
		v->flow.dst[0] = *(u32 *)(b + 32);
		ip_id = *(u16 *)(b + 20);
		if (*(u16 *)(b + 22) & IP_OFFSET_MASK) {
			v->later_fragment = 1;
			return;
		}
		l4 = b + 36;
		if (header != 20) {
			if (header < 20 ||
			    bpf_probe_read_kernel(more, sizeof(more), (void *)(mac + 14 + header)))
				return;
			l4 = more;
		}
	} else if (type == P_IPV6) {
		v->flow.version = 6;
		v->flow.proto = b[22];
		v->flow.src[0] = *(u64 *)(b + 24);
		v->flow.src[1] = *(u64 *)(b + 32);
		v->flow.dst[0] = *(u64 *)(b + 40);
		v->flow.dst[1] = *(u64 *)(b + 48);
		l4 = b + 56;
		if (v->flow.proto == PROTO_HOPBYHOP && b[57] == 0) {
			/* Of one option of 8 bytes: a jumbogram's, which Linux's own of over 64 KB have. */
			v->flow.proto = b[56];
			l4 = b + 64;
		} else if (v->flow.proto == PROTO_FRAGMENT) {
			v->flow.proto = b[56];
			ip_id = *(u32 *)(b + 60);
			if (*(u16 *)(b + 58) & IP6_OFFSET_MASK) {
				v->later_fragment = 1;
				return;
			}
			l4 = b + 64;
		}
	} else {
		return;
	}

	if (v->flow.proto == PROTO_TCP) {
		v->flow.sport = *(u16 *)l4;
		v->flow.dport = *(u16 *)(l4 + 2);
		v->id1 = *(u32 *)(l4 + 4);
		v->id2 = *(u32 *)(l4 + 8) ^ (ip_id << 16);
		v->known = 1;
	} else if (v->flow.proto == PROTO_UDP) {
		v->flow.sport = *(u16 *)l4;
		v->flow.dport = *(u16 *)(l4 + 2);
		v->id1 = *(u16 *)(l4 + 4);
		v->id2 = ip_id;
		v->payload = payload_of(l4, __builtin_bswap16(v->id1));
		v->known = 1;
	} else if (v->flow.proto == (v->flow.version == 4 ? PROTO_ICMP : PROTO_ICMPV6)) {
		u8 kind = l4[0];

		if (v->flow.version == 4 ? (kind == 8 || kind == 0) : (kind == 128 || kind == 129)) {
			v->flow.sport = *(u16 *)(l4 + 4);
			v->flow.dport = v->flow.sport;
			v->id1 = *(u32 *)(l4 + 4);
			v->id2 = (ip_id << 8) | kind;
			v->known = 1;
		}
	}
}

/*
 * Read the headers.  `mac` is the address of the Ethernet header.  The buffer starts two bytes
 * before it, so that the IP header is aligned on the stack; past the linear part lies the
 * buffer's own shared info, so a fixed length is safe to read.
 */
INLINE void identify(struct view *v, u64 mac)
{
	u8 b[104] __attribute__((aligned(8)));
	u16 type;

	if (bpf_probe_read_kernel(b, sizeof(b), (void *)(mac - 2)))
		return;
	type = *(u16 *)(b + 14);
	if (type == P_8021Q || type == P_8021AD) {
		mac += 4;
		if (*(u16 *)(b + 18) == P_8021Q || *(u16 *)(b + 18) == P_8021AD)
			mac += 4;
		if (bpf_probe_read_kernel(b, sizeof(b), (void *)(mac - 2)))
			return;
		type = *(u16 *)(b + 14);
	}
	identify_ip(v, b, type, mac);
}

/* at_data: the MAC header has not been set yet, the frame starts at data. */
INLINE u64 mac_of(u64 skb, int direct, int at_data)
{
	if (at_data)
		return LOAD(u64, skb, SKB_DATA, direct);
	return LOAD(u64, skb, SKB_HEAD, direct) + LOAD(u16, skb, SKB_MAC_HEADER, direct);
}
