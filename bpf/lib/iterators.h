/* SPDX-License-Identifier: GPL-2.0-only */
/* Hash tables for user space: BPF iterators, which unlike the system calls that look elements up do
 * not keep the kernel from running kprobes meanwhile.  They need BTF. */

#define ITERATOR(table, key_type, value_type)                                                \
	int it_##table(struct arguments *ctx)                                                \
	{                                                                                    \
		void *key = (void *)ctx->a[2], *value = (void *)ctx->a[3];                   \
		struct seq_file *out = (void *)LOAD(u64, ctx->a[0], 0, 1);                   \
                                                                                             \
		if (!key || !value)                                                          \
			return 0;                                                            \
		bpf_seq_write(out, key, sizeof(key_type));                                   \
		bpf_seq_write(out, value, sizeof(value_type));                               \
		return 0;                                                                    \
	}

ITERATOR(packets, u64, struct packet)
ITERATOR(parked, struct content, struct packet)
ITERATOR(flows, struct flow_key, struct flow_value)
ITERATOR(drops, struct drop_key, u64)
ITERATOR(taken, u64, struct packet)
ITERATOR(works, u64, struct work)
ITERATOR(workers, u32, struct worker)
ITERATOR(wakes, u32, struct wake)
ITERATOR(tun_entries, u32, struct entry)
