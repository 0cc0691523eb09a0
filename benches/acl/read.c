/* ClassBench rule files and traces. */
#include "bench.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Where we are in a file, so that every complaint can say so. */
struct line {
	const char *path;
	size_t number;
	char *at; /* the text not yet parsed */
};

static _Noreturn void bad(const struct line *l, const char *what)
{
	die(EXIT_FAILED, "%s:%zu: %s", l->path, l->number, what);
}

static void skip_blanks(struct line *l)
{
	while (*l->at == ' ' || *l->at == '\t')
		l->at++;
}

/* Takes the characters up to a blank or one of stop, and leaves them terminated in word. */
static void take_word(struct line *l, char stop, char *word, size_t size, const char *what)
{
	skip_blanks(l);
	size_t n = 0;
	while (l->at[n] && !isspace((unsigned char)l->at[n]) && l->at[n] != stop)
		n++;
	if (n == 0 || n >= size)
		bad(l, what);
	memcpy(word, l->at, n);
	word[n] = '\0';
	l->at += n;
}

static uint32_t take_number(struct line *l, uint32_t max, const char *what)
{
	skip_blanks(l);
	char *end;
	errno = 0;
	/* Base 0 is wrong here: a leading zero in a trace must not mean octal. */
	int base = l->at[0] == '0' && (l->at[1] == 'x' || l->at[1] == 'X') ? 16 : 10;
	unsigned long value = strtoul(l->at, &end, base);
	if (!isdigit((unsigned char)*l->at) || end == l->at || errno || value > max)
		bad(l, what);
	l->at = end;
	return (uint32_t)value;
}

static void take_char(struct line *l, char c, const char *what)
{
	skip_blanks(l);
	if (*l->at != c)
		bad(l, what);
	l->at++;
}

static void parse_addr(struct line *l, const char *text, bool v6, struct addr *out)
{
	uint32_t net[4] = { 0 };
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, net) != 1)
		bad(l, v6 ? "not an IPv6 address" : "not an IPv4 address");
	for (int i = 0; i < 4; i++)
		out->word[i] = ntohl(net[i]);
}

static void take_prefix(struct line *l, bool v6, struct addr *addr, uint8_t *len)
{
	char text[INET6_ADDRSTRLEN];
	take_word(l, '/', text, sizeof(text), "expected an address");
	parse_addr(l, text, v6, addr);
	take_char(l, '/', "expected /length after the address");
	*len = (uint8_t)take_number(l, v6 ? 128 : 32, "prefix length out of range");
}

static void take_range(struct line *l, uint16_t *lo, uint16_t *hi)
{
	*lo = (uint16_t)take_number(l, UINT16_MAX, "port out of range");
	take_char(l, ':', "expected lo : hi ports");
	*hi = (uint16_t)take_number(l, UINT16_MAX, "port out of range");
	if (*lo > *hi)
		bad(l, "empty port range");
}

static void parse_rule(struct line *l, bool v6, struct rule *r)
{
	take_char(l, '@', "a rule starts with @");
	take_prefix(l, v6, &r->src, &r->src_len);
	take_prefix(l, v6, &r->dst, &r->dst_len);
	take_range(l, &r->sport_lo, &r->sport_hi);
	take_range(l, &r->dport_lo, &r->dport_hi);
	r->proto = (uint8_t)take_number(l, UINT8_MAX, "protocol out of range");
	take_char(l, '/', "expected /mask after the protocol");
	r->proto_mask = (uint8_t)take_number(l, UINT8_MAX, "protocol mask out of range");
	/* The flags that may follow are left alone: the match is on the five-tuple. */
}

/* Calls each for every line that is not blank. */
static void each_line(const char *path, void (*each)(struct line *, void *), void *arg)
{
	FILE *f = fopen(path, "r");
	if (!f)
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	struct line l = { .path = path };
	char *text = NULL;
	size_t size = 0;
	while (getline(&text, &size, f) >= 0) {
		l.number++;
		l.at = text;
		skip_blanks(&l);
		if (*l.at && *l.at != '\n' && *l.at != '\r')
			each(&l, arg);
	}
	if (ferror(f))
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	free(text);
	fclose(f);
}

