/* Everything that touches DPDK: start, build, classify. */
#define _GNU_SOURCE
#include "bench.h"

#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_version.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const struct variant variants[VARIANTS] = {
	{ "default", RTE_ACL_CLASSIFY_DEFAULT },      { "scalar", RTE_ACL_CLASSIFY_SCALAR },
	{ "sse", RTE_ACL_CLASSIFY_SSE },              { "avx2", RTE_ACL_CLASSIFY_AVX2 },
	{ "avx512x16", RTE_ACL_CLASSIFY_AVX512X16 },  { "avx512x32", RTE_ACL_CLASSIFY_AVX512X32 },
};

/* Fields are grouped by 4 bytes of key (input_index); the first alone must be one byte. */
#define FIELD(t, s, n, group, key, member)                                     \
	{                                                                      \
		.type = RTE_ACL_FIELD_TYPE_##t, .size = (s), .field_index = (n), \
		.input_index = (group), .offset = offsetof(struct key, member) \
	}

static const struct rte_acl_field_def fields4[] = {
	FIELD(BITMASK, 1, 0, 0, key4, proto),
	FIELD(MASK, 4, 1, 1, key4, src),
	FIELD(MASK, 4, 2, 2, key4, dst),
	FIELD(RANGE, 2, 3, 3, key4, sport),
	FIELD(RANGE, 2, 4, 3, key4, dport),
};

static const struct rte_acl_field_def fields6[] = {
	FIELD(BITMASK, 1, 0, 0, key6, proto),
	FIELD(MASK, 4, 1, 1, key6, src[0]),
	FIELD(MASK, 4, 2, 2, key6, src[1]),
	FIELD(MASK, 4, 3, 3, key6, src[2]),
	FIELD(MASK, 4, 4, 4, key6, src[3]),
	FIELD(MASK, 4, 5, 5, key6, dst[0]),
	FIELD(MASK, 4, 6, 6, key6, dst[1]),
	FIELD(MASK, 4, 7, 7, key6, dst[2]),
	FIELD(MASK, 4, 8, 8, key6, dst[3]),
	FIELD(RANGE, 2, 9, 9, key6, sport),
	FIELD(RANGE, 2, 10, 9, key6, dport),
};

RTE_ACL_RULE_DEF(rule4, RTE_DIM(fields4));
RTE_ACL_RULE_DEF(rule6, RTE_DIM(fields6));

static struct rte_acl_ctx *ctx;

const char *acl_version(void)
{
	return rte_version();
}

void acl_start(void)
{
	char cpu[16], simd[] = "--force-max-simd-bitwidth=512";
	snprintf(cpu, sizeof(cpu), "%d", sched_getcpu());
	/*
	 * No devices, no files shared with other processes. The memory that
	 * matters is our own heap (see acl_build): with --no-huge EAL backs its
	 * heap with a memfd, which madvise() cannot give large pages. Left to
	 * itself it stops at 256 bits and lists AVX-512 as unsupported.
	 */
	char *argv[] = { "acl-bench", "--no-huge",   "--no-shconf", "--no-pci", "--no-telemetry",
			 "-m",        "64",          "-l",          cpu,        "--log-level",
			 "error",     simd,          NULL };
	if (rte_eal_init((int)RTE_DIM(argv) - 1, argv) < 0)
		die(EXIT_FAILED, "rte_eal_init: %s", rte_strerror(rte_errno));
}

/* A heap of DPDK's on memory of ours; returns the socket number that stands for it. */
static int make_heap(size_t bytes, const char **base)
{
	void *at = map_pages(&bytes);
	const size_t page = RTE_PGSIZE_2M;
	if (rte_malloc_heap_create("acl") < 0 ||
	    rte_malloc_heap_memory_add("acl", at, bytes, NULL, (unsigned int)(bytes / page), page) < 0)
		die(EXIT_FAILED, "DPDK heap of %zu bytes: %s", bytes, rte_strerror(rte_errno));
	*base = at;
	return rte_malloc_heap_get_socket("acl");
}

static size_t heap_in_use(int socket)
{
	struct rte_malloc_socket_stats stats;
	if (rte_malloc_get_socket_stats(socket, &stats) < 0)
		die(EXIT_FAILED, "no statistics of the DPDK heap");
	return stats.heap_allocsz_bytes;
}

static void set_addr(struct rte_acl_field *f, const struct addr *a, unsigned int len, int words)
{
	for (int i = 0; i < words; i++) {
		unsigned int bits = len < 32 ? len : 32;
		f[i].value.u32 = a->word[i];
		f[i].mask_range.u32 = bits;
		len -= bits;
	}
}

