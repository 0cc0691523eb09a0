//! The metrics against what others counted: the kernel at the endpoints, tcpdump, a real
//! Prometheus.

use lab::capture::{Recording, packets};
use lab::clients::{Attempt, End, Program, expect_all, transfer};
use lab::exposition::{Series, parse, sum};
use lab::gateway::{Gateway, GatewayOptions};
use lab::policies::{TWO_ZONES, denying};
use lab::process::Running;
use lab::services::{Service, listens};
use lab::{Error, Family, Lab, LabOptions, LinkStats, Result, Side, need, wait};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const LISTEN: &str = "127.0.0.1:9464";
const START: Duration = Duration::from_secs(30);

fn options() -> GatewayOptions {
    GatewayOptions { metrics: Some(LISTEN), ..GatewayOptions::default() }
}

fn curl(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let mut argv = vec!["curl", "-sS", "--fail", "--max-time", "5"];
    argv.extend(arguments);
    Ok(lab.exec(Side::Gateway, &argv, START)?.expect_success()?.stdout)
}

fn scrape_text(lab: &Lab) -> Result<String> {
    curl(lab, &[&format!("http://{LISTEN}/metrics")])
}

fn scrape(lab: &Lab) -> Result<Series> {
    parse(&scrape_text(lab)?)
}

/// The kernel's counters at both ends and the gateway's, of one quiet moment.
fn quiet_moment(lab: &Lab) -> Result<([LinkStats; 2], Series)> {
    let ends = || -> Result<[LinkStats; 2]> {
        Ok([lab.link_stats(Side::Client, "eth0")?, lab.link_stats(Side::Server, "eth0")?])
    };
    wait::until_ok("a quiet moment", START, || {
        let (before, first) = (ends()?, scrape(lab)?);
        let (series, after) = (scrape(lab)?, ends()?);
        let held = sum(&series, "bulkhead_port_held_frames", &[]);
        let name = "bulkhead_port_rx_packets_total";
        if before == after && held == 0.0 && sum(&first, name, &[]) == sum(&series, name, &[]) {
            Ok((after, series))
        } else {
            Err(Error::new("traffic goes on"))
        }
    })
}

#[test]
fn port_counters_grow_by_what_the_endpoints_counted() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Service(Service::Iperf),
        Need::Program("curl"),
        Need::Program("ping")
    );
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.start(Service::Web)?;
    lab.start(Service::Iperf)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &options())?;
    let (ends_before, before) = quiet_moment(&lab)?;
    expect_all(
        &lab,
        &[
            (Attempt::new(Program::Http, Family::V4), End::Passed),
            (Attempt::new(Program::Http, Family::V6), End::Passed),
            (Attempt::new(Program::Telnet, Family::V4), End::Blocked),
            (Attempt::new(Program::Ping, Family::V6), End::Passed),
        ],
    )?;
    transfer(&lab, Family::V4, 8, false)?;
    let (ends_after, after) = quiet_moment(&lab)?;
    for (port, end) in [("left", 0), ("right", 1)] {
        let label = format!("port=\"{port}\"");
        let grown = |name: &str| {
            let of = |series| sum(series, &format!("bulkhead_port_{name}_total"), &[&label]);
            (of(&after) - of(&before)) as u64
        };
        let (was, is) = (ends_before[end], ends_after[end]);
        // What the endpoint sent, the port received; what the port sent, the endpoint received.
        let (sent, received) = (is.tx_packets - was.tx_packets, is.rx_packets - was.rx_packets);
        assert!(received > 1000, "{port}: only {received} packets of traffic");
        assert_eq!(grown("rx_packets"), sent, "{port}");
        assert_eq!(grown("tx_packets"), received, "{port}");
        // veth counts a frame's bytes without its Ethernet header where the other end has a
        // native XDP program, and with it elsewhere.
        let bytes_sent = is.tx_bytes - was.tx_bytes;
        let with_headers = [bytes_sent, bytes_sent + 14 * sent];
        assert!(with_headers.contains(&grown("rx_bytes")), "{port}: {bytes_sent} bytes sent");
        assert_eq!(grown("tx_bytes"), is.rx_bytes - was.rx_bytes, "{port}");
    }
    gateway.stop()
}

