//! The packet source and the receiver, and how they get into the namespaces.

use crate::probe;
use lab::{Error, Lab, Result, Side};
use libbpf_rs::{MapCore, MapFlags, Object, ObjectBuilder, ProgramInput, Xdp, XdpFlags};
use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity};
use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wire.bpf.o"));
const SOURCE: &str = "wire_source";
const REDIRECT: &str = "wire_redirect";
const RECEIVE: &str = "wire_receive";
const RECEIVED: &str = "wire_received";

/// The core that the source runs on; the gateway's worker runs on another.
const SOURCE_CORE: usize = 0;
/// Frames of the first system call. How long a frame takes is not known yet.
const FIRST_FRAMES: u32 = 1 << 16;
/// Longest system call, so that an interrupt is soon heard. Between two calls the source stands
/// still for some ten milliseconds, while the kernel frees what the first one used: so few calls.
const LONGEST_CALL: Duration = Duration::from_secs(2);

/// The programs for one laboratory.
pub(super) struct Programs {
    object: Object,
    /// Time for a frame in the latest call, nanoseconds.
    frame_time: Option<NonZeroU32>,
}

/// What the source sent in one trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Frames given to the client's interface.
    pub offered: u64,
    /// Of those, how many had come to the receiver when the source ended.
    pub received: u64,
    /// How long the source ran, as the kernel says: without what comes before and after.
    pub elapsed: Duration,
}

impl Programs {
    /// Loads the programs for the interfaces of `lab`.
    pub fn load(lab: &Lab, flows: u16) -> Result<Self> {
        let (client, server) = (lab.link(Side::Client, "eth0")?, lab.link(Side::Server, "eth0")?);
        let mac = |link: &serde_json::Value| parse_mac(link["address"].as_str().unwrap_or(""));
        let index = |link: &serde_json::Value| {
            let index = link["ifindex"].as_u64().and_then(|index| u32::try_from(index).ok());
            index.ok_or_else(|| Error::new(format!("no index in {link}")))
        };
        // As `settings` in bpf/wire.bpf.c.
        let mut settings = probe::frame(mac(&client)?, mac(&server)?).to_vec();
        settings.resize(64, 0);
        let egress = lab.link(Side::Gateway, "bh1")?;
        for number in [
            u32::from(probe::FIRST_PORT),
            u32::from(flows),
            index(&client)?,
            index(&egress)?,
            u32::from(probe::TARGET_PORT),
        ] {
            settings.extend(number.to_ne_bytes());
        }
        // The compiler fills the struct up to the alignment of its words.
        settings.resize(settings.len().next_multiple_of(8), 0);

        let mut open =
            ObjectBuilder::default().open_memory(OBJECT).map_err(bpf("open the XDP programs"))?;
        let mut rodata = open
            .maps_mut()
            .find(|map| map.name().to_string_lossy().ends_with(".rodata"))
            .ok_or_else(|| Error::new("the XDP programs have no settings"))?;
        rodata.set_initial_value(&settings).map_err(bpf("write the source's settings"))?;
        let object = open.load().map_err(bpf("load the XDP programs"))?;
        Ok(Programs { object, frame_time: None })
    }

    /// Puts the receiver on the server's interface.
    pub fn attach_receiver(&self, lab: &Lab) -> Result<()> {
        self.attach(lab, RECEIVE, Side::Server, "eth0")
    }

    /// Puts the bare redirect to `bh1` on `bh0`.
    pub fn attach_redirect(&self, lab: &Lab) -> Result<()> {
        self.attach(lab, REDIRECT, Side::Gateway, "bh0")
    }

