//! nmap at work in the laboratory, and what it says of each port.

use crate::{Error, Family, Lab, Result, Side};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time for one scan; nmap gives a host up earlier.
const SCAN: Duration = Duration::from_secs(60);

/// What nmap says of each port that it was asked for: `open`, `closed`, `filtered`, `unfiltered` or
/// `open|filtered`.
pub type States = BTreeMap<u16, String>;

/// Runs nmap in the client namespace: no name resolution, no ping, few repetitions. `arguments` are
/// more of its options.
///
/// # Errors
/// If it cannot be started or ends otherwise than with exit code 0.
pub fn run(lab: &Lab, family: Family, arguments: &[&str], target: &str) -> Result<String> {
    let mut argv = vec!["nmap", "-n", "-Pn", "--disable-arp-ping", "--max-retries", "2"];
    argv.extend(["--min-rate", "200", "--max-rtt-timeout", "800ms", "--host-timeout", "40s"]);
    if family == Family::V6 {
        argv.push("-6");
    }
    argv.extend(arguments);
    argv.extend(["-oX", "-", target]);
    Ok(lab.exec(Side::Client, &argv, SCAN)?.expect_success()?.stdout)
}

/// Scans `ports` of `target` with the technique and options in `arguments`.
///
/// # Errors
/// As [`run`], or if nmap's report does not tell the state of every port.
pub fn scan(
    lab: &Lab,
    family: Family,
    arguments: &[&str],
    target: &str,
    ports: &[u16],
) -> Result<States> {
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let mut argv = arguments.to_vec();
    argv.extend(["-p", &list]);
    states(&run(lab, family, &argv, target)?, ports)
}

/// Reads nmap's XML report. Ports in the state that most are in are only counted there
/// (`extraports`).
fn states(report: &str, ports: &[u16]) -> Result<States> {
    let wrong = |what: &str| Error::new(format!("nmap's report {what}:\n{report}"));
    let mut states = States::new();
    for port in report.split("<port ").skip(1) {
        let (Some(number), Some(state)) = (attribute(port, "portid"), attribute(port, "state"))
        else {
            return Err(wrong("has a port without number or state"));
        };
        let number = number.parse().map_err(|_| wrong("has a port that is no number"))?;
        states.insert(number, state.to_owned());
    }
    let silent: Vec<_> = ports.iter().filter(|port| !states.contains_key(port)).collect();
    let counted: Vec<_> = report.split("<extraports ").skip(1).collect();
    match counted[..] {
        [] if silent.is_empty() => {}
        [all] if attribute(all, "count") == Some(&silent.len().to_string()) => {
            let state = attribute(all, "state").ok_or_else(|| wrong("counts ports of no state"))?;
            states.extend(silent.into_iter().map(|port| (*port, state.to_owned())));
        }
        _ => return Err(wrong("leaves the state of some ports open")),
    }
    Ok(states)
}

/// The value of the first attribute `name` in `text`.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = text.split_once(&format!("{name}=\""))?;
    Some(value.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<host><ports><extraports state="filtered" count="2">
<extrareasons reason="no-response" count="2" proto="tcp" ports="22-23"/>
</extraports>
<port protocol="tcp" portid="80"><state state="open" reason="syn-ack" reason_ttl="64"/></port>
</ports></host>"#;

    #[test]
    fn ports_that_are_only_counted_have_the_state_of_the_count() {
        let states = states(REPORT, &[22, 23, 80]).unwrap();
        let seen: Vec<_> = states.iter().map(|(port, state)| (*port, state.as_str())).collect();
        assert_eq!(seen, [(22, "filtered"), (23, "filtered"), (80, "open")]);
    }

    #[test]
    fn a_report_that_leaves_a_port_open_is_refused() {
        assert!(states(REPORT, &[21, 22, 23, 80]).is_err());
        assert!(states("", &[80]).is_err());
    }
}