#[test]
fn the_sums_of_the_metrics_conserve_packets() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("curl"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &options())?;
    expect_all(
        &lab,
        &[
            (Attempt::new(Program::Http, Family::V4), End::Passed),
            (Attempt::new(Program::Telnet, Family::V6), End::Blocked),
        ],
    )?;
    let (_, series) = quiet_moment(&lab)?;
    for (port, other) in [("left", "right"), ("right", "left")] {
        let of = |name: &str, port: &str| sum(&series, name, &[&format!("port=\"{port}\"")]);
        let received = of("bulkhead_port_rx_packets_total", port);
        let sent = of("bulkhead_port_tx_packets_total", other);
        let dropped = of("bulkhead_dropped_packets_total", port);
        let forwarded = of("bulkhead_forwarded_packets_total", port);
        assert!(received > 0.0);
        assert_eq!(received, sent + dropped, "{port}");
        assert_eq!(received, forwarded + dropped, "{port}");
    }
    gateway.stop()
}

#[test]
fn promtool_has_nothing_to_say() -> Result<()> {
    need!(Need::Gateway, Need::Program("promtool"), Need::Program("curl"), Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &options())?;
    expect_all(&lab, &[(Attempt::new(Program::Ping, Family::V4), End::Passed)])?;
    let text = scrape_text(&lab)?;
    for name in ["bulkhead_build_info", "bulkhead_table_generation", "bulkhead_rule_hits_total"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "no {name}");
    }
    fs::write(lab.dir().join("scrape"), text)?;
    let argv = ["sh", "-c", "promtool check metrics <scrape"];
    let output = lab.exec(Side::Gateway, &argv, START)?.expect_success()?;
    assert_eq!(format!("{}{}", output.stdout, output.stderr).trim(), "");
    gateway.stop()
}

#[test]
fn no_counter_goes_back_across_a_swap() -> Result<()> {
    need!(Need::Gateway, Need::Service(Service::Web), Need::Program("curl"), Need::Program("ping"));
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &options())?;
    let http = Attempt::new(Program::Http, Family::V4);
    let ping = Attempt::new(Program::Ping, Family::V4);
    expect_all(&lab, &[(http, End::Passed), (ping, End::Passed)])?;
    let mut last = scrape(&lab)?;
    let generation = |series: &Series| sum(series, "bulkhead_table_generation", &[]);
    let first = generation(&last);
    for (swap, text) in [denying(TWO_ZONES, "ssh"), TWO_ZONES.to_owned()].iter().enumerate() {
        gateway.apply(text)?;
        expect_all(&lab, &[(ping, End::Passed)])?;
        let now = scrape(&lab)?;
        assert_eq!(generation(&now), first + swap as f64 + 1.0);
        for (name, value) in last.iter().filter(|(name, _)| name.contains("_total")) {
            // The action is a label: the series of a rule that changes it is another one.
            if let Some(later) = now.get(name) {
                assert!(later >= value, "{name} went from {value} to {later}");
            } else {
                assert!(name.contains("rule=\"ssh\""), "{name} is gone");
            }
        }
        last = now;
    }
    let hits = |id: &str| sum(&last, "bulkhead_rule_hits_total", &[&format!("rule=\"{id}\"")]);
    assert_eq!(hits("ping"), 18.0, "three times three requests and their answers");
    assert!(hits("web") > 0.0, "the hits from before the swaps are lost");
    gateway.stop()
}

