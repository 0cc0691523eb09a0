//! `bulkhead export`: the policy for other firewalls.

use super::check::exit_of;
use super::{Exit, output};
use crate::diagnostic::{LoadError, did_you_mean, shown};
use crate::export::nft::{self, Interfaces};
use crate::policy::Policy;
use clap::{Args, Subcommand};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
The table `inet bulkhead` has the policy's rules in its chain `forward`, which drops what no rule
allows; answers pass by connection tracking. The chain `zones` drops sources that may not come from a
zone, and fragments where a zone drops them, before connection tracking. Loading the file again replaces the table in one step:

  bulkhead export nft policy.yaml --zone clients=eth1 --zone servers=eth2 --out bulkhead.nft
  nft -c -f bulkhead.nft && nft -f bulkhead.nft

A zone that rules name and --zone does not stays a variable, and nft refuses the file until it is
defined: nft --define 'zone_clients={ \"eth1\" }' -f bulkhead.nft";

/// Write the policy for another firewall
///
/// Reads the file as a gateway would, changes nothing and needs no gateway.
#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    #[command(subcommand)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Format {
    Nft(NftArgs),
}

/// As an nftables ruleset, for a Linux router between the same zones
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
struct NftArgs {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// An interface of a zone; may be given several times, also for one zone
    #[arg(long, value_name = "NAME=IFACE")]
    zone: Vec<String>,
    /// Drop also what a strict gateway drops: malformed packets, IPv4 options, IPv6 source
    /// routes, impossible addresses, ports and TCP flags, packets without a connection that they could
    /// belong to
    #[arg(long)]
    hardened: bool,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ExportArgs) -> ExitCode {
    let Format::Nft(args) = &args.format;
    let policy = match Policy::load(&args.policy) {
        Ok(policy) => policy,
        Err(LoadError::Invalid(diagnostics)) => {
            output::complain(format_args!("{diagnostics:#}"));
            let file = args.policy.display();
            return output::failure(Exit::InvalidPolicy, format_args!("{file} is invalid"));
        }
        Err(error) => return output::failure(exit_of(&error), error),
    };
    let interfaces = match interfaces(&policy, &args.zone) {
        Ok(interfaces) => interfaces,
        Err(message) => return output::failure(Exit::WrongUse, message),
    };
    let text = nft::ruleset(&policy, &interfaces, args.hardened);
    match &args.out {
        None => output::facts(Exit::Done, |out| out.write_all(text.as_bytes())),
        Some(path) => write(path, &text),
    }
}

fn write(path: &Path, text: &str) -> ExitCode {
    match fs::write(path, text) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            let path = path.display();
            output::failure(Exit::Failed, format_args!("cannot write {path}: {error}"))
        }
    }
}

/// What `--zone` says, each as `NAME=IFACE`.
fn interfaces(policy: &Policy, given: &[String]) -> Result<Interfaces, String> {
    let mut interfaces = Interfaces::new();
    for text in given {
        let Some((zone, interface)) = text.split_once('=') else {
            return Err(format!("--zone `{}` is not of the form NAME=IFACE", shown(text)));
        };
        if policy.zone_id(zone).is_none() {
            let hint = did_you_mean(zone, policy.zones().iter().map(|zone| zone.name.as_str()));
            return Err(format!("--zone: the policy has no zone `{}`{hint}", shown(zone)));
        }
        if !is_interface(interface) {
            return Err(format!("--zone: `{}` is not the name of an interface", shown(interface)));
        }
        let listed = interfaces.entry(zone.to_owned()).or_default();
        if !listed.iter().any(|known| known == interface) {
            listed.push(interface.to_owned());
        }
    }
    Ok(interfaces)
}

/// Whether Linux could call an interface so (`dev_valid_name`), and nft reads it as one name: it
/// takes `*` at the end for any name that begins so.
fn is_interface(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && !b"/:\"\\*".contains(&b);
    (1..=15).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(allowed)
}
