//! Addresses that cannot stand where they stand.

use super::*;

fn udp_between(src: &str, dst: &str) -> Result<(), DropReason> {
    whole(&frame(src, dst, 17, &udp(1000, 2000, &[]))).map(|_| ())
}

#[test]
fn sources_that_no_sender_has_are_refused() {
    let good = [
        "1.0.0.0",
        "10.255.255.255",
        "126.255.255.255",
        "128.0.0.0",
        "223.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "169.254.1.1",
    ];
    for src in good {
        assert_eq!(udp_between(src, DST), Ok(()), "{src}");
    }
    let bad = [
        "0.0.0.0",
        "0.0.0.1",
        "0.255.255.255",
        "127.0.0.0",
        "127.255.255.255",
        "224.0.0.0",
        "239.255.255.255",
        "255.255.255.255",
    ];
    for src in bad {
        assert_eq!(udp_between(src, DST), Err(D::MartianSource), "{src}");
    }
    for src in ["::2", "::10.0.0.1", "::fffe:a00:1", "::1:0:a00:1", "fe80::1", "feff::1", "2001::"]
    {
        assert_eq!(udp_between(src, DST6), Ok(()), "{src}");
    }
    for src in ["::", "::1", "::ffff:10.0.0.1", "::ffff:0.0.0.0", "ff00::", "ff02::1", "ffff::1"] {
        assert_eq!(udp_between(src, DST6), Err(D::MartianSource), "{src}");
    }
}

#[test]
fn destinations_that_never_leave_a_host_are_refused() {
    for dst in ["224.0.0.1", "255.255.255.255", "1.0.0.0", "126.255.255.255", "128.0.0.0"] {
        assert_eq!(udp_between(SRC, dst), Ok(()), "{dst}");
    }
    for dst in ["0.0.0.0", "0.255.255.255", "127.0.0.1", "127.255.255.255"] {
        assert_eq!(udp_between(SRC, dst), Err(D::MartianDestination), "{dst}");
    }
    for dst in ["::2", "ff02::1", "ff0e::1", "ff15::1", "ff32::1"] {
        assert_eq!(udp_between(SRC6, dst), Ok(()), "{dst}");
    }
    for dst in ["::", "::1", "::ffff:10.0.0.2", "ff00::1", "ff01::1", "ff11::1", "ff30::1"] {
        assert_eq!(udp_between(SRC6, dst), Err(D::MartianDestination), "{dst}");
    }
}

#[test]
fn a_packet_to_its_own_source_is_refused() {
    assert_eq!(udp_between(SRC, SRC), Err(D::Land));
    assert_eq!(udp_between(SRC6, SRC6), Err(D::Land));
    for (src, dst) in PAIRS {
        for protocol in [47, 6] {
            assert!(whole(&frame(src, dst, protocol, &tcp(1, 1, 2))).is_ok());
            assert_eq!(refused(&frame(src, src, protocol, &tcp(1, 1, 2))), D::Land);
        }
    }
}

#[test]
fn fragments_have_addresses_too() {
    let fragment =
        |src, dst| whole(&with(&frame(src, dst, 17, &[0; 8]), ETHERNET + 6, &[0, 1])).map(|_| ());
    assert_eq!(fragment(SRC, DST), Ok(()));
    assert_eq!(fragment(SRC, SRC), Err(D::Land));
    assert_eq!(fragment("127.0.0.1", DST), Err(D::MartianSource));
    // What it would be is not known.
    assert_eq!(fragment("0.0.0.0", "255.255.255.255"), Err(D::MartianSource));
    assert_eq!(refused(&chain_from("::1", &extension_with_offset())), D::MartianSource);
}

fn extension_with_offset() -> Vec<u8> {
    vec![17, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn chain_from(src: &str, payload: &[u8]) -> Vec<u8> {
    frame(src, DST6, 44, payload)
}

#[test]
fn a_host_without_an_address_asks_for_one_and_joins_groups() {
    let dhcp = |src_port, dst_port, dst| {
        whole(&frame("0.0.0.0", dst, 17, &udp(src_port, dst_port, &[0; 4]))).map(|_| ())
    };
    assert_eq!(dhcp(68, 67, "255.255.255.255"), Ok(()));
    for (src_port, dst_port, dst) in
        [(67, 68, "255.255.255.255"), (68, 68, "255.255.255.255"), (68, 67, "10.0.0.2")]
    {
        assert_eq!(dhcp(src_port, dst_port, dst), Err(D::MartianSource));
    }
    let tcp_instead = frame("0.0.0.0", "255.255.255.255", 6, &tcp(68, 67, 2));
    assert_eq!(refused(&tcp_instead), D::MartianSource);
    let igmp_fragment = frame("0.0.0.0", "224.0.0.22", 2, &[0x22, 0, 0, 0, 0, 0, 0, 0]);
    let igmp_fragment = with(&igmp_fragment, ETHERNET + 6, &[0x20, 0]);
    assert_eq!(refused(&igmp_fragment), D::MartianSource);
    let igmp = |dst| whole(&frame("0.0.0.0", dst, 2, &[0x22, 0, 0, 0, 0, 0, 0, 0])).map(|_| ());
    assert_eq!(igmp("224.0.0.22"), Ok(()));
    assert_eq!(igmp("10.0.0.2"), Err(D::MartianSource));
}

#[test]
fn an_ipv6_host_without_an_address_looks_for_duplicates_routers_and_groups() {
    let message = |kind, code, hop_limit, dst| {
        let mut payload = icmp(kind, code, 0);
        payload.resize(24, 0);
        whole(&with(&frame("::", dst, 58, &payload), ETHERNET + 7, &[hop_limit])).map(|_| ())
    };
    let solicited = "ff02::1:ff00:2";
    let good = [
        (135, 255, solicited),
        (133, 255, "ff02::2"),
        (131, 1, "ff02::1:ff00:2"),
        (132, 1, "ff02::2"),
        (143, 1, "ff02::16"),
    ];
    for (kind, hop_limit, dst) in good {
        assert_eq!(message(kind, 0, hop_limit, dst), Ok(()), "{kind}");
        assert_eq!(message(kind, 1, hop_limit, dst), Err(D::MartianSource), "{kind}, code");
        assert_eq!(message(kind, 0, 64, dst), Err(D::MartianSource), "{kind}, hop limit");
        assert_eq!(message(kind, 0, hop_limit, DST6), Err(D::MartianSource), "{kind}, to a host");
        assert_eq!(message(kind, 0, hop_limit, "ff05::2"), Err(D::MartianSource), "{kind}, far");
    }
    for kind in [128, 129, 130, 134, 136, 137, 1] {
        assert_eq!(message(kind, 0, 255, solicited), Err(D::MartianSource), "{kind}");
    }
    let dhcp = frame("::", "ff02::1:2", 17, &udp(546, 547, &[0; 4]));
    assert_eq!(refused(&dhcp), D::MartianSource);
}
