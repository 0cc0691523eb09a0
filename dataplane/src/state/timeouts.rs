//! How long a flow lives without a packet that refreshes it.

use super::datagram::DatagramClass;
use super::sctp::SctpClass;
use super::tcp::TcpClass;
use std::time::Duration;

macro_rules! timeouts {
    ($($field:ident = $seconds:expr, $text:literal;)+) => {
        /// Idle timeouts, by protocol and class. The names of the fields are those of the
        /// configuration.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Timeouts { $(#[doc = $text] pub $field: Duration,)+ }

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
        }
    };
}

timeouts! {
    tcp_syn_sent = 30, "TCP, a SYN without an answer. RFC 7857, 2.1 lets partially open connections go before 4 minutes; a SYN that is sent again refreshes.";
    tcp_syn_received = 60, "TCP, answered by a SYN-ACK and not acknowledged (RFC 7857, 2.1).";
    tcp_established = 2 * 3600 + 4 * 60, "TCP, established: at least 2 hours and 4 minutes, longer than the keep-alive of hosts (RFC 5382, REQ-5).";
    tcp_fin_wait = 2 * 3600 + 4 * 60, "TCP, one FIN sent and not acknowledged: as established (RFC 6146, 3.5.2.2).";
    tcp_half_closed = 2 * 3600 + 4 * 60, "TCP, one direction closed, the other in use: as established (RFC 6146, 3.5.2.2).";
    tcp_closing = 4 * 60, "TCP, both FINs sent: 4 minutes, the transitory timeout (RFC 5382, REQ-5).";
    tcp_time_wait = 4 * 60, "TCP, both FINs acknowledged: 4 minutes, twice the maximum segment lifetime (RFC 5382, REQ-5; RFC 9293, 3.4.2).";
    tcp_closed = 4 * 60, "TCP, reset: 4 minutes without a packet (RFC 7857, 2.2).";
    udp_one_sided = 2 * 60, "UDP, no answer yet: at least 2 minutes (RFC 4787, REQ-5).";
    udp_two_sided = 5 * 60, "UDP, answered: 5 minutes recommended (RFC 4787, REQ-5c).";
    icmp_echo = 60, "ICMP and ICMPv6 echo: at least 60 seconds (RFC 5508, REQ-2).";
    sctp_opening = 30, "SCTP, before the COOKIE-ACK: half a minute outlasts two retransmissions of INIT (RFC 9260, 16).";
    sctp_established = 210, "SCTP, established: seven heartbeats, which an idle end sends every 30 seconds (RFC 9260, 8.3 and 16; the figure is Linux's).";
    sctp_closing = 30, "SCTP, after a SHUTDOWN (RFC 9260, 9.2).";
    sctp_closed = 10, "SCTP, after ABORT or SHUTDOWN-COMPLETE (the figure is Linux's).";
    other_one_sided = 60, "Protocols without ports, no answer yet.";
    other_two_sided = 10 * 60, "Protocols without ports, answered (the figure is Linux's for generic protocols).";
}

impl Timeouts {
    /// Of a TCP connection.
    pub(crate) fn tcp(&self, class: TcpClass) -> Duration {
        match class {
            TcpClass::SynSent => self.tcp_syn_sent,
            TcpClass::SynReceived => self.tcp_syn_received,
            TcpClass::Established => self.tcp_established,
            TcpClass::FinWait => self.tcp_fin_wait,
            TcpClass::HalfClosed => self.tcp_half_closed,
            TcpClass::Closing => self.tcp_closing,
            TcpClass::TimeWait => self.tcp_time_wait,
            TcpClass::Closed => self.tcp_closed,
        }
    }

    /// Of a UDP flow.
    pub(crate) fn udp(&self, class: DatagramClass) -> Duration {
        match class {
            DatagramClass::OneSided => self.udp_one_sided,
            DatagramClass::TwoSided => self.udp_two_sided,
        }
    }

    /// Of a flow of a protocol without ports.
    pub(crate) fn other(&self, class: DatagramClass) -> Duration {
        match class {
            DatagramClass::OneSided => self.other_one_sided,
            DatagramClass::TwoSided => self.other_two_sided,
        }
    }

    /// Of an SCTP association.
    pub(crate) fn sctp(&self, class: SctpClass) -> Duration {
        match class {
            SctpClass::Opening => self.sctp_opening,
            SctpClass::Established => self.sctp_established,
            SctpClass::Closing => self.sctp_closing,
            SctpClass::Closed => self.sctp_closed,
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
        }
        assert_eq!(Timeouts::default().by_name("tcp"), None);
    }
}
