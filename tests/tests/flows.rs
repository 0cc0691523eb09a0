//! Open flows as the gateway tells them: who opened them, which rules allow them, how far they are.

use lab::clients::{Attempt, End, Program, expect_all};
use lab::exposition::{parse, sum};
use lab::gateway::{Gateway, GatewayOptions, conservation, list, number};
use lab::policies::{TWO_ZONES, denying};
use lab::services::Service;
use lab::{Error, Family, Lab, LabOptions, Result, Side, need, wait};
use serde_json::{Value, json};
use std::time::Duration;

const LISTEN: &str = "127.0.0.1:9464";
const PATIENCE: Duration = Duration::from_secs(30);

/// The answer of `bulkhead flows --top WHAT --json`.
fn top(gateway: &Gateway, what: &str) -> Result<Value> {
    let output = gateway.command(&["flows", "--top", what, "--json"])?.expect_success()?;
    Ok(serde_json::from_str(&output.stdout)?)
}

/// A question to a DNS server that is not there: a UDP flow without an answer.
fn ask_in_vain(lab: &Lab) -> Result<()> {
    let ask = "echo >/dev/udp/10.77.1.130/53";
    lab.exec(Side::Client, &["bash", "-c", ask], PATIENCE)?.expect_success().map(drop)
}

/// Nine flows over two workers and nothing else: three pings, a download and a question in vain
/// from one client, two pings from another, and one from each over IPv6.
fn traffic(lab: &Lab) -> Result<()> {
    let ping = Attempt::new(Program::Ping, Family::V4);
    let other = ping.from(Side::Client, 2);
    let web = Attempt::new(Program::Http, Family::V4);
    let attempts = [ping, ping, ping, other, other, web];
    expect_all(lab, &attempts.map(|attempt| (attempt, End::Passed)))?;
    let v6 = Attempt::new(Program::Ping, Family::V6);
    expect_all(lab, &[(v6, End::Passed), (v6.from(Side::Client, 2), End::Passed)])?;
    ask_in_vain(lab)
}

#[test]
fn sources_and_rules_with_most_flows_come_first() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Program("bash"),
        Need::Program("curl"),
        Need::Program("ping")
    );
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.start(Service::Web)?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    traffic(&lab)?;

    let sources = json!([
        { "source": "10.77.1.10", "flows": 5 },
        // Both clients: they are of one IPv6 /64.
        { "source": "fd77::/64", "flows": 2 },
        { "source": "10.77.1.11", "flows": 2 },
    ]);
    let by_source = top(&gateway, "sources")?;
    let mut told = list(&by_source["top"]).to_vec();
    // Of two with as many flows either may come first.
    told.sort_by_key(|one| (-one["flows"].as_i64().unwrap_or(0), one["source"] == "10.77.1.11"));
    assert_eq!(json!(told), sources, "{by_source}");
    assert_eq!(number(&by_source, "open")?, 9);

    let by_rule = top(&gateway, "rules")?;
    assert_eq!(by_rule["top"][0], json!({ "rule": "ping", "flows": 7 }), "{by_rule}");
    let mut others: Vec<_> = list(&by_rule["top"])[1..].to_vec();
    others.sort_by_key(Value::to_string);
    assert_eq!(
        json!(others),
        json!([{ "flows": 1, "rule": "dns" }, { "flows": 1, "rule": "web" }])
    );
    assert_eq!((number(&by_rule, "generation")?, number(&by_rule, "others")?), (1, 0));
    let output = gateway.command(&["flows", "--top", "rules", "--limit", "1"])?.expect_success()?;
    let rows: Vec<_> = output.stdout.lines().skip(1).map(|row| row.split_whitespace()).collect();
    let rows: Vec<Vec<_>> = rows.into_iter().map(Iterator::collect).collect();
    assert_eq!(rows, [["RULE", "FLOWS"], ["ping", "7"]]);

    // A flow counts for a rule of the new table when that has judged a packet of it.
    gateway.apply(&denying(TWO_ZONES, "web"))?;
    let by_rule = top(&gateway, "rules")?;
    assert_eq!((number(&by_rule, "generation")?, number(&by_rule, "others")?), (2, 9));
    assert_eq!(by_rule["top"], json!([]));
    gateway.stop()
}

