//! What a reader of figures must know about the machine they come from.

use serde::Serialize;
use std::fmt;
use std::fs;

/// Kernel, processor and cores.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Release of the running kernel.
    pub kernel: String,
    /// The processor's name, as the kernel tells it.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
}

impl Machine {
    /// This machine; unknown facts are empty or 0.
    pub fn this() -> Machine {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let processor = model.and_then(|line| line.split_once(':')).map_or("", |(_, name)| name);
        Machine {
            kernel: kernel.trim().to_owned(),
            processor: processor.trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}, {} cores of {}", self.kernel, self.cores, self.processor)
    }
}
