//! The endpoints of the control socket, over a real socket, with a gateway in memory behind them.

mod server_fake;

use control::api::{FlowClasses, FragmentTotals, TopBy};
use control::client::ClientError;
use control::policy::Made;
use dataplane::{AttachMode, FlowRecord, Link, RuleFlows};
use serde_json::{Value, json};
use server_fake::{Gateway, POLICY, REORDERED, key};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

#[test]
fn status_tells_the_gateway_as_a_whole() {
    let gateway = Gateway::start();
    let status = gateway.client().status().unwrap();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.generation, 1);
    assert_eq!((status.policy.file.as_str(), status.policy.rules), ("first.yaml", 3));
    assert_eq!(status.policy.compile_seconds, 0.003);
    assert_eq!(status.policy.swap_seconds, None);
    assert_eq!((status.policy.warnings, status.policy.table_made), (Some(0), Made::Rebuilt));
    assert!(status.policy.worst_case_cache_lines > 0);
    assert_eq!(status.warnings, Vec::<String>::new());
    let left = &status.ports[0];
    assert_eq!((left.name.as_str(), left.interface.as_str()), ("left", "bh0"));
    assert_eq!((left.zone.as_deref(), left.wire.as_str()), (Some("clients"), "uplink"));
    assert_eq!((left.mode.as_str(), left.link.as_str()), ("native", "up"));
    assert_eq!((left.rx.packets, left.rx.bytes, left.tx.packets), (100, 6000, 20));
    assert_eq!((left.held, left.forwarded, left.drops), (1, 91, 9));
    let served: Vec<_> = left.queues.iter().map(|q| (q.queue, q.served)).collect();
    assert_eq!(served, [(0, true), (1, false)]);
    assert_eq!(status.workers.len(), 2);
    assert_eq!((status.flows.open, status.flows.capacity), (5, 1000));
    assert_eq!((status.flows.opened, status.flows.closed, status.flows.evicted), (9, 4, 1));
    let classes = FlowClasses { half_open: 0, one_sided: 2, established: 2, closing: 1 };
    assert_eq!(status.flows.classes, classes);
    assert_eq!((status.flows.bytes_per_flow_v4, status.flows.bytes_per_flow_v6), (129, 161));
    assert_eq!(status.fragments, FragmentTotals { held: 7, incomplete: 3, capacity: 4096 });
    let second = &status.workers[1];
    assert_eq!((second.flows, second.fragments_held, second.datagrams_incomplete), (3, 4, 2));
    assert_eq!((status.memory.flow_bytes, status.memory.umem_bytes), (64_000, 2 << 24));
    assert_eq!((status.memory.handover_bytes, status.memory.fragment_bytes), (2 << 22, 32_768));
    assert_eq!(left.queues[0].handed_out, 40);
    assert_eq!((left.suspects, left.queues[0].suspects, left.queues[1].suspects), (4, 4, 0));
    assert!(status.memory.table_bytes > 0);
    assert!(status.conservation.balanced && status.conservation.quiet);
}

#[test]
fn status_shows_a_frame_that_is_unaccounted_for() {
    let gateway = Gateway::start();
    gateway.fake.state().ports[0].queues[0].rx.packets += 1;
    let conservation = gateway.client().status().unwrap().conservation;
    assert!(!conservation.balanced && conservation.quiet);
    assert_eq!(conservation.difference, 1);
}

#[test]
fn status_warns_of_generic_mode_lost_links_and_stopped_workers() {
    let gateway = Gateway::start();
    {
        let mut state = gateway.fake.state();
        state.ports[0].mode = AttachMode::Generic;
        state.ports[1].link = Link::Gone;
        state.workers[0].core = None;
        state.workers[1].alive = false;
    }
    let warnings = gateway.client().status().unwrap().warnings;
    let expected = [
        "port left (bh0): the XDP program runs in generic mode",
        "port right (bh1): the interface no longer exists",
        "worker 0 is not pinned to a core",
        "worker 1 stopped: queue 1 of wire uplink forwards nothing",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning}");
    }
}