#[test]
fn flows_are_told_by_how_far_they_are() -> Result<()> {
    need!(
        Need::Gateway,
        Need::Service(Service::Web),
        Need::Program("bash"),
        Need::Program("curl"),
        Need::Program("ping")
    );
    let lab = Lab::with(LabOptions { queues: 2, ..LabOptions::default() })?;
    lab.start(Service::Web)?;
    let options = GatewayOptions { metrics: Some(LISTEN), ..GatewayOptions::default() };
    let gateway = Gateway::start(&lab, TWO_ZONES, &options)?;
    traffic(&lab)?;
    let expected = json!({ "half_open": 0, "one_sided": 1, "established": 7, "closing": 1 });
    // The last segments of the download may still be on their way.
    wait::until_ok("the download to close", PATIENCE, || {
        let classes = &gateway.status()?["flows"]["classes"];
        if *classes == expected { Ok(()) } else { Err(Error::new(classes.to_string())) }
    })?;
    let flows = gateway.flows()?;
    let class_of = |rule: &str| {
        let of_rule = list(&flows["flows"]).iter().filter(|flow| flow["rule"] == rule);
        of_rule.map(|flow| flow["class"].as_str().unwrap_or("none")).collect::<Vec<_>>()
    };
    assert_eq!(class_of("ping"), ["established"; 7]);
    assert_eq!((class_of("web"), class_of("dns")), (vec!["closing"], vec!["one_sided"]));

    let status = gateway.status()?;
    let (flows, memory) = (&status["flows"], &status["memory"]);
    assert_eq!((number(flows, "opened")?, number(flows, "evicted")?), (9, 0));
    // All of it is there from the start, and a full table has no more.
    let (v4, v6) = (number(flows, "bytes_per_flow_v4")?, number(flows, "bytes_per_flow_v6")?);
    let (capacity, reserved) = (number(flows, "capacity")?, number(memory, "flow_bytes")?);
    assert!(v4 < v6 && reserved > capacity * v4 * 9 / 10 && reserved <= capacity * v6, "{status}");
    assert!(number(memory, "fragment_bytes")? > 0);

    let url = format!("http://{LISTEN}/metrics");
    let curl = ["curl", "-sS", "--fail", "--max-time", "5", &url];
    let series = parse(&lab.exec(Side::Gateway, &curl, PATIENCE)?.expect_success()?.stdout)?;
    for (class, flows) in [("half_open", 0.0), ("one_sided", 1.0), ("established", 7.0)] {
        assert_eq!(sum(&series, "bulkhead_flows", &[&format!("class=\"{class}\"")]), flows);
    }
    assert_eq!(sum(&series, "bulkhead_flows", &[]), 9.0);
    assert_eq!(sum(&series, "bulkhead_flow_bytes", &["family=\"ipv4\""]), v4 as f64);
    assert_eq!(sum(&series, "bulkhead_flow_bytes", &["family=\"ipv6\""]), v6 as f64);
    gateway.stop()
}

#[test]
fn flows_that_give_way_are_told() -> Result<()> {
    need!(Need::Gateway, Need::Program("bash"), Need::Program("ping"));
    let lab = Lab::new()?;
    let options = GatewayOptions { flows: Some(4), ..GatewayOptions::default() };
    let gateway = Gateway::start(&lab, TWO_ZONES, &options)?;
    expect_all(&lab, &[(Attempt::new(Program::Ping, Family::V4), End::Passed)])?;
    for _ in 0..6 {
        ask_in_vain(&lab)?;
    }
    wait::until_ok("six flows besides the ping's", PATIENCE, || {
        let flows = &gateway.status()?["flows"];
        let seven = number(flows, "opened")? == 7;
        if seven { Ok(()) } else { Err(Error::new(flows.to_string())) }
    })?;
    let flows = &gateway.status()?["flows"];
    let told = ["open", "capacity", "closed", "evicted"].map(|key| flows[key].as_u64());
    assert_eq!(told, [4, 4, 3, 3].map(Some), "{flows}");
    let classes = json!({ "half_open": 0, "one_sided": 3, "established": 1, "closing": 0 });
    assert_eq!(flows["classes"], classes, "an established flow stays");
    gateway.stop()
}

#[test]
fn fragments_that_wait_are_told_until_they_time_out() -> Result<()> {
    need!(Need::Gateway, Need::Program("ping"));
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab, TWO_ZONES, &GatewayOptions::default())?;
    // The status that tells of so many fragments held and as many datagrams incomplete.
    let holding = |fragments: u64| {
        wait::until_ok(&format!("{fragments} fragments held"), PATIENCE, || {
            let status = gateway.status()?;
            let totals = &status["fragments"];
            if number(totals, "held")? == fragments && number(totals, "incomplete")? == fragments {
                Ok(status)
            } else {
                Err(Error::new(totals.to_string()))
            }
        })
    };
    holding(0)?;
    lab::frames::send(&lab, Side::Client, "eth0", &[first_fragment(1), first_fragment(2)])?;
    let status = holding(2)?;
    conservation(&status)?;
    let worker = &status["workers"][0];
    assert_eq!(number(worker, "fragments_held")?, 2);
    assert_eq!(number(worker, "datagrams_incomplete")?, 2);
    // Nothing else comes: the worker keeps house while it is idle.
    holding(0)?;
    assert_eq!(gateway.dropped_for("fragment_timeout")?, 2);
    gateway.stop()
}

/// The first fragment of datagram `id`, of which no more is to come: client 1 asks server 1's DNS.
fn first_fragment(id: u8) -> Vec<u8> {
    let mut frame = lab::frames::frame([2, 0, 0, 0, 0, 1], 0x0800);
    frame.truncate(14);
    let (length, more) = (20 + 16, 0x20);
    let mut header = vec![0x45, 0, 0, length, 0, id, more, 0, 64, 17, 0, 0];
    header.extend([10, 77, 1, 10, 10, 77, 1, 130]);
    // RFC 1071.
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    frame.extend(header);
    // UDP from port 1000 to 53, of 64 bytes in all.
    frame.extend([3, 232, 0, 53, 0, 64, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}
