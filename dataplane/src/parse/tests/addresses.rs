//! What the two addresses of a packet have wrong between them.

use super::*;

fn udp_between(src: &str, dst: &str) -> Result<(), DropReason> {
    whole(&frame(src, dst, 17, &udp(1000, 2000, &[]))).map(|_| ())
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
}
