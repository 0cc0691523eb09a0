//! `bulkhead status`, `rules`, `flows`, `drops`: the running gateway, over its control socket.

use super::format::{bytes, count, seconds};
use super::table::Heading::{Left, Right};
use super::table::Table;
use super::{Exit, SocketArgs, output};
use crate::api::{
    Conservation, Drops, Flows, Headers, MAX_LIST, ReasonTotal, Rules, Status, TopBy, TopFlows,
};
use crate::client::{Client, ClientError};
use crate::diagnostic::printable;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

/// What the commands that show something share.
#[derive(Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show the running gateway: policy, ports, workers, warnings
///
/// Prints the generation in force, what each port received, transmitted and dropped, the workers,
/// and whether received = transmitted + dropped + held.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    show: ShowArgs,
}

/// Show the rules in force with their hits
///
/// In the order in which they are tried. Hits count the packets judged by a rule since the gateway
/// started, those of flows it allowed included; they go on across swaps while the id stays.
#[derive(Args, Debug)]
pub(super) struct RulesArgs {
    #[command(flatten)]
    show: ShowArgs,
}

/// Show open flows, or who has most of them
///
/// A flow is listed as its first packet had it; the other direction belongs to it.
#[derive(Args, Debug)]
pub(super) struct FlowsArgs {
    /// Count flows instead of listing them: by who opened them (an IPv6 /64 is one source), or by
    /// the rule that allows them
    #[arg(long, value_name = "WHAT")]
    top: Option<Top>,
    /// Most flows, sources or rules to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = limit())]
    limit: usize,
    #[command(flatten)]
    show: ShowArgs,
}

/// What flows are counted by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Top {
    Sources,
    Rules,
}

/// Show what was dropped and why
///
/// Totals by port and reason since the gateway started, those of packets that a zone's guard only
/// counts, then the last packets dropped, newest first.
#[derive(Args, Debug)]
pub(super) struct DropsArgs {
    /// Most packets to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit())]
    limit: usize,
    #[command(flatten)]
    show: ShowArgs,
}

fn limit() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=MAX_LIST as u64)
}

pub(super) fn status(args: &StatusArgs) -> ExitCode {
    show(&args.show, Client::status, print_status)
}

pub(super) fn rules(args: &RulesArgs) -> ExitCode {
    show(&args.show, Client::rules, print_rules)
}

pub(super) fn flows(args: &FlowsArgs) -> ExitCode {
    let limit = Some(args.limit);
    let by = match args.top {
        None => return show(&args.show, |client| client.flows(limit), print_flows),
        Some(Top::Sources) => TopBy::Source,
        Some(Top::Rules) => TopBy::Rule,
    };
    show(&args.show, |client| client.top_flows(by, limit), |top, out| print_top(top, by, out))
}

pub(super) fn drops(args: &DropsArgs) -> ExitCode {
    show(&args.show, |client| client.drops(Some(args.limit)), print_drops)
}

fn show<T: Serialize>(
    args: &ShowArgs,
    ask: impl FnOnce(&Client) -> Result<T, ClientError>,
    print: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
) -> ExitCode {
    let client = match Client::new(&args.socket.socket) {
        Ok(client) => client,
        Err(error) => return output::failure(Exit::Failed, error),
    };
    match ask(&client) {
        Ok(document) if args.json => output::json(Exit::Done, &document),
        Ok(document) => output::facts(Exit::Done, |out| print(&document, out)),
        Err(error) => output::failure(Exit::Failed, error),
    }
}

