/* acl-bench: how fast DPDK's librte_acl finds the first matching rule. */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: acl-bench --rules F [--trace F] [options]\n"
	"  --simd NAME       default, scalar, sse, avx2, avx512x16, avx512x32 or all (default all)\n"
	"  --batch N         headers for each call (default 64)\n"
	"  --repeat N        timed passes over the trace for each variant (default 7)\n"
	"  --categories 1    only one category is supported\n"
	"  --max-size BYTES  rte_acl's bound on its table; 0, the default, is unbounded\n"
	"  --heap-mb N       memory set aside for DPDK (default: by the number of rules)\n"
	"  --dump OUT        write the matching rule's line (from 0) or -1 for each header\n"
	"  --memory-only     build, report and stop; needs no trace\n"
	"  --serve           build, then do what each line on stdin says and answer in a line of JSON:\n"
	"                      trace FILE         read other headers\n"
	"                      pass NAME [BATCH]  time one pass of a variant over the headers\n"
	"                      dump FILE          as --dump\n"
	"                      quit\n"
	"  --json            report as one JSON object\n";

struct options {
	const char *rules, *trace, *simd, *dump;
	size_t batch, repeat, max_size, heap_mb;
	bool memory_only, serve, json;
};

void die(int code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fputs("acl-bench: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(code);
}

static size_t number(const char *option, const char *text, size_t min, size_t max)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < min || value > max)
		die(EXIT_USAGE, "--%s: '%s' is not a number from %zu to %zu", option, text, min, max);
	return value;
}

static const struct variant *variant_named(const char *name)
{
	for (size_t i = 0; i < VARIANTS; i++)
		if (strcmp(variants[i].name, name) == 0)
			return &variants[i];
	return NULL;
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "rules", 1, NULL, 'r' },    { "trace", 1, NULL, 't' },      { "simd", 1, NULL, 's' },
		{ "batch", 1, NULL, 'b' },    { "repeat", 1, NULL, 'n' },     { "categories", 1, NULL, 'c' },
		{ "max-size", 1, NULL, 'x' }, { "heap-mb", 1, NULL, 'm' },    { "dump", 1, NULL, 'd' },
		{ "serve", 0, NULL, 'S' },    { "memory-only", 0, NULL, 'M' }, { "json", 0, NULL, 'j' },
		{ "help", 0, NULL, 'h' },     { NULL, 0, NULL, 0 },
	};
	*o = (struct options){ .simd = "all", .batch = 64, .repeat = 7 };
	int c;
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'r': o->rules = optarg; break;
		case 't': o->trace = optarg; break;
		case 's': o->simd = optarg; break;
		case 'b': o->batch = number("batch", optarg, 1, MAX_BATCH); break;
		case 'n': o->repeat = number("repeat", optarg, 1, 1000000); break;
		case 'c': number("categories", optarg, 1, 1); break;
		case 'x': o->max_size = number("max-size", optarg, 0, (size_t)1 << 40); break;
		case 'm': o->heap_mb = number("heap-mb", optarg, 16, (size_t)1 << 20); break;
		case 'd': o->dump = optarg; break;
		case 'S': o->serve = true; break;
		case 'M': o->memory_only = true; break;
		case 'j': o->json = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(EXIT_USAGE);
		}
	}
	if (optind < argc)
		die(EXIT_USAGE, "unexpected argument '%s'", argv[optind]);
	if (!o->rules)
		die(EXIT_USAGE, "--rules is needed");
	if (!o->trace && !o->memory_only && !o->serve)
		die(EXIT_USAGE, "--trace is needed, unless with --memory-only or --serve");
	if (o->memory_only && (o->serve || o->dump))
		die(EXIT_USAGE, "--memory-only goes with neither --serve nor --dump");
	if (strcmp(o->simd, "all") != 0 && !variant_named(o->simd))
		die(EXIT_USAGE, "--simd: no variant '%s'", o->simd);
}

static bool selected(const struct options *o, const struct variant *v)
{
	return strcmp(o->simd, "all") == 0 || strcmp(o->simd, v->name) == 0;
}

/* The facts of the build, as the inside of a JSON object. */
static void print_built(const struct ruleset *set, const struct trace *trace, const struct options *o,
			const struct built *b)
{
	printf("\"engine\":\"rte_acl\",\"version\":\"%s\",\"rules\":%zu,\"packets\":%zu,\"batch\":%zu,\"build_ms\":%.3f,"
	       "\"memory_bytes\":%zu,\"pages\":\"%s\"",
	       acl_version(), set->count, trace->count, o->batch, b->build_ms, b->memory_bytes, b->pages);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const struct options *o, const struct variant *v, const struct trace *trace)
{
	if (!acl_supported(v)) {
		printf(o->json ? "{\"simd\":\"%s\",\"supported\":false}" : "%-10s not supported\n", v->name);
		return;
	}
	double *ns = malloc(o->repeat * sizeof(*ns));
	if (!ns)
		die(EXIT_FAILED, "out of memory");
	/* The first pass only warms the caches. */
	acl_pass(v, trace, o->batch, NULL);
	for (size_t i = 0; i < o->repeat; i++)
		ns[i] = acl_pass(v, trace, o->batch, NULL);
	qsort(ns, o->repeat, sizeof(*ns), by_value);
	printf(o->json ? "{\"simd\":\"%s\",\"supported\":true,\"ns_per_lookup\":%.3f,\"median\":%.3f,"
			 "\"p99\":%.3f}"
		       : "%-10s %.3f ns per lookup, median %.3f, p99 %.3f\n",
	       v->name, ns[0], ns[o->repeat / 2], ns[(o->repeat * 99 + 99) / 100 - 1]);
	free(ns);
}

