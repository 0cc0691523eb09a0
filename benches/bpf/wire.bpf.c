// SPDX-License-Identifier: Apache-2.0 OR BSD-2-Clause
//
// The packet source and the receiver of the live measurement, and a peer: a bare redirect, which
// is the most that a forwarder in XDP could do on these interfaces.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

// Frames are 60 bytes, the shortest that Ethernet has (FCS not included): seven and a half words.
#define FRAME_BYTES 60
#define WHOLE_WORDS 7

// Offsets in a frame: Ethernet, IPv4 without options, UDP.
#define ETHERTYPE 12
#define PROTOCOL 23
#define SOURCE_PORT 34
#define TARGET_PORT 36

#define IPV4 0x0800
#define UDP 17

// Written by user space before the programs are loaded.
const volatile struct {
    __u64 frame[WHOLE_WORDS + 1];
    // Flows are consecutive source ports from this one on.
    __u32 first_port;
    __u32 flows;
    // Index of the client's interface in the client's namespace.
    __u32 client;
    // Index of the gateway's interface to the servers in the gateway's namespace.
    __u32 egress;
    __u32 target_port;
} settings = {};

// Flow of the next frame. The source runs on one core.
__u32 next_flow = 0;

// Frames of the source that arrived.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} wire_received SEC(".maps");

// Frames come back with what their receiver did to them, so each is written anew.
SEC("xdp")
int wire_source(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    if (data + FRAME_BYTES > end)
        return XDP_DROP;

    __u64 *words = data;
#pragma unroll
    for (int i = 0; i < WHOLE_WORDS; i++)
        words[i] = settings.frame[i];
    *(__u32 *)(words + WHOLE_WORDS) = (__u32)settings.frame[WHOLE_WORDS];

    __u32 flow = next_flow;
    next_flow = flow + 1 < settings.flows ? flow + 1 : 0;
    // The UDP checksum is 0, which says that there is none (RFC 768), so that it stays right.
    *(__u16 *)(data + SOURCE_PORT) = bpf_htons(settings.first_port + flow);
    return bpf_redirect(settings.client, 0);
}

SEC("xdp")
int wire_redirect(struct xdp_md *ctx)
{
    return bpf_redirect(settings.egress, 0);
}

SEC("xdp")
int wire_receive(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    if (data + FRAME_BYTES > end)
        return XDP_DROP;

    if (*(__u16 *)(data + ETHERTYPE) == bpf_htons(IPV4) && *(__u8 *)(data + PROTOCOL) == UDP &&
        *(__u16 *)(data + TARGET_PORT) == bpf_htons(settings.target_port)) {
        __u32 key = 0;
        __u64 *received = bpf_map_lookup_elem(&wire_received, &key);
        if (received)
            *received += 1;
    }
    return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
