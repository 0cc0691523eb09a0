//! `gateway.yaml`: which interfaces, how they are joined, and what they run with.

mod file;
mod flows;
mod packets;
#[cfg(test)]
mod tests;

use crate::diagnostic::{Diagnostics, LoadError, Place, Report, shown};
use crate::policy::ZoneMap;
use crate::yaml::{self, Entries, Text, is_name, number};
use classifier::ZoneId;
use dataplane::{
    BusyPoll, Forward, GatewayConfig, MAX_QUEUES, OnExit, Poll, PortConfig, Rings, XdpMode,
};
use file::{BusyPollFile, ConfigFile, ForwardFile, PortFile, RingsFile, WireFile, WorkersFile};
use serde_saphyr::Spanned;
use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/bulkhead/control.sock";

/// Most ports of one gateway.
const MAX_PORTS: usize = 1_024;
/// Cores that an affinity mask has room for (`CPU_SETSIZE`).
const MAX_CORE: usize = 1_023;
/// Largest ring, descriptors.
const MAX_RING: u32 = 65_536;
/// Most frames of one worker: 4 GiB of the larger frames.
const MAX_FRAMES: u32 = 1_048_576;
/// Longest interface name (`IFNAMSIZ`, less the terminating zero).
const MAX_INTERFACE: usize = 15;
/// Longest path of a Unix socket (`sun_path`, less the terminating zero).
const MAX_SOCKET: usize = 107;

/// A validated gateway configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policy's file, resolved against the directory of the configuration.
    pub policy: PathBuf,
    /// The zones of the ports, in the order of the ports: the numbers that
    /// [`PortConfig::zone`] and every table of this gateway use.
    pub zones: ZoneMap,
    /// What the data path starts with.
    pub gateway: GatewayConfig,
    /// Path of the control socket, resolved like the policy's.
    pub control_socket: PathBuf,
    /// Where `/metrics` is served, if anywhere.
    pub metrics: Option<SocketAddr>,
}

impl Config {
    /// Reads the configuration in `text`, which is that of the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong, by line.
    pub fn parse(path: &Path, text: &str) -> Result<Config, Diagnostics> {
        let name = path.display().to_string();
        let file = yaml::read(&name, text)?;
        Reader { report: Report::new(&name, text) }.config(path, file)
    }

    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    /// [`LoadError`]: the file cannot be read, or its contents are wrong.
    pub fn load(path: impl AsRef<Path>) -> Result<Config, LoadError> {
        let path = path.as_ref();
        let text =
            yaml::text_of(path).map_err(|error| LoadError::Io { path: path.to_owned(), error })?;
        Ok(Config::parse(path, &text)?)
    }
}

/// Turns what is written into what is meant, and keeps what is wrong.
struct Reader<'a> {
    report: Report<'a>,
}

/// What must be unique, with the name of its first user and the line that is on.
type Seen = HashMap<String, (String, u32)>;

