//! How long a flow lives without a packet that refreshes it.

use super::datagram::DatagramClass;
use super::sctp::SctpClass;
use super::tcp::TcpClass;
use crate::flowtable::{MAX_TIMEOUT, TIMEOUTS, TimeoutNumber, timeout_ticks};
use std::time::Duration;

macro_rules! timeouts {
    ($($field:ident $name:ident = $seconds:expr, $text:literal;)+) => {
        /// Idle timeouts, by protocol and class. The names of the fields are those of the
        /// configuration.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Timeouts { $(#[doc = $text] pub $field: Duration,)+ }

        /// One of the [`Timeouts`]: its number among them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Timeout { $(#[doc = $text] $name,)+ }

        impl Default for Timeouts {
            fn default() -> Self {
                Timeouts { $($field: Duration::from_secs($seconds),)+ }
            }
        }

        impl Timeouts {
            /// Name and meaning of every timeout.
            pub const NAMES: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), $text),)+];

            /// The timeout called `name`.
            pub fn by_name(&mut self, name: &str) -> Option<&mut Duration> {
                match name { $(stringify!($field) => Some(&mut self.$field),)+ _ => None }
            }

            /// As a flow table wants them: in ticks, by number.
            pub(crate) fn to_ticks(self) -> [u32; TIMEOUTS] {
                let mut ticks = [MAX_TIMEOUT; TIMEOUTS];
                $(ticks[Timeout::$name as usize] = timeout_ticks(self.$field);)+
                ticks
            }
        }
    };
}

timeouts! {
    tcp_syn_sent TcpSynSent = 30, "TCP, a SYN without an answer. RFC 7857, 2.1 lets partially open connections go before 4 minutes; a SYN that is sent again refreshes.";
    tcp_syn_received TcpSynReceived = 60, "TCP, answered by a SYN-ACK and not acknowledged (RFC 7857, 2.1).";
    tcp_established TcpEstablished = 2 * 3600 + 4 * 60, "TCP, established: at least 2 hours and 4 minutes, longer than the keep-alive of hosts (RFC 5382, REQ-5).";
    tcp_fin_wait TcpFinWait = 2 * 3600 + 4 * 60, "TCP, one FIN sent and not acknowledged: as established (RFC 6146, 3.5.2.2).";
    tcp_half_closed TcpHalfClosed = 2 * 3600 + 4 * 60, "TCP, one direction closed, the other in use: as established (RFC 6146, 3.5.2.2).";
    tcp_closing TcpClosing = 4 * 60, "TCP, both FINs sent: 4 minutes, the transitory timeout (RFC 5382, REQ-5).";
    tcp_time_wait TcpTimeWait = 4 * 60, "TCP, both FINs acknowledged: 4 minutes, twice the maximum segment lifetime (RFC 5382, REQ-5; RFC 9293, 3.4.2).";
    tcp_closed TcpClosed = 4 * 60, "TCP, reset: 4 minutes without a packet (RFC 7857, 2.2).";
    udp_one_sided UdpOneSided = 2 * 60, "UDP, no answer yet: at least 2 minutes (RFC 4787, REQ-5).";
    udp_two_sided UdpTwoSided = 5 * 60, "UDP, answered: 5 minutes recommended (RFC 4787, REQ-5c).";
    icmp_echo IcmpEcho = 60, "ICMP and ICMPv6 echo: at least 60 seconds (RFC 5508, REQ-2).";
    sctp_opening SctpOpening = 30, "SCTP, before the COOKIE-ACK: half a minute outlasts two retransmissions of INIT (RFC 9260, 16).";
    sctp_established SctpEstablished = 210, "SCTP, established: seven heartbeats, which an idle end sends every 30 seconds (RFC 9260, 8.3 and 16; the figure is Linux's).";
    sctp_closing SctpClosing = 30, "SCTP, after a SHUTDOWN (RFC 9260, 9.2).";
    sctp_closed SctpClosed = 10, "SCTP, after ABORT or SHUTDOWN-COMPLETE (the figure is Linux's).";
    other_one_sided OtherOneSided = 60, "Protocols without ports, no answer yet.";
    other_two_sided OtherTwoSided = 10 * 60, "Protocols without ports, answered (the figure is Linux's for generic protocols).";
}

impl Timeout {
    /// Its number in a flow table.
    #[inline]
    pub(crate) const fn number(self) -> TimeoutNumber {
        TimeoutNumber::new(self as u8)
    }

    /// Of a TCP connection.
    #[inline]
    pub(crate) const fn tcp(class: TcpClass) -> Timeout {
        match class {
            TcpClass::SynSent => Timeout::TcpSynSent,
            TcpClass::SynReceived => Timeout::TcpSynReceived,
            TcpClass::Established => Timeout::TcpEstablished,
            TcpClass::FinWait => Timeout::TcpFinWait,
            TcpClass::HalfClosed => Timeout::TcpHalfClosed,
            TcpClass::Closing => Timeout::TcpClosing,
            TcpClass::TimeWait => Timeout::TcpTimeWait,
            TcpClass::Closed => Timeout::TcpClosed,
        }
    }

    /// Of a UDP flow.
    #[inline]
    pub(crate) const fn udp(class: DatagramClass) -> Timeout {
        match class {
            DatagramClass::OneSided => Timeout::UdpOneSided,
            DatagramClass::TwoSided => Timeout::UdpTwoSided,
        }
    }

    /// Of a flow of a protocol without ports.
    #[inline]
    pub(crate) const fn other(class: DatagramClass) -> Timeout {
        match class {
            DatagramClass::OneSided => Timeout::OtherOneSided,
            DatagramClass::TwoSided => Timeout::OtherTwoSided,
        }
    }

    /// Of an SCTP association.
    #[inline]
    pub(crate) const fn sctp(class: SctpClass) -> Timeout {
        match class {
            SctpClass::Opening => Timeout::SctpOpening,
            SctpClass::Established => Timeout::SctpEstablished,
            SctpClass::Closing => Timeout::SctpClosing,
            SctpClass::Closed => Timeout::SctpClosed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that each RFC asks for, in seconds, read there and not here.
    #[test]
    fn defaults_keep_what_the_rfcs_ask_for() {
        let least = [
            ("tcp_established", 7440),
            ("tcp_half_closed", 7440),
            ("tcp_closing", 240),
            ("tcp_time_wait", 240),
            ("tcp_closed", 240),
            ("udp_one_sided", 120),
            ("udp_two_sided", 300),
            ("icmp_echo", 60),
        ];
        let mut timeouts = Timeouts::default();
        for (name, seconds) in least {
            let timeout = timeouts.by_name(name).expect("a name of the table");
            assert!(*timeout >= Duration::from_secs(seconds), "{name}");
        }
    }

    #[test]
    fn a_timeout_is_set_by_its_name_and_no_other() {
        for (name, text) in Timeouts::NAMES {
            let mut timeouts = Timeouts::default();
            *timeouts.by_name(name).expect("it is listed") = Duration::MAX;
            let mut changed = 0;
            for (other, _) in Timeouts::NAMES {
                let value = *timeouts.by_name(other).expect("it is listed");
                changed += u32::from(value == Duration::MAX);
            }
            assert_eq!(changed, 1, "{name}");
            assert!(text.ends_with('.'), "{name}");
            let ticks = timeouts.to_ticks();
            let longest = ticks[..Timeouts::NAMES.len()].iter().filter(|&&t| t == MAX_TIMEOUT);
            assert_eq!(longest.count(), 1, "{name}");
        }
        assert_eq!(Timeouts::default().by_name("tcp"), None);
    }
}