#[test]
fn rules_come_in_order_with_hits_descriptions_and_lines() {
    let gateway = Gateway::start();
    let (status, rules) = gateway.request("GET", "/v1/rules");
    assert_eq!(status, 200);
    let line =
        |id: &str| 1 + POLICY.lines().position(|l| l.ends_with(&format!("id: {id}"))).unwrap();
    let expected = json!({
        "generation": 1,
        "file": "first.yaml",
        "rules": [
            {
                "id": "web", "action": "allow", "established": "recheck", "hits": 91,
                "description": "the shop", "line": line("web")
            },
            {"id": "no-ssh", "action": "deny", "hits": 6, "line": line("no-ssh")},
            {
                "id": "back", "action": "allow", "established": "recheck", "hits": 20,
                "line": line("back")
            },
        ]
    });
    assert_eq!(rules, expected);
}

#[test]
fn rules_tell_what_becomes_of_their_established_flows() {
    let gateway = Gateway::start();
    let policy = POLICY.replace("    description: the shop\n", "    established: keep\n");
    assert_eq!(gateway.apply("", policy.as_bytes()).0, 200);
    let (_, rules) = gateway.request("GET", "/v1/rules");
    let told = |nth: usize| rules["rules"][nth].get("established").and_then(Value::as_str);
    assert_eq!([told(0), told(1), told(2)], [Some("keep"), None, Some("recheck")]);
}

#[test]
fn flows_are_told_in_words() {
    let gateway = Gateway::start();
    let (status, flows) = gateway.request("GET", "/v1/flows");
    assert_eq!(status, 200);
    let expected = json!({
        "open": 5,
        "capacity": 1000,
        "flows": [{
            "wire": "uplink",
            "headers": {
                "from": "clients", "to": "servers", "protocol": "tcp",
                "source": "10.77.1.10", "source_port": 40000,
                "destination": "10.77.1.20", "destination_port": 80,
            },
            "rule": "web",
            "generation": 1,
            "class": "established",
            "idle_seconds": 2.0,
            "expires_in_seconds": 7438.0,
        }]
    });
    assert_eq!(flows, expected);
    assert_eq!(gateway.request("GET", "/v1/flows?limit=0").1["flows"], json!([]));
}

#[test]
fn the_sources_with_most_flows_come_first_and_an_ipv6_one_is_a_network() {
    let gateway = Gateway::start();
    let expected = json!({
        "open": 5,
        "capacity": 1000,
        "top": [{"source": "10.77.1.10", "flows": 3}, {"source": "fd77:1::/64", "flows": 2}],
    });
    assert_eq!(gateway.request("GET", "/v1/flows/top?by=source"), (200, expected.clone()));
    assert_eq!(gateway.request("GET", "/v1/flows/top"), (200, expected));
    let one = gateway.client().top_flows(TopBy::Source, Some(1)).unwrap();
    assert_eq!(one.top.len(), 1);
}

#[test]
fn the_rules_with_most_flows_are_those_of_the_table_that_was_asked() {
    let gateway = Gateway::start();
    let expected = |generation, top: Value| {
        let mut expected = json!({"open": 5, "capacity": 1000, "others": 1});
        (expected["generation"], expected["top"]) = (json!(generation), top);
        (200, expected)
    };
    let top = json!([{"rule": "back", "flows": 3}, {"rule": "web", "flows": 1}]);
    assert_eq!(gateway.request("GET", "/v1/flows/top?by=rule"), expected(1, top.clone()));
    // A swap between the count and its names: the indices are those of the counted table.
    assert_eq!(gateway.apply("", REORDERED.as_bytes()).0, 200);
    assert_eq!(gateway.request("GET", "/v1/flows/top?by=rule"), expected(1, top));
    let two = RuleFlows { generation: 2, rules: vec![(0, 4)], others: 1 };
    gateway.fake.state().top_rules = two;
    let top = json!([{"rule": "back", "flows": 4}]);
    assert_eq!(gateway.request("GET", "/v1/flows/top?by=rule&limit=1"), expected(2, top));
}

