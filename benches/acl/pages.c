/* Memory on large pages, and an honest word on what the kernel gave. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const size_t huge = (size_t)2 << 20;

void *map_pages(size_t *size)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	*size = (*size + huge - 1) & ~(huge - 1);

	/* Fails unless enough huge pages were set aside; then ask for transparent ones. */
	void *at = mmap(NULL, *size, prot, flags | MAP_HUGETLB, -1, 0);
	if (at != MAP_FAILED)
		return at;

	/* One huge page more than asked for leaves room to align the start. */
	uint8_t *raw = mmap(NULL, *size + huge, prot, flags, -1, 0);
	if (raw == MAP_FAILED)
		die(EXIT_FAILED, "cannot map %zu bytes: %s", *size, strerror(errno));
	uint8_t *start = raw + (-(uintptr_t)raw & (huge - 1));
	size_t head = (size_t)(start - raw);
	if (head)
		munmap(raw, head);
	munmap(start + *size, huge - head);
	/* A kernel without them leaves 4k pages, which pages_of() will say. */
	madvise(start, *size, MADV_HUGEPAGE);
	return start;
}

const char *pages_of(const void *addr)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	if (!f)
		die(EXIT_FAILED, "/proc/self/smaps: %s", strerror(errno));
	char line[512];
	bool inside = false;
	size_t kernel_kb = 0, rss_kb = 0, thp_kb = 0;
	while (fgets(line, sizeof(line), f)) {
		uintptr_t lo, hi;
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &lo, &hi) == 2)
			inside = (uintptr_t)addr >= lo && (uintptr_t)addr < hi;
		else if (inside && sscanf(line, "KernelPageSize: %zu", &kernel_kb) != 1 &&
			 sscanf(line, "Rss: %zu", &rss_kb) != 1)
			(void)sscanf(line, "AnonHugePages: %zu", &thp_kb);
	}
	fclose(f);
	if (kernel_kb > 4)
		return "huge";
	/* A few small pages at the edges do not change what a lookup sees. */
	return thp_kb && thp_kb >= rss_kb / 10 * 9 ? "thp" : "4k";
}
