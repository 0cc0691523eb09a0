//! Measures forwarded packets per second of Bulkhead beside its peers, in network namespaces.

use benches::interrupt::{self, INTERRUPTED};
use benches::machine::Machine;
use benches::markdown;
use benches::probe::{FRAME_BYTES, MAX_FLOWS};
use benches::stats::Spread;
use benches::wire::{Conserved, Form, Peer, Stand, Trial};
use clap::Parser;
use lab::need::{Need, missing};
use lab::{Error, Lab, Result};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Forwarded packets per second through Bulkhead and through its peers, side by side
///
/// Each peer joins two veth interfaces in network namespaces of its own. The same source sends to
/// all of them: 60-byte UDP frames from core 0, as fast as it can. The same receiver counts and
/// drops. Trials are interleaved, so that a change of the machine's mood meets all peers.
#[derive(Parser)]
struct Arguments {
    /// Trials of each peer
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of a trial
    #[arg(long, value_name = "S", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Flows of the traffic, by source port
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_FLOWS)))]
    flows: u16,
    /// Rules of Bulkhead's policies, one peer for each number
    #[arg(long, value_name = "N,...", default_value = "1,1000", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rules: Vec<u32>,
    /// Measure policies of N rules each, and the same policies in nftables on the kernel's bridge:
    /// rule by rule, up to 1,000, and as one verdict map
    #[arg(long, value_name = "N,...", value_delimiter = ',', conflicts_with = "rules",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    policy_rules: Vec<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Most rules that nftables tries one by one: with more, each frame takes so long that not even a
/// warm-up ends in reasonable time.
const MOST_LISTED: usize = 1000;