#[test]
fn icmp_has_type_and_code_and_no_ports_and_other_protocols_neither() {
    let gateway = Gateway::start();
    let record = gateway.fake.state().flows[0];
    gateway.fake.state().flows = vec![
        FlowRecord { key: key(1, 8, 0), ..record },
        FlowRecord { key: key(99, 0, 0), ..record },
    ];
    let (_, flows) = gateway.request("GET", "/v1/flows");
    let (icmp, other) = (&flows["flows"][0]["headers"], &flows["flows"][1]["headers"]);
    assert_eq!((&icmp["protocol"], &icmp["icmp_type"]), (&json!("icmp"), &json!(8)));
    assert_eq!((&icmp["icmp_code"], &icmp["source_port"]), (&json!(0), &Value::Null));
    assert_eq!(other["protocol"], "99");
    assert_eq!((&other["icmp_type"], &other["source_port"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_flow_judged_by_a_replaced_table_names_the_rule_of_that_table() {
    let gateway = Gateway::start();
    let record = gateway.fake.state().flows[0];
    assert_eq!(gateway.apply("", REORDERED.as_bytes()).0, 200);
    gateway.fake.state().flows.push(FlowRecord { generation: 2, ..record });
    let flows = gateway.client().flows(None).unwrap().flows;
    // Index 0 of generation 1 is `web`, of generation 2 `back`.
    let rules: Vec<_> = flows.iter().map(|f| (f.generation, f.rule.as_deref())).collect();
    assert_eq!(rules, [(1, Some("web")), (2, Some("back"))]);
}

#[test]
fn a_generation_long_gone_has_no_rule_name_and_memory_of_generations_is_bounded() {
    let gateway = Gateway::start();
    for _ in 0..8 {
        assert_eq!(gateway.apply("", POLICY.as_bytes()).0, 200);
    }
    let flows = gateway.client().flows(None).unwrap().flows;
    assert_eq!((flows[0].generation, flows[0].rule.as_deref()), (1, None));
}

#[test]
fn drops_are_totalled_by_port_and_reason_and_the_last_ones_listed() {
    let gateway = Gateway::start();
    let drops = gateway.client().drops(Some(10)).unwrap();
    assert_eq!(drops.dropped, 9);
    let totals: Vec<_> =
        drops.totals.iter().map(|t| (t.port.as_str(), t.reason.as_str(), t.packets)).collect();
    assert_eq!(totals, [("left", "policy_deny", 6), ("left", "policy_default", 3)]);
    assert_eq!(drops.totals[1].description, "No rule matches it: default deny.");
    let suspects: Vec<_> =
        drops.suspects.iter().map(|t| (t.port.as_str(), t.reason.as_str(), t.packets)).collect();
    assert_eq!(suspects, [("left", "source_not_in_zone", 4)]);
    let (denied, short) = (&drops.recent[0], &drops.recent[1]);
    assert_eq!((denied.port.as_str(), denied.rule.as_deref()), ("left", Some("no-ssh")));
    assert_eq!(denied.headers.as_ref().unwrap().destination_port, Some(22));
    assert_eq!((short.port.as_str(), short.reason.as_str()), ("right", "ethernet_header"));
    assert_eq!((&short.headers, &short.rule, short.length), (&None, &None, 11));
    assert_eq!(gateway.client().drops(Some(1)).unwrap().recent.len(), 1);
}

#[test]
fn apply_publishes_the_next_generation_and_status_tells_of_it() {
    let gateway = Gateway::start();
    let (status, applied) =
        gateway.apply("?file=second.yaml&if_generation=1", REORDERED.as_bytes());
    assert_eq!(status, 200, "{applied}");
    assert_eq!((&applied["generation"], &applied["previous_generation"]), (&json!(2), &json!(1)));
    assert_eq!((&applied["rules"], &applied["entries"]), (&json!(2), &json!(2)));
    assert!(applied["compile_seconds"].as_f64().unwrap() > 0.0);
    assert!(applied["swap_seconds"].as_f64().unwrap() >= 0.005);
    assert_eq!(gateway.fake.state().published, [2]);
    let ids: Vec<_> = gateway.fake.state().table.rules().iter().map(|r| r.id.clone()).collect();
    assert_eq!(ids, ["back".into(), "web".into()]);
    let status = gateway.client().status().unwrap();
    assert_eq!((status.generation, status.policy.file.as_str()), (2, "second.yaml"));
    assert_eq!(status.policy.swap_seconds, applied["swap_seconds"].as_f64());
}

#[test]
fn an_invalid_policy_changes_nothing_and_every_error_has_its_place() {
    let gateway = Gateway::start();
    let broken = POLICY.replace("to: web", "to: wbe").replace("action: deny", "action: dney");
    let (status, error) = gateway.apply("?file=broken.yaml", broken.as_bytes());
    assert_eq!(status, 422, "{error}");
    let lines: Vec<_> = error["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["file"].as_str().unwrap(), d["line"].as_u64().unwrap() as usize))
        .collect();
    let line = |text: &str| broken.lines().position(|l| l.contains(text)).unwrap() + 1;
    assert_eq!(lines, [("broken.yaml", line("wbe")), ("broken.yaml", line("dney"))], "{error}");
    assert!(gateway.fake.state().published.is_empty());
    let status = gateway.client().status().unwrap();
    assert_eq!((status.generation, status.policy.file.as_str()), (1, "first.yaml"));
}

#[test]
fn a_policy_without_the_zone_of_a_port_is_invalid() {
    let gateway = Gateway::start();
    let without = "version: 1\nzones: { clients: {} }\nrules: []\n";
    let (status, error) = gateway.apply("", without.as_bytes());
    assert_eq!(status, 422, "{error}");
    assert!(error["diagnostics"][0]["message"].as_str().unwrap().contains("servers"), "{error}");
}

#[test]
fn a_policy_that_is_not_text_is_invalid_and_the_line_is_told() {
    let gateway = Gateway::start();
    let (status, error) = gateway.apply("", b"version: 1\nzones: \xff\n");
    assert_eq!(status, 422, "{error}");
    assert!(error["diagnostics"][0]["message"].as_str().unwrap().contains("line 2"), "{error}");
}

#[test]
fn apply_is_refused_when_another_generation_is_in_force() {
    let gateway = Gateway::start();
    let (status, error) = gateway.apply("?if_generation=7", REORDERED.as_bytes());
    assert_eq!(status, 409);
    assert!(error["error"].as_str().unwrap().starts_with("generation 1 is in force, not 7"));
    assert!(gateway.fake.state().published.is_empty());
}

#[test]
fn a_misspelt_parameter_is_refused_and_nothing_applied() {
    let gateway = Gateway::start();
    let (status, error) = gateway.apply("?if_generaton=1", REORDERED.as_bytes());
    assert_eq!(status, 400);
    assert!(error["error"].as_str().unwrap().contains("if_generaton"), "{error}");
    assert!(gateway.fake.state().published.is_empty());
    for target in [
        "/v1/flows?limit=many",
        "/v1/drops?limit=-1",
        "/v1/flows?limit=100001",
        "/v1/flows/top?by=sauce",
        "/v1/flows/top?by=rule&limit=100001",
        "/v1/flows/top?bye=rule",
    ] {
        let (status, error) = gateway.request("GET", target);
        assert_eq!(status, 400, "{target}: {error}");
        assert!(error["error"].is_string());
    }
}

#[test]
fn of_those_who_saw_the_same_generation_one_wins() {
    let gateway = Gateway::start();
    let answers = at_once(8, |_| gateway.apply("?if_generation=1", REORDERED.as_bytes()).0);
    assert_eq!(answers.iter().filter(|&&status| status == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|&&status| status == 409).count(), 7, "{answers:?}");
    assert_eq!(gateway.fake.state().published, [2]);
}

#[test]
fn applies_at_once_are_published_one_after_the_other() {
    let gateway = Gateway::start();
    let mut answers = at_once(12, |i| {
        let policy = if i % 2 == 0 { POLICY } else { REORDERED };
        let (status, applied) = gateway.apply("", policy.as_bytes());
        assert_eq!(status, 200, "{applied}");
        applied["generation"].as_u64().unwrap()
    });
    answers.sort_unstable();
    let expected: Vec<_> = (2..14).collect();
    assert_eq!(answers, expected);
    assert_eq!(gateway.fake.state().published, expected);
    assert!(!gateway.fake.overlapped.load(SeqCst));
}

#[test]
fn status_is_answered_while_applies_wait() {
    let gateway = Gateway::start();
    // More applies than there are threads for slow work: they must not take all of them.
    at_once(21, |i| match i {
        20 => assert!(gateway.client().status().is_ok()),
        _ => assert_eq!(gateway.apply("", POLICY.as_bytes()).0, 200),
    });
}

#[test]
fn a_worker_that_does_not_take_the_table_is_told_and_the_next_apply_goes_on() {
    let gateway = Gateway::start();
    gateway.fake.state().stubborn = Some(1);
    let (status, error) = gateway.apply("", REORDERED.as_bytes());
    assert_eq!(status, 504, "{error}");
    assert!(error["error"].as_str().unwrap().contains("[1]"), "{error}");
    let status = gateway.client().status().unwrap();
    assert_eq!((status.generation, status.policy.swap_seconds), (2, None));
    assert!(status.warnings.contains(&"worker 1 judges by generation 1, not by 2".into()));
    let (status, applied) = gateway.apply("?if_generation=2", POLICY.as_bytes());
    assert_eq!((status, &applied["generation"]), (200, &json!(3)));
}

#[test]
fn what_is_not_there_and_what_is_not_taken_are_json_errors() {
    let gateway = Gateway::start();
    let (status, error) = gateway.request("GET", "/v2/status");
    assert_eq!(status, 404);
    assert_eq!(error["error"], "there is no GET /v2/status; see GET /openapi.json");
    for (method, target) in [("POST", "/v1/status"), ("GET", "/v1/apply"), ("DELETE", "/v1/rules")]
    {
        let (status, error) = gateway.request(method, target);
        assert_eq!(status, 405, "{method} {target}");
        assert!(error["error"].is_string(), "{error}");
    }
}

#[test]
fn a_policy_as_large_as_a_file_may_be_is_applied() {
    let gateway = Gateway::start();
    // What a file may hold is tested in policy_limits.rs; 100,000 rules take about 17 MB.
    let padded = format!("{POLICY}{}", "#".repeat((64 << 20) - POLICY.len()));
    assert_eq!(gateway.client().apply("p", padded, None).unwrap().generation, 2);
}

#[test]
fn a_policy_over_the_limit_is_refused_though_the_client_goes_on_sending() {
    let gateway = Gateway::start();
    let (status, error) = gateway.apply("", &vec![b'#'; 96 << 20]);
    assert_eq!(status, 413);
    assert_eq!(error["error"], "the policy is larger than 64 MiB");
    let refused = gateway.client().apply("p", "#".repeat((64 << 20) + 1), None);
    assert!(matches!(refused, Err(ClientError::TooLarge(_))), "{refused:?}");
}

#[test]
fn a_client_that_says_nothing_holds_nobody_up() {
    let gateway = Gateway::start();
    let mut silent: Vec<_> =
        (0..40).map(|_| UnixStream::connect(&gateway.socket).unwrap()).collect();
    for stream in &mut silent {
        stream.write_all(b"POST /v1/apply HTTP/1.1\r\n").unwrap();
    }
    assert_eq!(gateway.client().status().unwrap().generation, 1);
    // And it is closed before long.
    let patience = Some(Duration::from_secs(20));
    silent[0].set_read_timeout(patience).unwrap();
    let mut answer = Vec::new();
    silent[0].read_to_end(&mut answer).expect("closed by the gateway");
}

#[test]
fn a_connection_is_kept_for_further_requests() {
    let gateway = Gateway::start();
    let mut stream = UnixStream::connect(&gateway.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /v1/rules HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stream.write_all(b"GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 404 Not Found"), "{rest}");
}

/// Runs `work` on `n` threads at once.
fn at_once<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(n);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n)
            .map(|i| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(i)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
