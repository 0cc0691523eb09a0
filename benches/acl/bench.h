/* Shared declarations of acl-bench, a harness over DPDK's librte_acl. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the program: 2 for a wrong command line, 1 for everything else. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };
_Noreturn void die(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- read.c ---- */

struct addr {
	uint32_t word[4]; /* host order, most significant first; v4 uses word[0] */
};

struct rule {
	struct addr src, dst;
	uint8_t src_len, dst_len;
	uint16_t sport_lo, sport_hi, dport_lo, dport_hi;
	uint8_t proto, proto_mask;
};

struct ruleset {
	struct rule *rules; /* in file order: the first that matches wins */
	size_t count;
	bool v6;
};

/*
 * What librte_acl looks at, in network byte order. Every field that it loads
 * starts at a multiple of 4, so one key is one or two cache lines and no load
 * reaches past its end.
 */
struct key4 {
	uint8_t proto, pad[3];
	uint32_t src, dst;
	uint16_t sport, dport;
};

struct key6 {
	uint8_t proto, pad[3];
	uint32_t src[4], dst[4];
	uint16_t sport, dport;
};

struct trace {
	const uint8_t **keys; /* as rte_acl_classify() takes them */
	size_t count;
	size_t mapped; /* bytes at keys */
};

void read_rules(const char *path, struct ruleset *set);
void read_trace(const char *path, bool v6, struct trace *trace);
void free_trace(struct trace *trace);

/* ---- pages.c ---- */

/* Zeroed memory on the largest pages to be had; size is rounded up to 2 MiB. */
void *map_pages(size_t *size);
/* What actually backs the mapping at addr: "huge", "thp" or "4k". */
const char *pages_of(const void *addr);

/* ---- acl.c ---- */

#define MAX_BATCH 4096

struct variant {
	const char *name;
	int alg;
};
#define VARIANTS 6
extern const struct variant variants[VARIANTS];

struct built {
	double build_ms;
	size_t memory_bytes;
	const char *pages;
};

const char *acl_version(void);
void acl_start(void);
void acl_build(const struct ruleset *set, size_t max_size, size_t heap_bytes, struct built *out);
bool acl_supported(const struct variant *v);
/* One pass over the trace; results, when given, gets one entry per header. */
double acl_pass(const struct variant *v, const struct trace *trace, size_t batch, int32_t *results);

#endif