static void add_rules(const struct ruleset *set)
{
	const int words = set->v6 ? 4 : 1;
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		union {
			struct rte_acl_rule any;
			struct rule4 v4;
			struct rule6 v6;
		} out;
		memset(&out, 0, sizeof(out));
		struct rte_acl_field *f = set->v6 ? out.v6.field : out.v4.field;
		out.any.data.category_mask = 1;
		/* rte_acl takes the highest priority, we the first line. */
		out.any.data.priority = (int32_t)(set->count - i);
		/* 0 is its "no match". */
		out.any.data.userdata = (uint32_t)(i + 1);
		f[0].value.u8 = r->proto & r->proto_mask;
		f[0].mask_range.u8 = r->proto_mask;
		set_addr(f + 1, &r->src, r->src_len, words);
		set_addr(f + 1 + words, &r->dst, r->dst_len, words);
		f += 1 + 2 * words;
		f[0].value.u16 = r->sport_lo;
		f[0].mask_range.u16 = r->sport_hi;
		f[1].value.u16 = r->dport_lo;
		f[1].mask_range.u16 = r->dport_hi;
		int rc = rte_acl_add_rules(ctx, &out.any, 1);
		if (rc)
			die(EXIT_FAILED, "rte_acl_add_rules: rule %zu: %s", i + 1, rte_strerror(-rc));
	}
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void acl_build(const struct ruleset *set, size_t max_size, size_t heap_bytes, struct built *out)
{
	const char *heap;
	int socket = make_heap(heap_bytes, &heap);
	size_t nfields = set->v6 ? RTE_DIM(fields6) : RTE_DIM(fields4);
	struct rte_acl_param param = {
		.name = "bench",
		.socket_id = socket,
		.rule_size = (uint32_t)RTE_ACL_RULE_SZ(nfields),
		.max_rule_num = (uint32_t)set->count,
	};
	ctx = rte_acl_create(&param);
	if (!ctx)
		die(EXIT_FAILED, "rte_acl_create: %s", rte_strerror(rte_errno));
	add_rules(set);

	struct rte_acl_config config = {
		.num_categories = 1,
		.num_fields = (uint32_t)nfields,
		.max_size = max_size,
	};
	memcpy(config.defs, set->v6 ? fields6 : fields4, nfields * sizeof(config.defs[0]));

	/*
	 * rte_acl_create() took the rules' own storage from the heap already,
	 * and the build's scratch is libc's, so what the build adds here is
	 * the run-time table and nothing else.
	 */
	size_t before = heap_in_use(socket);
	double start = now_ns();
	int rc = rte_acl_build(ctx, &config);
	out->build_ms = (now_ns() - start) / 1e6;
	if (rc == -ENOMEM)
		die(EXIT_FAILED, "rte_acl_build: %zu MiB are not enough, see --heap-mb", heap_bytes >> 20);
	if (rc == -ERANGE)
		die(EXIT_FAILED, "rte_acl_build: the table does not fit in --max-size %zu", max_size);
	if (rc)
		die(EXIT_FAILED, "rte_acl_build: %s", rte_strerror(-rc));
	out->memory_bytes = heap_in_use(socket) - before;
	out->pages = pages_of(heap);
}

bool acl_supported(const struct variant *v)
{
	/* Also sets the context's algorithm, which acl_pass() does not rely on. */
	return rte_acl_set_ctx_classify(ctx, (enum rte_acl_classify_alg)v->alg) == 0;
}

double acl_pass(const struct variant *v, const struct trace *trace, size_t batch, int32_t *results)
{
	uint32_t found[MAX_BATCH];
	int rc = 0;
	/* To rte_acl_classify_alg() "default" is the scalar code: only the context resolves it. */
	if (v->alg == RTE_ACL_CLASSIFY_DEFAULT)
		rc = rte_acl_set_ctx_classify(ctx, RTE_ACL_CLASSIFY_DEFAULT);

	double start = now_ns();
	for (size_t i = 0; i < trace->count && rc == 0; i += batch) {
		size_t n = RTE_MIN(batch, trace->count - i);
		if (v->alg == RTE_ACL_CLASSIFY_DEFAULT)
			rc = rte_acl_classify(ctx, trace->keys + i, found, (uint32_t)n, 1);
		else
			rc = rte_acl_classify_alg(ctx, trace->keys + i, found, (uint32_t)n, 1,
						  (enum rte_acl_classify_alg)v->alg);
		for (size_t j = 0; results && j < n; j++)
			results[i + j] = (int32_t)found[j] - 1;
	}
	double spent = now_ns() - start;
	if (rc)
		die(EXIT_FAILED, "rte_acl_classify: %s: %s", v->name, rte_strerror(-rc));
	return spent / (double)trace->count;
}