impl Reader<'_> {
    fn config(mut self, path: &Path, file: ConfigFile) -> Result<Config, Diagnostics> {
        if !self.report.check_version(file.version.as_ref()) {
            return Err(self.report.into_diagnostics());
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let (ports, zones) = self.ports(&file.ports);
        let forward = self.forward(file.forward, &file.ports);
        let workers = file.workers.unwrap_or_default();
        let socket = file.control.and_then(|control| control.socket);
        let rings = self.rings(&file.rings.unwrap_or_default());
        let config = Config {
            policy: self.path(base, &file.policy),
            zones,
            control_socket: self.socket(base, socket),
            metrics: file.metrics.and_then(|metrics| self.listen(&metrics.listen)),
            gateway: GatewayConfig {
                ports,
                forward,
                cores: self.cores(&workers),
                poll: self.choice(
                    workers.poll.as_ref(),
                    &[("adaptive", Poll::Adaptive), ("spin", Poll::Spin)],
                ),
                busy_poll: workers.busy_poll.map(|busy| self.busy_poll(&busy)),
                xdp_mode: self.choice(
                    file.xdp_mode.as_ref(),
                    &[
                        ("auto", XdpMode::Auto),
                        ("native", XdpMode::Native),
                        ("generic", XdpMode::Generic),
                    ],
                ),
                rings,
                flows: self.flows(&file.flows.unwrap_or_default()),
                fragments: self.fragments(&file.fragments.unwrap_or_default(), &rings),
                ethertypes: self.ethertypes(&file.ethertypes.unwrap_or_default()),
                parse: self.packets(&file.packets.unwrap_or_default()),
                on_exit: self.choice(
                    file.on_exit.as_ref(),
                    &[("closed", OnExit::Closed), ("open", OnExit::Open)],
                ),
            },
        };
        self.report.finish(config)
    }

    fn ports(&mut self, listed: &Entries<PortFile>) -> (Vec<PortConfig>, ZoneMap) {
        if let Some((key, _)) = listed.0.get(MAX_PORTS) {
            self.report.error(key, format!("there are more than {MAX_PORTS} ports"));
        }
        let listed = &listed.0[..listed.0.len().min(MAX_PORTS)];
        let zones = ZoneMap::from_names(listed.iter().map(|(_, port)| port.zone.value.as_str()));
        let mut interfaces = Seen::new();
        let mut ports = Vec::with_capacity(listed.len());
        for (key, port) in listed {
            self.name(key);
            self.interface(key, &port.interface, &mut interfaces);
            self.name(&port.zone);
            ports.push(PortConfig {
                name: key.value.clone(),
                interface: port.interface.value.clone(),
                zone: zones.id(&port.zone.value).unwrap_or(ZoneId::UNKNOWN),
            });
        }
        (ports, zones)
    }

    fn name(&mut self, text: &Text) {
        if !is_name(&text.value) {
            let message = format!(
                "`{}` cannot be a name: 1 to 64 of `A-Z a-z 0-9 . _ -`",
                shown(&text.value)
            );
            self.report.error(text, message);
        }
    }

    /// Checks an interface's name as the kernel does (`dev_valid_name`), and that no other port
    /// has it.
    fn interface(&mut self, port: &Text, text: &Text, seen: &mut Seen) {
        let name = &text.value;
        let valid = !name.is_empty()
            && name.len() <= MAX_INTERFACE
            && !matches!(name.as_str(), "." | "..")
            && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        if !valid {
            let message = format!(
                "`{}` cannot be an interface: 1 to {MAX_INTERFACE} bytes without `/`, `:` and \
                 spaces",
                shown(name)
            );
            self.report.error(text, message);
        }
        if let Some((other, line)) = seen.get(name) {
            let message = format!("port `{other}` has `{}` already, on line {line}", shown(name));
            self.report.error(text, message);
        } else {
            seen.insert(name.clone(), (port.value.clone(), Place::from(text).line));
        }
    }

    fn forward(
        &mut self,
        listed: Spanned<Vec<ForwardFile>>,
        ports: &Entries<PortFile>,
    ) -> Vec<Forward> {
        if listed.value.is_empty() {
            self.report.error(&listed, "the list is empty: no packet would be forwarded");
            return Vec::new();
        }
        let indices = ports.0.iter().enumerate().map(|(i, (key, _))| (key.value.as_str(), i));
        let mut wiring =
            Wiring { ports: indices.collect(), users: HashMap::new(), wires: Seen::new() };
        let count = listed.value.len();
        let wires = listed
            .value
            .into_iter()
            .filter_map(|ForwardFile::Wire(wire)| self.wire(wire, &mut wiring));
        let forward: Vec<_> = wires.collect();
        // A wire that is wrong may be the one that was meant to have the port.
        if forward.len() == count {
            for (index, (key, _)) in ports.0.iter().enumerate() {
                if !wiring.users.contains_key(&index) {
                    self.report.error(key, format!("no wire has port `{}`", shown(&key.value)));
                }
            }
        }
        forward
    }

    fn wire(&mut self, file: WireFile, wiring: &mut Wiring<'_>) -> Option<Forward> {
        let queues = file.queues.and_then(|text| self.number(&text, 1..=MAX_QUEUES));
        let [left, right] = &file.ports.value[..] else {
            let message = format!("a wire joins two ports, not {}", file.ports.value.len());
            self.report.error(&file.ports, message);
            return None;
        };
        let name = file.name.as_ref().map_or_else(
            || format!("{}-{}", left.value, right.value),
            |name| {
                self.name(name);
                name.value.clone()
            },
        );
        let place = file.name.as_ref().map_or_else(|| Place::from(&file.ports), Place::from);
        if let Some((_, line)) = wiring.wires.get(&name) {
            self.report.error(place, format!("there is a wire `{name}` already, on line {line}"));
        } else {
            wiring.wires.insert(name.clone(), (name.clone(), place.line));
        }
        let (first, second) = (self.wire_port(left, wiring), self.wire_port(right, wiring));
        Some(Forward::Wire { name, ports: [first?, second?], queues })
    }

    /// The index of the port called `text`, which no wire has yet.
    fn wire_port(&mut self, text: &Text, wiring: &mut Wiring<'_>) -> Option<usize> {
        let Some(&index) = wiring.ports.get(text.value.as_str()) else {
            let hint = self.report.hint(&text.value, wiring.ports.keys().copied());
            self.report.error(text, format!("unknown port `{}`{hint}", shown(&text.value)));
            return None;
        };
        let place = Place::from(text);
        if let Some(line) = wiring.users.insert(index, place.line) {
            let message = format!("port `{}` is in a wire already, on line {line}", text.value);
            self.report.error(text, message);
            return None;
        }
        Some(index)
    }

    fn cores(&mut self, workers: &WorkersFile) -> Vec<usize> {
        let mut cores = Vec::new();
        for text in workers.cores.iter().flatten() {
            let Some(core) = self.number(text, 0..=MAX_CORE) else { continue };
            if cores.contains(&core) {
                self.report.error(text, format!("core {core} is in the list twice"));
            }
            cores.push(core);
        }
        cores
    }

    fn busy_poll(&mut self, file: &BusyPollFile) -> BusyPoll {
        // The kernel takes a budget of 16 bits (sock_setsockopt, SO_BUSY_POLL_BUDGET).
        BusyPoll {
            micros: self.number_or(file.micros.as_ref(), 1..=1_000_000, 20),
            budget: self.number_or(file.budget.as_ref(), 1..=65_535, 64),
        }
    }

    fn rings(&mut self, file: &RingsFile) -> Rings {
        let default = Rings::default();
        let rings = Rings {
            rx: self.ring(file.rx.as_ref(), default.rx),
            tx: self.ring(file.tx.as_ref(), default.tx),
            fill: self.ring(file.fill.as_ref(), default.fill),
            completion: self.ring(file.completion.as_ref(), default.completion),
            frames: self.number_or(file.frames.as_ref(), 1..=MAX_FRAMES, default.frames),
            frame_size: self.frame_size(file.frame_size.as_ref(), default.frame_size),
        };
        if rings.frames < 2 * rings.fill
            && let Some(text) = file.frames.as_ref().or(file.fill.as_ref())
        {
            let message = format!(
                "{} frames cannot fill the fill rings of two ports: at least {} are needed",
                rings.frames,
                2 * rings.fill
            );
            self.report.error(text, message);
        }
        rings
    }

    fn ring(&mut self, text: Option<&Text>, default: u32) -> u32 {
        let size = self.number_or(text, 1..=MAX_RING, default);
        if let Some(text) = text
            && !size.is_power_of_two()
        {
            let (below, above) = (size.next_power_of_two() / 2, size.next_power_of_two());
            let message = format!("a ring's size is a power of two, such as {below} or {above}");
            self.report.error(text, message);
        }
        size
    }

    fn frame_size(&mut self, text: Option<&Text>, default: u32) -> u32 {
        match text.map(|text| (text, text.value.as_str())) {
            None => default,
            Some((_, "2048")) => 2048,
            Some((_, "4096")) => 4096,
            Some((text, _)) => {
                self.report.error(text, "a frame has 2048 or 4096 bytes");
                default
            }
        }
    }

    fn ethertypes(&mut self, listed: &[Text]) -> Vec<u16> {
        let mut ethertypes = Vec::new();
        for text in listed {
            match ethertype(&text.value) {
                Ok(found) if ethertypes.contains(&found) => {
                    let message = format!("`{}` is in the list twice", text.value);
                    self.report.error(text, message);
                }
                Ok(found) => ethertypes.push(found),
                Err(message) => self.report.error(text, message),
            }
        }
        ethertypes
    }

    fn path(&mut self, base: &Path, text: &Text) -> PathBuf {
        if text.value.is_empty() || text.value.contains('\0') {
            self.report.error(text, "expected the path of a file");
        }
        base.join(&text.value)
    }

    fn socket(&mut self, base: &Path, text: Option<Text>) -> PathBuf {
        let Some(text) = text else { return DEFAULT_SOCKET.into() };
        let path = self.path(base, &text);
        let length = path.as_os_str().len();
        if length > MAX_SOCKET {
            let message =
                format!("the path has {length} bytes; a socket's has {MAX_SOCKET} at most");
            self.report.error(&text, message);
        }
        path
    }

    fn listen(&mut self, text: &Text) -> Option<SocketAddr> {
        let parsed = text.value.parse();
        if parsed.is_err() {
            let message = format!(
                "`{}` is not an address and a port, such as `127.0.0.1:9464` or `\"[::1]:9464\"`",
                shown(&text.value)
            );
            self.report.error(text, message);
        }
        parsed.ok()
    }

    /// What the word `text` stands for among `choices`; the default when it is absent.
    fn choice<T: Copy + Default>(&mut self, text: Option<&Text>, choices: &[(&str, T)]) -> T {
        let Some(text) = text else { return T::default() };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return *value;
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        let hint = self.report.hint(&text.value, choices.iter().map(|(word, _)| *word));
        let message = format!("`{}` is none of {}{hint}", shown(&text.value), words.join(", "));
        self.report.error(text, message);
        T::default()
    }

    fn number<T>(&mut self, text: &Text, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        number(&text.value, range).map_err(|message| self.report.error(text, message)).ok()
    }

    fn number_or<T>(&mut self, text: Option<&Text>, range: RangeInclusive<T>, default: T) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        text.and_then(|text| self.number(text, range)).unwrap_or(default)
    }

    fn seconds_or(
        &mut self,
        text: Option<&Text>,
        range: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        let seconds = text.and_then(|text| self.number(text, range));
        seconds.map_or(default, Duration::from_secs)
    }
}

/// The ports and wires seen so far.
struct Wiring<'a> {
    /// Index of each port by name.
    ports: HashMap<&'a str, usize>,
    /// For a port that a wire has, the line it is on.
    users: HashMap<usize, u32>,
    wires: Seen,
}

/// An EtherType in hexadecimal or decimal.
///
/// # Errors
/// The message for the user: not one, or one that configuration has no say in.
fn ethertype(text: &str) -> Result<u16, String> {
    let parsed = match text.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(hex) if hex.starts_with('+') => None,
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => number(text, 0..=u16::MAX).ok(),
    };
    // Below 1536 the field is a length (IEEE 802.3, 3.2.6).
    match parsed {
        Some(0x0800 | 0x86dd) => Err(format!("`{text}` is IP, which the policy judges")),
        Some(0x0806) => Err(format!("`{text}` is ARP, which always passes")),
        Some(0x8100 | 0x88a8) => {
            Err(format!("`{text}` is a VLAN tag, which is looked through, not judged"))
        }
        Some(found @ 0x0600..) => Ok(found),
        _ => Err(format!("`{}` is not an EtherType from 0x0600 to 0xffff", shown(text))),
    }
}