static void report(const struct options *o, const struct ruleset *set, const struct trace *trace,
		   const struct built *b)
{
	if (o->json) {
		putchar('{');
		print_built(set, trace, o, b);
		printf(",\"variants\":[");
	} else {
		printf("%zu rules, %zu headers: built in %.3f ms, %zu bytes on %s pages\n", set->count,
		       trace->count, b->build_ms, b->memory_bytes, b->pages);
	}
	bool first = true;
	for (size_t i = 0; i < VARIANTS && !o->memory_only; i++) {
		if (!selected(o, &variants[i]))
			continue;
		if (o->json && !first)
			putchar(',');
		first = false;
		measure(o, &variants[i], trace);
	}
	if (o->json)
		printf("]}\n");
}

/* Writes what one variant finds, once every variant selected has been seen to agree. */
static void dump(const struct options *o, const struct trace *trace, const char *path)
{
	const struct variant *kept = NULL;
	int32_t *truth = malloc(2 * trace->count * sizeof(*truth));
	if (!truth)
		die(EXIT_FAILED, "out of memory");
	int32_t *other = truth + trace->count;
	for (size_t i = 0; i < VARIANTS; i++) {
		if (!selected(o, &variants[i]) || !acl_supported(&variants[i]))
			continue;
		acl_pass(&variants[i], trace, o->batch, kept ? other : truth);
		for (size_t j = 0; kept && j < trace->count; j++)
			if (truth[j] != other[j])
				die(EXIT_FAILED, "header %zu: %s finds %d, %s finds %d", j, kept->name,
				    truth[j], variants[i].name, other[j]);
		if (!kept)
			kept = &variants[i];
	}
	if (!kept)
		die(EXIT_FAILED, "--dump: this machine does not support %s", o->simd);
	FILE *f = fopen(path, "w");
	if (!f)
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	for (size_t j = 0; j < trace->count; j++)
		fprintf(f, "%d\n", truth[j]);
	if (fclose(f))
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	free(truth);
}

static void print_ready(const struct ruleset *set, const struct trace *trace,
			const struct options *o, const struct built *b)
{
	printf("{\"ready\":{");
	print_built(set, trace, o, b);
	printf(",\"variants\":[");
	const char *comma = "";
	for (size_t i = 0; i < VARIANTS; i++) {
		if (!selected(o, &variants[i]) || !acl_supported(&variants[i]))
			continue;
		printf("%s\"%s\"", comma, variants[i].name);
		comma = ",";
	}
	printf("]}}\n");
}

/* One pass, for a line that has said so; words are what follows. */
static void serve_pass(const struct options *o, const struct trace *trace, const char *words)
{
	char name[32], batch_text[32];
	int count = sscanf(words, "%31s %31s", name, batch_text);
	size_t batch = count == 2 ? strtoul(batch_text, NULL, 10) : o->batch;
	const struct variant *v = count >= 1 ? variant_named(name) : NULL;
	if (!v || batch < 1 || batch > MAX_BATCH)
		printf("{\"error\":\"expected: pass VARIANT [BATCH]\"}\n");
	else if (!acl_supported(v))
		printf("{\"error\":\"%s is not supported here\"}\n", v->name);
	else
		printf("{\"ns_per_lookup\":%.3f}\n", acl_pass(v, trace, batch, NULL));
}

/* What follows the first word of line, if that is word; else NULL. */
static const char *after(const char *line, const char *word)
{
	size_t n = strlen(word);
	if (strncmp(line, word, n) != 0 || (line[n] != ' ' && line[n] != '\0'))
		return NULL;
	return line + n + (line[n] == ' ');
}

/* Lets a driver alternate our passes with those of another engine, over several traces. */
static void serve(const struct options *o, const struct ruleset *set, struct trace *trace,
		  const struct built *b)
{
	print_ready(set, trace, o, b);
	fflush(stdout);
	char line[4096];
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\r\n")] = '\0';
		const char *rest;
		if (strcmp(line, "quit") == 0) {
			return;
		} else if ((rest = after(line, "trace")) && *rest) {
			free_trace(trace);
			read_trace(rest, set->v6, trace);
			printf("{\"packets\":%zu}\n", trace->count);
		} else if (trace->count == 0) {
			printf("{\"error\":\"there are no headers yet: trace FILE\"}\n");
		} else if ((rest = after(line, "pass"))) {
			serve_pass(o, trace, rest);
		} else if ((rest = after(line, "dump")) && *rest) {
			dump(o, trace, rest);
			printf("{\"dumped\":%zu}\n", trace->count);
		} else {
			printf("{\"error\":\"expected: trace FILE, pass VARIANT [BATCH], dump FILE or quit\"}\n");
		}
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct options o;
	struct ruleset set;
	struct trace trace = { 0 };
	struct built built;

	parse_options(argc, argv, &o);
	read_rules(o.rules, &set);
	if (o.trace)
		read_trace(o.trace, set.v6, &trace);
	/* DPDK clears the whole heap, so it is sized to the need: tables seen so far take far less. */
	if (!o.heap_mb)
		o.heap_mb = 256 + set.count / 32 + (o.max_size >> 20);
	acl_start();
	acl_build(&set, o.max_size, o.heap_mb << 20, &built);

	if (o.serve) {
		serve(&o, &set, &trace, &built);
	} else {
		if (o.dump)
			dump(&o, &trace, o.dump);
		report(&o, &set, &trace, &built);
	}
	if (fflush(stdout) || ferror(stdout))
		die(EXIT_FAILED, "stdout: %s", strerror(errno));
	return 0;
}