fn print_status(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let (policy, flows, memory) = (&status.policy, &status.flows, &status.memory);
    let fragments = &status.fragments;
    let up = seconds(status.uptime_seconds);
    writeln!(out, "bulkhead {}, pid {}, up {up}", status.version, status.pid)?;
    let file = printable(&policy.file);
    writeln!(
        out,
        "policy    {file}, generation {}, since {}",
        status.generation, policy.applied_at
    )?;
    let warnings = policy.warnings.filter(|&warnings| warnings > 0);
    let warnings = warnings.map(|n| format!(", {}", count(n, "warning", "warnings")));
    let swap = policy.swap_seconds.map(|swap| format!(", swapped in {}", seconds(swap)));
    writeln!(
        out,
        "          {}, {}{}, compiled in {}{}",
        count(policy.rules, "rule", "rules"),
        count(policy.entries, "entry", "entries"),
        warnings.unwrap_or_default(),
        seconds(policy.compile_seconds),
        swap.unwrap_or_default()
    )?;
    let lines = count(policy.worst_case_cache_lines, "cache line", "cache lines");
    let made = policy.table_made.as_str();
    writeln!(out, "table     {made}; a lookup touches at most {lines}")?;
    writeln!(
        out,
        "flows     {} open of {}, {} opened, {} closed, {} of them evicted",
        flows.open, flows.capacity, flows.opened, flows.closed, flows.evicted
    )?;
    let classes = &flows.classes;
    writeln!(
        out,
        "          {} established, {} half-open, {} one-sided, {} closing",
        classes.established, classes.half_open, classes.one_sided, classes.closing
    )?;
    writeln!(
        out,
        "fragments {} held of {}, {} incomplete",
        fragments.held,
        fragments.capacity,
        count(to_usize(fragments.incomplete), "datagram", "datagrams")
    )?;
    writeln!(
        out,
        "memory    table {}, flows {} ({} each, IPv6 {}), fragments {}, umem {}, hand-over {}",
        bytes(memory.table_bytes),
        bytes(memory.flow_bytes),
        bytes(flows.bytes_per_flow_v4),
        bytes(flows.bytes_per_flow_v6),
        bytes(memory.fragment_bytes),
        bytes(memory.umem_bytes),
        bytes(memory.handover_bytes)
    )?;
    writeln!(out, "frames    {}", conservation(&status.conservation))?;
    for warning in &status.warnings {
        writeln!(out, "warning   {}", printable(warning))?;
    }
    writeln!(out)?;
    ports(status).print(out)?;
    writeln!(out)?;
    workers(status).print(out)
}

