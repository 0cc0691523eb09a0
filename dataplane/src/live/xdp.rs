//! The XDP program of a port: attached so that it outlives the process, and fails closed.
//!
//! It is attached by netlink, not by a bpf_link: a link that is not pinned goes with its process,
//! and the kernel would then forward everything.

use crate::counters::{AttachMode, Count};
use crate::gateway::{OnExit, XdpMode};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ObjectBuilder, Program, Xdp, XdpFlags};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/port.bpf.o"));
const PROGRAM: &str = "bulkhead_port";
const SOCKETS: &str = "bulkhead_xsks";
const DROPS: &str = "bulkhead_drops";

/// Why a port's program could not be attached.
#[derive(Debug)]
pub enum XdpError {
    /// The interface carries a program that is not ours.
    Foreign {
        /// The interface.
        interface: String,
        /// Kernel id of the program.
        id: u32,
        /// Its name.
        name: String,
    },
    /// The kernel refused a step.
    Kernel {
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: libbpf_rs::Error,
    },
}

impl fmt::Display for XdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XdpError::Foreign { interface, id, name } => write!(
                f,
                "interface {interface} carries the XDP program \"{name}\" (id {id}), which is not \
                 Bulkhead's; remove it first (ip link set dev {interface} xdp off)"
            ),
            XdpError::Kernel { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for XdpError {}

fn kernel(action: String) -> impl FnOnce(libbpf_rs::Error) -> XdpError {
    move |source| XdpError::Kernel { action, source }
}

/// The program that an interface carries.
struct Attached {
    id: u32,
    name: String,
    maps: Vec<u32>,
}

/// A loaded program and its maps, not yet attached.
pub(crate) struct PortProgram {
    program: OwnedFd,
    sockets: MapHandle,
    drops: MapHandle,
}

/// A program on its interface.
pub(crate) struct AttachedProgram {
    program: PortProgram,
    interface: String,
    ifindex: i32,
    /// How it is attached.
    pub mode: AttachMode,
    /// Whether an earlier process had left one there.
    taken_over: bool,
}

impl PortProgram {
    /// Loads a fresh program with empty maps.
    pub fn load() -> Result<Self, XdpError> {
        // libbpf's own lines say no more than the errors that come back.
        libbpf_rs::set_print(None);
        let object = ObjectBuilder::default()
            .open_memory(OBJECT)
            .and_then(|object| object.load())
            .map_err(kernel("load the XDP program".into()))?;
        let missing = || libbpf_rs::Error::from_raw_os_error(libc::ENOENT);
        let map = |name: &str| {
            object
                .maps()
                .find(|map| map.name() == name)
                .ok_or_else(missing)
                .and_then(|map| MapHandle::try_from(&map))
                .map_err(kernel(format!("open the map {name}")))
        };
        let program = object
            .progs()
            .find(|program| program.name() == PROGRAM)
            .ok_or_else(missing)
            .and_then(|program| Ok(program.as_fd().try_clone_to_owned()?))
            .map_err(kernel(format!("open the program {PROGRAM}")))?;
        Ok(PortProgram { program, sockets: map(SOCKETS)?, drops: map(DROPS)? })
    }

    /// Looks whether the interface is free, or Bulkhead's from before.
    ///
    /// # Errors
    /// [`XdpError::Foreign`] when it carries anybody else's program.
    pub fn check(&self, interface: &str, ifindex: u32) -> Result<(), XdpError> {
        self.refuse_foreign(interface, ifindex as i32).map(|_| ())
    }

    /// The program that an earlier Bulkhead left on the interface, if there is one.
    fn refuse_foreign(
        &self,
        interface: &str,
        ifindex: i32,
    ) -> Result<Option<(AttachMode, Attached)>, XdpError> {
        let xdp = Xdp::new(self.program.as_fd());
        let Some((mode, attached)) = attached_program(&xdp, interface, ifindex)? else {
            return Ok(None);
        };
        // Ours has our name and our maps.
        let has_map = |name: &str| {
            let named = |&id: &u32| MapHandle::from_map_id(id).is_ok_and(|map| map.name() == name);
            attached.maps.iter().any(named)
        };
        if attached.name == PROGRAM && has_map(SOCKETS) && has_map(DROPS) {
            return Ok(Some((mode, attached)));
        }
        let Attached { id, name, .. } = attached;
        Err(XdpError::Foreign { interface: interface.to_owned(), id, name })
    }

    /// Sends the frames of `queue` to `socket`.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        let fd = socket.as_raw_fd().to_ne_bytes();
        self.sockets
            .update(&queue.to_ne_bytes(), &fd, MapFlags::ANY)
            .map_err(kernel(format!("give queue {queue} its socket")))
    }

    /// Attaches the program to an interface, in the place of one that an earlier Bulkhead left.
    ///
    /// # Errors
    /// [`XdpError`], with the interface left as it was.
    pub fn attach(
        self,
        interface: &str,
        ifindex: u32,
        wanted: XdpMode,
    ) -> Result<AttachedProgram, XdpError> {
        let ifindex = ifindex as i32;
        let found = self.refuse_foreign(interface, ifindex)?;
        let program = self.program.as_fd();
        let mode = match &found {
            Some((mode, old)) => replace(program, interface, ifindex, *mode, old, wanted)?,
            None => attach_new(&Xdp::new(program), interface, ifindex, wanted)?,
        };
        Ok(AttachedProgram {
            program: self,
            interface: interface.to_owned(),
            ifindex,
            mode,
            taken_over: found.is_some(),
        })
    }
}

