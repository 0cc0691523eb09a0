//! Flows without a handshake: UDP, ICMP echo, and protocols without ports.

use crate::verdict::DropReason;

/// Who keeps a flow alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Packets of the opener only (RFC 4787, REQ-6 requires it to be enough, and warns that an
    /// outsider who may refresh keeps the way in open for as long as it likes). The responder's
    /// first packet counts once, as it makes the flow two-sided.
    #[default]
    Opener,
    /// Packets of either end, for services that send for minutes without being asked again.
    Both,
}

/// How much of a flow there is: each has a timeout of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramClass {
    /// Only the opener sent: first to go when the flow table is full.
    OneSided,
    /// The responder answered.
    TwoSided,
}

/// What to do with a packet that is not dropped: forward it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramEvent {
    /// Class after this packet.
    pub class: DatagramClass,
    /// Whether the timeout begins anew.
    pub refresh: bool,
}

/// State of a flow whose first packet was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramState {
    answered: bool,
}

impl DatagramState {
    /// The state after the first packet of a flow of UDP or a protocol without ports.
    pub fn open() -> (DatagramState, DatagramEvent) {
        let state = DatagramState { answered: false };
        (state, DatagramEvent { class: DatagramClass::OneSided, refresh: true })
    }

    /// The state after the first message of an ICMP echo flow (RFC 5508, 3).
    ///
    /// # Errors
    /// [`DropReason::IcmpUnasked`]: it is a reply.
    pub fn open_echo(request: bool) -> Result<(DatagramState, DatagramEvent), DropReason> {
        if request { Ok(Self::open()) } else { Err(DropReason::IcmpUnasked) }
    }

    /// The next packet of the flow.
    pub fn observe(&mut self, from_opener: bool, refresh: Refresh) -> DatagramEvent {
        let first_answer = !from_opener && !self.answered;
        self.answered |= !from_opener;
        let class = if self.answered { DatagramClass::TwoSided } else { DatagramClass::OneSided };
        DatagramEvent { class, refresh: from_opener || first_answer || refresh == Refresh::Both }
    }

    /// The next message of an echo flow. A reply may come more than once, and a request go without.
    ///
    /// # Errors
    /// [`DropReason::IcmpUnasked`]: a reply of the opener's or a request of the responder's, which
    /// with the same identifier are of another flow.
    pub fn observe_echo(
        &mut self,
        from_opener: bool,
        request: bool,
    ) -> Result<DatagramEvent, DropReason> {
        if from_opener != request {
            return Err(DropReason::IcmpUnasked);
        }
        Ok(self.observe(from_opener, Refresh::Opener))
    }

    /// The state as it is kept in a flow.
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.answered)]
    }

    /// The state in a flow. Every byte is one.
    pub fn from_bytes([byte]: [u8; 1]) -> DatagramState {
        DatagramState { answered: byte != 0 }
    }
}