/// The peer that the others are compared with.
const REFERENCE: Peer = Peer::BridgeNftables;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interrupt::catch();
    match measure(&arguments) {
        Ok(results) if arguments.json => println!("{}", document(&arguments, &results)),
        Ok(results) if arguments.policy_rules.is_empty() => print(&arguments, &results),
        Ok(results) => print_policies(&arguments, &results),
        Err(error) => {
            eprintln!("wire: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// All trials of one peer.
struct Results {
    peer: Peer,
    trials: Vec<Trial>,
}

impl Results {
    fn forwarded(&self) -> Spread {
        self.spread(|trial| trial.forwarded_mpps)
    }

    fn offered(&self) -> Spread {
        self.spread(|trial| trial.offered_mpps)
    }

    fn spread(&self, figure: impl Fn(&Trial) -> f64) -> Spread {
        Spread::of(self.trials.iter().map(figure)).expect("there is at least one round")
    }

    /// What a gateway counted in all trials.
    fn gateway(&self) -> Option<Conserved> {
        self.trials.iter().filter_map(|trial| trial.gateway).reduce(Conserved::plus)
    }
}

fn measure(arguments: &Arguments) -> Result<Vec<Results>> {
    let peers = peers(arguments);
    let programs = peers.iter().flat_map(|peer| peer.programs());
    let needs: Vec<Need> =
        [Need::Lab].into_iter().chain(programs.map(|name| Need::Program(name))).collect();
    if let Some(why) = missing(&needs) {
        return Err(Error::new(why));
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err(Error::new("two cores are needed: one sends, one forwards"));
    }

    let labs = peers.iter().map(|_| Lab::new()).collect::<Result<Vec<_>>>()?;
    let mut stands = Vec::new();
    for (peer, lab) in peers.iter().zip(&labs) {
        stop_if_interrupted()?;
        stands.push(Stand::set_up(lab, *peer, arguments.flows)?);
    }
    let mut results: Vec<Results> =
        peers.iter().map(|&peer| Results { peer, trials: Vec::new() }).collect();
    for round in 1..=arguments.rounds {
        for (stand, results) in stands.iter_mut().zip(&mut results) {
            let trial = stand.trial(Duration::from_secs(arguments.seconds), &INTERRUPTED);
            stop_if_interrupted()?;
            let trial = trial?;
            eprintln!(
                "round {round} of {}: {:36} {:6.3} Mpps",
                arguments.rounds,
                stand.peer.to_string(),
                trial.forwarded_mpps
            );
            results.trials.push(trial);
        }
    }
    Ok(results)
}

fn peers(arguments: &Arguments) -> Vec<Peer> {
    if arguments.policy_rules.is_empty() {
        let bulkhead = |&rules: &u32| Peer::Bulkhead { rules: rules as usize };
        let peers = [Peer::Bridge, REFERENCE, Peer::Redirect];
        return peers.into_iter().chain(arguments.rules.iter().map(bulkhead)).collect();
    }
    let mut peers = vec![Peer::Bridge];
    for &rules in &arguments.policy_rules {
        let rules = rules as usize;
        if rules <= MOST_LISTED {
            peers.push(Peer::NftablesPolicy { rules, form: Form::List });
        }
        peers.push(Peer::NftablesPolicy { rules, form: Form::Map });
        peers.push(Peer::BulkheadPolicy { rules });
    }
    peers
}

fn stop_if_interrupted() -> Result<()> {
    if interrupt::came() { Err(Error::new("interrupted")) } else { Ok(()) }
}

/// The median of a peer, if it was measured.
fn median_of(results: &[Results], peer: Peer) -> Option<f64> {
    let found = results.iter().find(|results| results.peer == peer);
    found.map(|results| results.forwarded().median)
}

fn print_preface(arguments: &Arguments) {
    let Arguments { rounds, seconds, flows, .. } = arguments;
    println!("{}", Machine::this());
    println!(
        "{FRAME_BYTES}-byte UDP frames of {flows} flows; {rounds} interleaved trials of {seconds} s \
         each; million packets per second\n"
    );
}

fn print(arguments: &Arguments, results: &[Results]) {
    print_preface(arguments);
    println!(
        "{:32} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "forwarded by", "min", "median", "max", "of nftables", "offered"
    );
    for result in results {
        let Spread { min, median, max } = result.forwarded();
        let ratio = median / median_of(results, REFERENCE).unwrap_or(f64::NAN);
        let offered = result.offered().median;
        println!(
            "{:32} {min:8.3} {median:8.3} {max:8.3} {ratio:>10.2}x {offered:10.3}",
            result.peer.to_string()
        );
    }
    for result in results {
        if let Some(gateway) = result.gateway() {
            print_accounts(result, gateway);
        }
    }
}

/// The same policies in nftables and in Bulkhead, in Markdown.
fn print_policies(arguments: &Arguments, results: &[Results]) {
    print_preface(arguments);
    let row = |result: &Results| {
        let Spread { min, median, max } = result.forwarded();
        let of = |form| {
            let peer = result.peer.rules().map(|rules| Peer::NftablesPolicy { rules, form });
            let reference = peer.and_then(|peer| median_of(results, peer));
            reference.map_or("-".to_owned(), |reference| format!("{:.2}x", median / reference))
        };
        let forwarded = format!("{min:.3} / {median:.3} / {max:.3}");
        vec![result.peer.to_string(), forwarded, of(Form::List), of(Form::Map)]
    };
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    let titles =
        ["forwarded by", ">Mpps, min / median / max", ">of the nftables rules", ">of the map"];
    print!("{}", markdown::table(&titles, &rows));
    println!(
        "\nThe last rule of each policy accepts the traffic. nftables asks its rules about every \
         packet; Bulkhead asks them about the first of a flow, and about later ones its flow table."
    );
}

/// Where the frames of all trials of a gateway went.
fn print_accounts(result: &Results, gateway: Conserved) {
    let Conserved { received, transmitted, dropped, held, arrived, socket } = gateway;
    let offered: u64 = result.trials.iter().map(|trial| trial.offered).sum();
    // An empty fill ring is counted among the other drops as well.
    let kernel = socket.rx_ring_full + socket.rx_dropped;
    println!("\n{}: where the frames of all trials went", result.peer);
    println!(
        "    offered {offered} = received {received} + dropped by the kernel before the gateway \
         {kernel} (receive ring full {}, fill ring empty {}) + lost on the way {}",
        socket.rx_ring_full,
        socket.rx_fill_ring_empty,
        offered.saturating_sub(received + kernel)
    );
    println!(
        "    received {received} = transmitted {transmitted} + dropped {dropped} + held {held}; \
         {arrived} came to the server"
    );
}

fn document(arguments: &Arguments, results: &[Results]) -> Value {
    let peers = results.iter().map(|result| {
        json!({
            "peer": result.peer.to_string(),
            "rules": result.peer.rules(),
            "forwarded_mpps": result.forwarded(),
            "offered_mpps": result.offered(),
            "of_nftables": median_of(results, REFERENCE)
                .map(|reference| result.forwarded().median / reference),
            "gateway": result.gateway(),
            "trials": result.trials,
        })
    });
    json!({
        "machine": Machine::this(),
        "frame_bytes": FRAME_BYTES,
        "flows": arguments.flows,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "peers": peers.collect::<Vec<_>>(),
    })
}
