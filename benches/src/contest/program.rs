//! A program that has built a table and times a pass when it is told to.

use super::rounds::Timed;
use super::{Error, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// What a program says about the table it has built.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ready {
    /// Rules it has read.
    pub rules: usize,
    /// How long it took to build the table.
    pub build_ms: f64,
    /// Bytes that lookups use.
    pub memory_bytes: usize,
    /// Most cache lines of a lookup, for those who know.
    #[serde(default)]
    pub worst_case: Option<usize>,
    /// The kind of instructions, where there is no choice of variants.
    #[serde(default)]
    pub simd: Option<String>,
    /// Code paths to choose from.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Pages behind the table, for those who know.
    #[serde(default)]
    pub pages: Option<String>,
    /// Name and version, for those who know.
    #[serde(default)]
    pub version: Option<String>,
}

/// A running program that speaks the protocol of `classbench --serve`: a line in, a line of JSON
/// out. Dropped, it is killed.
pub struct Program {
    name: String,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    limit: Duration,
    /// Its first words.
    pub ready: Ready,
}

impl Program {
    /// Starts `command` on `core` alone, and waits until its table is built. It is called `name` in
    /// errors, and gets `limit` for that and for each answer.
    ///
    /// # Errors
    /// If it does not start, ends, says something else, or takes too long.
    pub fn start(
        name: &str,
        command: &mut Command,
        core: usize,
        limit: Duration,
    ) -> Result<Program> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |why: &dyn std::fmt::Display| Error::new(format!("{name}: {why}"));
        let mut child = on_core(core, || command.spawn())
            .map_err(|why| failed(&format!("core {core}: {why}")))?
            .map_err(|why| failed(&format!("{}: {why}", command.get_program().display())))?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        // Ends with the program's output, or with the first line that nobody waits for any more.
        thread::spawn(move || {
            stdout.lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line))
        });
        let ready = Ready {
            rules: 0,
            build_ms: 0.0,
            memory_bytes: 0,
            worst_case: None,
            simd: None,
            variants: Vec::new(),
            pages: None,
            version: None,
        };
        let mut program = Program { name: name.to_owned(), child, stdin, lines, limit, ready };
        let said = program.answer("ready")?;
        program.ready = serde_json::from_value(said).map_err(|why| failed(&why))?;
        Ok(program)
    }

    /// Has it read other headers; how many there are.
    ///
    /// # Errors
    /// As [`Timed::pass`].
    pub fn trace(&mut self, file: &Path) -> Result<usize> {
        self.ask(&format!("trace {}", file.display()), "packets").map(|n| n as usize)
    }

    /// Has it write what it finds for each header, the rule's index or -1 in a line.
    ///
    /// # Errors
    /// As [`Timed::pass`].
    pub fn dump(&mut self, file: &Path) -> Result<()> {
        self.ask(&format!("dump {}", file.display()), "dumped").map(drop)
    }

    fn ask(&mut self, line: &str, key: &str) -> Result<f64> {
        // A program that has ended is found out by its answer, and its last words told.
        let _ = writeln!(self.stdin, "{line}");
        let answer = self.answer(key)?;
        let not_a_number = || Error::new(format!("{}: {line}: {answer}", self.name));
        answer.as_f64().ok_or_else(not_a_number)
    }

    /// The value of `key` in the next line.
    fn answer(&mut self, key: &str) -> Result<Value> {
        let line = match self.lines.recv_timeout(self.limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.limit.as_secs();
                return Err(Error::new(format!("{}: no answer in {seconds} s", self.name)));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
        };
        let mut answer: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        match answer.get_mut(key) {
            Some(value) => Ok(value.take()),
            None => Err(Error::new(format!("{}: expected \"{key}\", found {line}", self.name))),
        }
    }

    /// What a program that has closed its output leaves.
    fn ended(&mut self) -> Error {
        let _ = self.child.kill();
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut said);
        }
        match (said.trim(), self.child.wait()) {
            ("", Ok(status)) => {
                Error::new(format!("{}: ended without a word: {status}", self.name))
            }
            (said, _) => Error::new(format!("{}: {said}", self.name)),
        }
    }
}

impl Timed for Program {
    fn pass(&mut self, variant: Option<&str>) -> Result<f64> {
        match variant {
            Some(variant) => self.ask(&format!("pass {variant}"), "ns_per_lookup"),
            None => self.ask("pass", "ns_per_lookup"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `task` on a thread that may use `core` alone, as may the processes that it starts.
fn on_core<T: Send>(core: usize, task: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let pinned = || {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
        Ok(task())
    };
    thread::scope(|scope| {
        let ended = scope.spawn(pinned).join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = r#"echo '{"ready":{"rules":3,"build_ms":1.5,"memory_bytes":64}}'"#;

    fn start(script: &str) -> Result<Program> {
        let mut shell = Command::new("sh");
        Program::start("fake", shell.args(["-c", script]), 0, Duration::from_secs(20))
    }

    fn why<T>(result: Result<T>) -> String {
        result.err().expect("it fails").to_string()
    }

    #[test]
    fn a_program_tells_its_table_and_times_passes() {
        let answers = r#"while read -r word rest; do
            case $word in
            trace) echo "{\"packets\":7}" ;;
            pass) echo "{\"ns_per_lookup\":2.5,\"of\":\"$rest\"}" ;;
            dump) echo 1 >"$rest"; echo "{\"dumped\":7}" ;;
            esac
        done"#;
        let mut program = start(&format!("{READY}; {answers}")).unwrap();
        assert_eq!((program.ready.rules, program.ready.build_ms), (3, 1.5));
        assert_eq!(program.trace(Path::new("here")).unwrap(), 7);
        assert_eq!(program.pass(Some("avx2")).unwrap(), 2.5);
        let dir = tempfile::tempdir().unwrap();
        program.dump(&dir.path().join("dump")).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("dump")).unwrap(), "1\n");
    }

    #[test]
    fn what_goes_wrong_is_told_with_the_programs_words() {
        assert_eq!(why(start("echo no such rule >&2; exit 1")), "fake: no such rule");
        let silent = why(start("exit 3"));
        assert!(silent.starts_with("fake: ended without a word: exit status: 3"), "{silent}");
        assert_eq!(why(start("echo hello")), "fake: expected \"ready\", found hello");
        let mut refusing = start(&format!("{READY}; echo '{{\"error\":\"no\"}}'; cat")).unwrap();
        let refused = why(refusing.pass(None));
        assert_eq!(refused, "fake: expected \"ns_per_lookup\", found {\"error\":\"no\"}");
        let absent = Program::start(
            "fake",
            &mut Command::new("/no/such/program"),
            0,
            Duration::from_secs(1),
        );
        assert!(why(absent).starts_with("fake: /no/such/program: "));
    }

    #[test]
    fn a_program_that_does_not_answer_is_given_up() {
        let mut shell = Command::new("sh");
        let limit = Duration::from_millis(50);
        let hung = Program::start("fake", shell.args(["-c", "sleep 5"]), 0, limit);
        assert_eq!(why(hung), "fake: no answer in 0 s");
    }
}
