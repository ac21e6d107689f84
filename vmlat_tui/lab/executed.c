/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QEMU plugin: how many instructions the machine's processors have executed, for the machine itself.
 *
 * The sum is in the first eight bytes of a file that the machine sees as the memory of a PCI device
 * (ivshmem), renewed every millisecond.  A block that a fault leaves early is counted whole.
 *
 * What is used of QEMU's plugin interface (8.2 or later) is declared here, so that no header of QEMU
 * is needed.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct scoreboard;
struct block;
typedef struct {
	struct scoreboard *score;
	size_t offset;
} counter;
enum operation { ADD };

struct scoreboard *qemu_plugin_scoreboard_new(size_t size);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t, struct block *));
size_t qemu_plugin_tb_n_insns(const struct block *block);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct block *block, enum operation operation,
						       counter entry, uint64_t value);
uint64_t qemu_plugin_u64_sum(counter entry);

__attribute__((visibility("default"))) int qemu_plugin_version = 3;

static counter executed;
static volatile uint64_t *shown;

static void translated(uint64_t id, struct block *block)
{
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD, executed,
							  qemu_plugin_tb_n_insns(block));
}

static void *show(void *unused)
{
	for (;;) {
		*shown = qemu_plugin_u64_sum(executed);
		usleep(1000);
	}
	return unused;
}

/* Its argument: shown=FILE */
__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *info, int count,
								char **arguments)
{
	pthread_t thread;
	int file;

	(void)info;
	if (count != 1 || strncmp(arguments[0], "shown=", 6))
		return 1;
	file = open(arguments[0] + 6, O_RDWR);
	shown = mmap(NULL, sizeof(*shown), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shown == MAP_FAILED)
		return 1;
	executed.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return pthread_create(&thread, NULL, show, NULL);
}
