/* SPDX-License-Identifier: GPL-2.0-only */
/* Nothing here depends on the kernel's version: offsets come from its BTF. */
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
