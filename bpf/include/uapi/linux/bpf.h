/* SPDX-License-Identifier: GPL-2.0-only */
/* Empty on purpose: BCC includes it, vmlat needs nothing of it. */