    /// Attached by netlink: it stays until the interface goes.
    fn attach(&self, lab: &Lab, program: &str, side: Side, interface: &str) -> Result<()> {
        let index = lab.link(side, interface)?["ifindex"].as_u64().unwrap_or_default();
        let found = self.object.progs().find(|p| p.name() == program);
        let found = found.ok_or_else(|| Error::new(format!("there is no program {program}")))?;
        let fd = found.as_fd();
        in_namespace(lab, side, || {
            Xdp::new(fd)
                .attach(index as i32, XdpFlags::DRV_MODE)
                .map_err(bpf(&format!("attach {program} to {interface}")))
        })
    }

    /// Frames that the receiver has counted.
    pub fn received(&self) -> Result<u64> {
        let map = self.object.maps().find(|map| map.name() == RECEIVED);
        let map = map.ok_or_else(|| Error::new(format!("there is no map {RECEIVED}")))?;
        let values = map
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(bpf("read the receiver's count"))?
            .unwrap_or_default();
        let number = |value: Vec<u8>| value.try_into().map_or(0, u64::from_ne_bytes);
        Ok(values.into_iter().map(number).sum())
    }

    /// Runs the source for `duration`, or until `stop`.
    pub fn send(&mut self, lab: &Lab, duration: Duration, stop: &AtomicBool) -> Result<Sent> {
        in_namespace(lab, Side::Client, || {
            let mut core = CpuSet::new();
            core.set(SOURCE_CORE);
            sched_setaffinity(None, &core).map_err(std::io::Error::from)?;
            let before = self.received()?;
            let mut sent = Sent { offered: 0, received: 0, elapsed: Duration::ZERO };
            // A call for the last few per cent would be mostly its beginning and end.
            while sent.elapsed < duration.mul_f64(0.95) && !stop.load(Relaxed) {
                let frames = self.frames(duration.saturating_sub(sent.elapsed));
                sent.elapsed += self.send_frames(frames)?;
                sent.offered += u64::from(frames);
            }
            sent.received = self.received()? - before;
            Ok(sent)
        })
    }

    /// How many frames to send to fill `time`, or as much of it as one call may take.
    fn frames(&self, time: Duration) -> u32 {
        self.frame_time.map_or(FIRST_FRAMES, |frame_time| {
            let time = time.min(LONGEST_CALL).as_nanos() as u64;
            // At least one batch of the kernel's.
            (time / u64::from(frame_time.get())).clamp(64, i32::MAX as u64) as u32
        })
    }

    /// Time it took to send `frames`.
    fn send_frames(&mut self, frames: u32) -> Result<Duration> {
        let source = self.object.progs_mut().find(|p| p.name() == SOURCE);
        let source = source.ok_or_else(|| Error::new(format!("there is no program {SOURCE}")))?;
        let blank = [0; probe::FRAME_BYTES];
        let ran = source
            .test_run(ProgramInput {
                data_in: Some(&blank),
                flags: libbpf_sys::BPF_F_TEST_XDP_LIVE_FRAMES,
                repeat: frames,
                ..ProgramInput::default()
            })
            .map_err(bpf("run the packet source"))?;
        // The kernel gives the mean of the frames, in whole nanoseconds.
        self.frame_time = u32::try_from(ran.duration.as_nanos()).ok().and_then(NonZeroU32::new);
        Ok(ran.duration * frames)
    }
}

/// Runs `task` on a thread of its own that is in the namespace of `side`.
fn in_namespace<T: Send>(
    lab: &Lab,
    side: Side,
    task: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let namespace = File::open(format!("/run/netns/{}", lab.namespace(side)))?;
    let enter_and_run = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(std::io::Error::from)?;
        task()
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(enter_and_run).join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn bpf(action: &str) -> impl FnOnce(libbpf_rs::Error) -> Error {
    let action = action.to_owned();
    move |error| Error::new(format!("cannot {action}: {error}"))
}

fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::new(format!("not an Ethernet address: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_have_six_bytes() {
        assert_eq!(parse_mac("02:00:0a:ff:10:01").unwrap(), [2, 0, 10, 255, 16, 1]);
        assert!(parse_mac("02:00:0a:ff:10").is_err());
        assert!(parse_mac("").is_err());
    }
}
