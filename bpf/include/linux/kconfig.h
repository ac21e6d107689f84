/* SPDX-License-Identifier: GPL-2.0-only */
/* What BCC asks the kernel tree for; a real tree is not needed (see bpf/README.md). */
#define CONFIG_BPF_SYSCALL 1