impl AttachedProgram {
    /// Frames dropped on `queue` for want of a worker.
    pub fn dropped(&self, queue: u32) -> Count {
        let mut sum = Count::default();
        let key = queue.to_ne_bytes();
        if let Ok(Some(per_cpu)) = self.program.drops.lookup_percpu(&key, MapFlags::ANY) {
            for value in per_cpu {
                if let Some((packets, bytes)) = value.split_first_chunk::<8>() {
                    sum.packets += u64::from_ne_bytes(*packets);
                    sum.bytes +=
                        bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
                }
            }
        }
        sum
    }

    /// Leaves the interface as `on_exit` says.
    pub fn leave(&self, on_exit: OnExit) -> Result<(), XdpError> {
        match on_exit {
            OnExit::Closed => Ok(()),
            OnExit::Open => self.detach(),
        }
    }

    /// Undoes a start that failed later on: what this process attached goes, what it took over
    /// stays closed.
    pub fn undo(&self) -> Result<(), XdpError> {
        if self.taken_over { Ok(()) } else { self.detach() }
    }

    fn detach(&self) -> Result<(), XdpError> {
        let flags = attach_flags(self.mode);
        Xdp::new(self.program.program.as_fd())
            .detach(self.ifindex, flags)
            .map_err(kernel(format!("remove the XDP program from {}", self.interface)))
    }
}

fn attach_flags(mode: AttachMode) -> XdpFlags {
    match mode {
        AttachMode::Native => XdpFlags::DRV_MODE,
        AttachMode::Generic => XdpFlags::SKB_MODE,
    }
}

fn attach_new(
    xdp: &Xdp<'_>,
    interface: &str,
    ifindex: i32,
    wanted: XdpMode,
) -> Result<AttachMode, XdpError> {
    let attach = |mode| {
        let flags = attach_flags(mode) | XdpFlags::UPDATE_IF_NOEXIST;
        xdp.attach(ifindex, flags).map(|()| mode).map_err(kernel(format!(
            "attach the XDP program to {interface} in {} mode",
            mode.as_str()
        )))
    };
    match wanted {
        XdpMode::Native => attach(AttachMode::Native),
        XdpMode::Generic => attach(AttachMode::Generic),
        XdpMode::Auto => {
            attach(AttachMode::Native).or_else(|native| match attach(AttachMode::Generic) {
                Ok(mode) => Ok(mode),
                // The native refusal says more about the interface.
                Err(_) => Err(native),
            })
        }
    }
}

/// Puts the program where an earlier Bulkhead's is, without a moment between the two.
fn replace(
    program: BorrowedFd<'_>,
    interface: &str,
    ifindex: i32,
    mode: AttachMode,
    old: &Attached,
    wanted: XdpMode,
) -> Result<AttachMode, XdpError> {
    let other_mode = match wanted {
        XdpMode::Auto => false,
        XdpMode::Native => mode != AttachMode::Native,
        XdpMode::Generic => mode != AttachMode::Generic,
    };
    let action = format!("replace the XDP program of {interface}");
    if other_mode {
        // The kernel holds one program in one mode: there is no atomic way from one mode to the
        // other. The interfaces of a wire forward nothing by themselves in between.
        let xdp = Xdp::new(program);
        xdp.detach(ifindex, attach_flags(mode)).map_err(kernel(action))?;
        return attach_new(&xdp, interface, ifindex, wanted).inspect_err(|_| {
            // The interface was closed and stays closed: without sockets the program drops all.
            // The refusal of the wanted mode is what there is to report.
            let _ = xdp.attach(ifindex, attach_flags(mode) | XdpFlags::UPDATE_IF_NOEXIST);
        });
    }
    let replaced = Program::fd_from_id(old.id)
        .and_then(|old| replace_in_mode(program, ifindex, mode, old.as_fd()));
    replaced.map_err(kernel(action))?;
    Ok(mode)
}

/// `Xdp::replace` names no mode, and the kernel then looks for the old program in native mode only.
fn replace_in_mode(
    program: BorrowedFd<'_>,
    ifindex: i32,
    mode: AttachMode,
    old: BorrowedFd<'_>,
) -> libbpf_rs::Result<()> {
    let options = libbpf_sys::bpf_xdp_attach_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_attach_opts>() as libbpf_sys::size_t,
        old_prog_fd: old.as_raw_fd(),
        ..Default::default()
    };
    let flags = (attach_flags(mode) | XdpFlags::REPLACE).bits();
    // SAFETY: both descriptors are open for the call, and the options outlive it and carry their
    // size.
    let result =
        unsafe { libbpf_sys::bpf_xdp_attach(ifindex, program.as_raw_fd(), flags, &options) };
    if result < 0 { Err(libbpf_rs::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// The program on an interface, whoever's it is.
fn attached_program(
    xdp: &Xdp<'_>,
    interface: &str,
    ifindex: i32,
) -> Result<Option<(AttachMode, Attached)>, XdpError> {
    for mode in [AttachMode::Native, AttachMode::Generic] {
        let id = xdp
            .query_id(ifindex, attach_flags(mode))
            .map_err(kernel(format!("ask for the XDP program of {interface}")))?;
        if id != 0 {
            let options = ProgInfoQueryOptions::default().include_map_ids(true);
            let info = ProgInfoIter::with_query_opts(options).find(|info| info.id == id);
            let (name, maps) = match info {
                Some(info) => (info.name.to_string_lossy().into_owned(), info.map_ids),
                None => ("?".to_owned(), Vec::new()),
            };
            return Ok(Some((mode, Attached { id, name, maps })));
        }
    }
    Ok(None)
}
