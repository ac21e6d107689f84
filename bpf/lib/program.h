/* SPDX-License-Identifier: GPL-2.0-only */
/* What all programs are written with, on the host and in a guest. */

#define INLINE static __attribute__((always_inline)) inline

#define barrier() __asm__ volatile("" ::: "memory")
/* The compiler may neither know the value nor keep a second copy: what the verifier sees checked is
 * what is used. */
#define opaque(value) __asm__ volatile("" : "+r"(value))

/* The context of a program; of a kprobe it is struct pt_regs (see ARG). */
struct arguments {
	u64 a[6];
};

/* `direct`: the program is of a BTF-typed kind and may load fields of its arguments itself. */
#define LOAD(type, base, offset, direct)                                                     \
	({                                                                                   \
		type value_ = 0;                                                             \
		if (direct)                                                                  \
			value_ = *(volatile type *)((base) + (offset));                      \
		else                                                                         \
			bpf_probe_read_kernel(&value_, sizeof(value_), (void *)((base) + (offset))); \
		value_;                                                                      \
	})

/* A pointer member as a number: BTF-typed programs may not calculate with one they loaded. */
INLINE u64 number(u64 address)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

/*
 * Argument n of a function: of a fentry program an element of the context, of a kprobe a register
 * (x86-64 calling convention).  User space says which, function by function.  fentry's
 * are read as numbers, because the verifier knows their types and would forbid to calculate.
 */
#define REGISTER_1 14 /* di in struct pt_regs */
#define REGISTER_2 13 /* si */
#define REGISTER_3 12 /* dx */
#define REGISTER_4 11 /* cx */
#define ARG(n, symbol)                                                                       \
	(FENTRY_##symbol ? number((u64)&ctx->a[(n) - 1]) : ((u64 *)ctx)[REGISTER_##n])
