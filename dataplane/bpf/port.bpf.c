// SPDX-License-Identifier: Apache-2.0 OR BSD-2-Clause
//
// The XDP program of a Bulkhead port: every frame goes to the worker of its queue, and what has
// no worker is dropped and counted. There is no way through this program into the kernel's stack,
// so a port stays closed when the gateway that attached it is gone.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// Queues beyond this have no worker and share the last counter.
#define MAX_QUEUES 64

// Sockets of the workers, by queue. An entry goes when its socket closes.
struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, MAX_QUEUES);
    __type(key, __u32);
    __type(value, __u32);
} bulkhead_xsks SEC(".maps");

struct count {
    __u64 packets;
    __u64 bytes;
};

// What was dropped for want of a worker, by queue.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, MAX_QUEUES);
    __type(key, __u32);
    __type(value, struct count);
} bulkhead_drops SEC(".maps");

SEC("xdp")
int bulkhead_port(struct xdp_md *ctx)
{
    __u32 queue = ctx->rx_queue_index;

    // A frame that the socket then has no room for is counted by the socket (XDP_STATISTICS).
    if (bpf_map_lookup_elem(&bulkhead_xsks, &queue))
        return bpf_redirect_map(&bulkhead_xsks, queue, XDP_DROP);

    if (queue >= MAX_QUEUES)
        queue = MAX_QUEUES - 1;
    struct count *dropped = bpf_map_lookup_elem(&bulkhead_drops, &queue);
    if (dropped) {
        dropped->packets++;
        dropped->bytes += ctx->data_end - ctx->data;
    }
    return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