/// Prometheus in the gateway namespace, scraping the gateway twice a second.
fn prometheus(lab: &Lab) -> Result<Running> {
    let config = format!(
        "global: {{ scrape_interval: 500ms, scrape_timeout: 400ms }}\nscrape_configs:\n  - \
         job_name: bulkhead\n    static_configs: [ {{ targets: ['{LISTEN}'] }} ]\n"
    );
    let file = format!("--config.file={}", lab.write("prometheus.yml", &config)?);
    let data = format!("--storage.tsdb.path={}", lab.dir().join("tsdb").display());
    let argv = ["prometheus", &file, &data, "--web.listen-address=127.0.0.1:9090"];
    let mut running = lab.spawn(Side::Gateway, &argv)?;
    wait::until("Prometheus to listen", START, || {
        (listens(running.pid(), 9090) || running.ended().is_some()).then_some(())
    })?;
    match running.ended() {
        None => Ok(running),
        Some(_) => Err(Error::new(running.stop_and_read().describe())),
    }
}

/// The value of a query's only answer.
fn query(lab: &Lab, text: &str) -> Result<f64> {
    let query = format!("query={text}");
    let url = "http://127.0.0.1:9090/api/v1/query";
    let answer: Value =
        serde_json::from_str(&curl(lab, &["-G", url, "--data-urlencode", &query])?)?;
    answer["data"]["result"][0]["value"][1]
        .as_str()
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::new(format!("{text}: {answer}")))
}

#[test]
fn a_real_prometheus_reads_the_hits_that_the_attempts_made() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Program("prometheus"),
        Need::Program("tcpdump"),
        Need::Program("curl"),
        Need::Program("ping")
    );
    let lab = Lab::new()?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &options())?;
    let _prometheus = prometheus(&lab)?;
    wait::until_ok("the first scrape", START, || match query(&lab, "up")? {
        1.0 => Ok(()),
        up => Err(Error::new(format!("up is {up}"))),
    })?;
    let at_client = (Side::Client, "eth0");
    let file = lab.dir().join("telnet.pcap");
    let recording = Recording::start(&lab, at_client, file, &[], "tcp port 23")?;
    expect_all(
        &lab,
        &[
            (Attempt::new(Program::Telnet, Family::V4), End::Blocked),
            (Attempt::new(Program::Telnet, Family::V6), End::Blocked),
            (Attempt::new(Program::Ping, Family::V4), End::Passed),
            (Attempt::new(Program::Ping, Family::V6), End::Passed),
            (Attempt::new(Program::Http, Family::V4), End::Passed),
        ],
    )?;
    let capture = fs::read(recording.finish()?)?;
    let telnet = packets(&capture)?.len() as f64;
    assert!(telnet >= 2.0);
    let expected = [
        ("sum(bulkhead_rule_hits_total{rule=\"no-telnet\"})", telnet),
        ("sum(bulkhead_rule_hits_total{rule=\"no-telnet\",action=\"deny\"})", telnet),
        ("sum(bulkhead_dropped_packets_total{reason=\"policy_deny\"})", telnet),
        ("sum(bulkhead_dropped_packets_total{port=\"left\",reason=\"policy_deny\"})", telnet),
        ("sum(bulkhead_rule_hits_total{rule=\"ping\"})", 12.0),
        ("sum(bulkhead_rule_hits_total{rule=\"database\"})", 0.0),
        ("bulkhead_table_rules", 7.0),
        ("bulkhead_table_generation", 1.0),
        ("bulkhead_port_up{port=\"left\"}", 1.0),
        ("min(bulkhead_port_up)", 1.0),
        ("count(bulkhead_build_info)", 1.0),
    ];
    for (text, value) in expected {
        wait::until_ok(text, START, || match query(&lab, text)? {
            answer if answer == value => Ok(()),
            answer => Err(Error::new(format!("{text} is {answer}, not {value}"))),
        })?;
    }
    let web = query(&lab, "sum(bulkhead_rule_hits_total{rule=\"web\"})")?;
    assert!(web >= 10.0, "{web} packets of one connection");
    gateway.stop()
}