fn conservation(conservation: &Conservation) -> String {
    let Conservation { balanced, quiet, difference } = *conservation;
    let frames = count(to_usize(difference), "frame", "frames");
    match (balanced, quiet) {
        (true, _) => "balanced: received = transmitted + dropped + held".into(),
        (false, false) => format!("not comparable while traffic runs ({frames} apart)"),
        (false, true) => format!("NOT BALANCED: {frames} unaccounted for"),
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn ports(status: &Status) -> Table {
    let mut table = Table::new([
        Left("PORT"),
        Left("INTERFACE"),
        Left("ZONE"),
        Left("WIRE"),
        Left("LINK"),
        Left("MODE"),
        Right("QUEUE"),
        Right("RX PACKETS"),
        Right("RX BYTES"),
        Right("TX PACKETS"),
        Right("TX BYTES"),
        Right("DROPPED"),
        Right("HELD"),
    ]);
    for port in &status.ports {
        table.row([
            port.name.clone(),
            port.interface.clone(),
            or_dash(port.zone.as_deref()),
            port.wire.clone(),
            port.link.clone(),
            port.mode.clone(),
            if port.queues.len() > 1 { "all".into() } else { String::new() },
            port.rx.packets.to_string(),
            port.rx.bytes.to_string(),
            port.tx.packets.to_string(),
            port.tx.bytes.to_string(),
            port.drops.to_string(),
            port.held.to_string(),
        ]);
        if port.queues.len() < 2 {
            continue;
        }
        for queue in &port.queues {
            let unserved = if queue.served { "" } else { "no worker" };
            table.row([
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                unserved.into(),
                queue.queue.to_string(),
                queue.rx.packets.to_string(),
                queue.rx.bytes.to_string(),
                queue.tx.packets.to_string(),
                queue.tx.bytes.to_string(),
                queue.drops.to_string(),
                queue.held.to_string(),
            ]);
        }
    }
    table
}

fn workers(status: &Status) -> Table {
    let mut table = Table::new([
        Right("WORKER"),
        Left("WIRE"),
        Right("QUEUE"),
        Right("CORE"),
        Left("STATE"),
        Right("GENERATION"),
        Right("FLOWS"),
        Right("FRAGMENTS"),
        Right("BURSTS"),
        Right("SLEEPS"),
    ]);
    for worker in &status.workers {
        table.row([
            worker.worker.to_string(),
            worker.wire.clone(),
            worker.queue.to_string(),
            worker.core.map_or_else(|| "-".into(), |core| core.to_string()),
            if worker.alive { "runs".into() } else { "STOPPED".into() },
            worker.generation.to_string(),
            worker.flows.to_string(),
            worker.fragments_held.to_string(),
            worker.bursts.to_string(),
            worker.sleeps.to_string(),
        ]);
    }
    table
}

fn print_rules(rules: &Rules, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new([
        Left("RULE"),
        Left("ACTION"),
        Left("ESTABLISHED"),
        Right("HITS"),
        Right("LINE"),
        Left("DESCRIPTION"),
    ]);
    for rule in &rules.rules {
        table.row([
            rule.id.clone(),
            rule.action.clone(),
            or_dash(rule.established.as_deref()),
            rule.hits.to_string(),
            rule.line.map_or_else(|| "-".into(), |line| line.to_string()),
            rule.description.clone().unwrap_or_default(),
        ]);
    }
    writeln!(out, "{}, generation {}", printable(&rules.file), rules.generation)?;
    table.print(out)
}

fn print_flows(flows: &Flows, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new([
        Left("WIRE"),
        Left("PROTOCOL"),
        Left("FROM"),
        Left("SOURCE"),
        Left("TO"),
        Left("DESTINATION"),
        Left("RULE"),
        Left("CLASS"),
        Right("IDLE"),
        Right("EXPIRES IN"),
    ]);
    for flow in &flows.flows {
        table.row([
            flow.wire.clone(),
            protocol(&flow.headers),
            or_dash(flow.headers.from.as_deref()),
            source(&flow.headers),
            or_dash(flow.headers.to.as_deref()),
            destination(&flow.headers),
            or_dash(flow.rule.as_deref()),
            flow.class.clone(),
            seconds(flow.idle_seconds),
            seconds(flow.expires_in_seconds),
        ]);
    }
    let listed = flows.flows.len();
    writeln!(out, "{} open of {}, {listed} listed", flows.open, flows.capacity)?;
    table.print(out)
}

fn print_top(top: &TopFlows, by: TopBy, out: &mut dyn Write) -> io::Result<()> {
    let heading = match by {
        TopBy::Source => "SOURCE",
        TopBy::Rule => "RULE",
    };
    let mut table = Table::new([Left(heading), Right("FLOWS")]);
    for of in &top.top {
        let name = match by {
            TopBy::Source => of.source.as_deref(),
            TopBy::Rule => of.rule.as_deref(),
        };
        table.row([or_dash(name), of.flows.to_string()]);
    }
    writeln!(out, "{} open of {}, {} listed", top.open, top.capacity, top.top.len())?;
    if let (Some(generation), Some(others @ 1..)) = (top.generation, top.others) {
        writeln!(out, "{others} not judged by generation {generation} yet")?;
    }
    table.print(out)
}

fn print_drops(drops: &Drops, out: &mut dyn Write) -> io::Result<()> {
    let mut recent = Table::new([
        Right("AGO"),
        Left("PORT"),
        Right("QUEUE"),
        Left("REASON"),
        Left("RULE"),
        Left("PROTOCOL"),
        Left("SOURCE"),
        Left("DESTINATION"),
        Right("BYTES"),
    ]);
    for drop in &drops.recent {
        let header = |of: fn(&Headers) -> String| drop.headers.as_ref().map(of);
        recent.row([
            seconds(drop.age_seconds),
            drop.port.clone(),
            drop.queue.to_string(),
            drop.reason.clone(),
            or_dash(drop.rule.as_deref()),
            or_dash(header(protocol).as_deref()),
            or_dash(header(source).as_deref()),
            or_dash(header(destination).as_deref()),
            drop.length.to_string(),
        ]);
    }
    writeln!(out, "{} dropped", drops.dropped)?;
    totals(&drops.totals).print(out)?;
    if !drops.suspects.is_empty() {
        writeln!(out, "\nsuspect, and only counted by the guard of their zone:")?;
        totals(&drops.suspects).print(out)?;
    }
    if !drops.recent.is_empty() {
        writeln!(out, "\nthe last {}:", drops.recent.len())?;
        recent.print(out)?;
    }
    Ok(())
}

fn totals(totals: &[ReasonTotal]) -> Table {
    let mut table =
        Table::new([Left("PORT"), Left("REASON"), Right("PACKETS"), Left("DESCRIPTION")]);
    for total in totals {
        table.row([
            total.port.clone(),
            total.reason.clone(),
            total.packets.to_string(),
            total.description.clone(),
        ]);
    }
    table
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// The protocol, for ICMP with type and code.
fn protocol(headers: &Headers) -> String {
    match (headers.icmp_type, headers.icmp_code) {
        (Some(icmp_type), Some(code)) => format!("{} {icmp_type}/{code}", headers.protocol),
        _ => headers.protocol.clone(),
    }
}

fn source(headers: &Headers) -> String {
    endpoint(&headers.source, headers.source_port)
}

fn destination(headers: &Headers) -> String {
    endpoint(&headers.destination, headers.destination_port)
}

/// `10.77.1.20:80`, `[fd77:1::20]:80` (RFC 3986), or the address alone.
fn endpoint(address: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.into(),
    }
}
