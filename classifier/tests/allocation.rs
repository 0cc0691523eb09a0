//! A lookup allocates nothing.

use classifier::{AddressMatch, Builder, Config, Family, Lookup, PacketKey, PortRange, Rule, Simd};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting by thread.
struct Counting;

// SAFETY: both calls are the system allocator's own, and counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn lookups_allocate_nothing() {
    let mut builder = Builder::new(Config::default());
    for i in 0..1000u16 {
        let src = AddressMatch::prefix([10, 0, (i >> 8) as u8, i as u8].into(), (i % 33) as u8);
        let dst_ports = PortRange { low: i, high: i + i % 3 };
        builder.push(Rule { src: src.unwrap(), dst_ports, ..Rule::ANY });
    }
    let table = builder.build().unwrap();
    let keys: Vec<_> = (0..1000u16)
        .map(|i| PacketKey {
            src: 0x0a00_0000 + u128::from(i),
            protocol: 6,
            dst_port: i,
            ..PacketKey::empty(if i % 5 == 0 { Family::V6 } else { Family::V4 })
        })
        .collect();
    let mut out = vec![None; keys.len()];

    for simd in Simd::supported() {
        let table = table.clone().with_simd(simd);
        let before = ALLOCATIONS.get();
        assert!(before > 0, "the counter counts");
        table.lookup_batch(&keys, &mut out);
        let matched = keys.iter().filter(|key| table.lookup(key).is_some()).count();
        assert_eq!(ALLOCATIONS.get(), before, "{simd:?}");
        assert!(matched > 500 && out.iter().flatten().count() == matched);
    }
}