static void *grow(void *array, size_t count, size_t item)
{
	/* Doubles at every power of two, so that callers need keep no capacity. */
	if (count & (count - 1))
		return array;
	array = realloc(array, (count ? count * 2 : 1) * item);
	if (!array)
		die(EXIT_FAILED, "out of memory");
	return array;
}

static void add_rule(struct line *l, void *arg)
{
	struct ruleset *set = arg;
	if (set->count == 0) {
		/* Only a v6 address has a colon before the slash of its length. */
		size_t n = strcspn(l->at, "/");
		set->v6 = memchr(l->at, ':', n) != NULL;
	}
	set->rules = grow(set->rules, set->count, sizeof(*set->rules));
	memset(&set->rules[set->count], 0, sizeof(*set->rules));
	parse_rule(l, set->v6, &set->rules[set->count++]);
}

void read_rules(const char *path, struct ruleset *set)
{
	*set = (struct ruleset){ 0 };
	each_line(path, add_rule, set);
	if (set->count == 0)
		die(EXIT_FAILED, "%s: no rules", path);
}

struct headers {
	struct key6 *keys; /* v4 headers use the first word of each address */
	size_t count;
	bool v6;
};

static void take_header_addr(struct line *l, bool v6, uint32_t out[4])
{
	if (v6) {
		char text[INET6_ADDRSTRLEN];
		struct addr a;
		take_word(l, '\0', text, sizeof(text), "expected an address");
		parse_addr(l, text, true, &a);
		for (int i = 0; i < 4; i++)
			out[i] = htonl(a.word[i]);
	} else {
		out[0] = htonl(take_number(l, UINT32_MAX, "expected a v4 address as a number"));
	}
}

static void add_header(struct line *l, void *arg)
{
	struct headers *h = arg;
	h->keys = grow(h->keys, h->count, sizeof(*h->keys));
	struct key6 *k = &h->keys[h->count++];
	memset(k, 0, sizeof(*k));
	take_header_addr(l, h->v6, k->src);
	take_header_addr(l, h->v6, k->dst);
	k->sport = htons((uint16_t)take_number(l, UINT16_MAX, "port out of range"));
	k->dport = htons((uint16_t)take_number(l, UINT16_MAX, "port out of range"));
	k->proto = (uint8_t)take_number(l, UINT8_MAX, "protocol out of range");
}

void read_trace(const char *path, bool v6, struct trace *trace)
{
	struct headers h = { .v6 = v6 };
	each_line(path, add_header, &h);
	if (h.count == 0)
		die(EXIT_FAILED, "%s: no headers", path);

	/* Keys and pointers share large pages: the lookup is timed, not the TLB misses of its input. */
	size_t stride = v6 ? sizeof(struct key6) : sizeof(struct key4);
	size_t bytes = h.count * (sizeof(*trace->keys) + stride);
	trace->keys = map_pages(&bytes);
	trace->count = h.count;
	trace->mapped = bytes;
	uint8_t *at = (uint8_t *)(trace->keys + h.count);
	for (size_t i = 0; i < h.count; i++, at += stride) {
		const struct key6 *k = &h.keys[i];
		if (v6) {
			memcpy(at, k, sizeof(*k));
		} else {
			struct key4 k4 = {
				.proto = k->proto,
				.src = k->src[0],
				.dst = k->dst[0],
				.sport = k->sport,
				.dport = k->dport,
			};
			memcpy(at, &k4, sizeof(k4));
		}
		trace->keys[i] = at;
	}
	free(h.keys);
}

void free_trace(struct trace *trace)
{
	if (trace->mapped)
		munmap(trace->keys, trace->mapped);
	*trace = (struct trace){ 0 };
}
