//! Policies that the tests run: texts, and changes to texts.

/// Two zones. Host 1 of the servers offers the web, DNS, SSH and iperf3 to everyone and PostgreSQL
/// to host 1 of the clients; everybody may ping the servers; telnet is denied by a rule, all else
/// by default.
pub const TWO_ZONES: &str = r#"version: 1
zones:
  clients: { networks: [10.77.1.0/25, "fd77::1:0/112"] }
  servers: { networks: [10.77.1.128/25, "fd77::2:0/112"] }
hosts:
  client-1: { zone: clients, addresses: [10.77.1.10, "fd77::1:10"] }
  server-1: { zone: servers, addresses: [10.77.1.130, "fd77::2:10"] }
services:
  telnet: { protocol: tcp, ports: [23] }
  http: { protocol: tcp, ports: [80] }
  https: { protocol: tcp, ports: [443] }
  postgresql: { protocol: tcp, ports: [5432] }
  ssh: { protocol: tcp, ports: [22] }
  dns: { protocol: udp, ports: [53] }
  iperf: { protocol: tcp, ports: [5201] }
  ping: [ { protocol: icmp, type: 8 }, { protocol: icmpv6, type: 128 } ]
rules:
  - { id: no-telnet, from: clients, to: servers, service: telnet, action: deny }
  - { id: web, from: clients, to: server-1, service: [http, https], action: allow }
  - { id: database, from: client-1, to: server-1, service: postgresql, action: allow }
  - { id: ssh, from: clients, to: server-1, service: ssh, action: allow }
  - { id: dns, from: clients, to: server-1, service: dns, action: allow }
  - { id: iperf, from: clients, to: server-1, service: iperf, action: allow }
  - { id: ping, from: clients, to: servers, service: ping, action: allow }
"#;

/// Everything between the two zones passes, in both directions.
pub const ALLOW_ALL: &str = "version: 1
zones: { clients: {}, servers: {} }
rules:
  - { id: everything, from: any, to: any, service: any, action: allow }
";

/// Nothing passes: no rules.
pub const DENY_ALL: &str = "version: 1
zones: { clients: {}, servers: {} }
rules: []
";

/// `policy` with the action of rule `id` replaced by `deny`. The rule stands on one line.
///
/// # Panics
/// If it has no such rule that allows.
pub fn denying(policy: &str, id: &str) -> String {
    deny(policy, id, |line| line.contains(&format!("id: {id},")))
}

/// The same for a policy whose rules are blocks of lines, as in the examples.
///
/// # Panics
/// If it has no such rule that allows.
pub fn denying_in_blocks(policy: &str, id: &str) -> String {
    deny(policy, id, |line| line.trim() == format!("- id: {id}"))
}

/// Denies at the first `action: allow` on or after the line on which the rule begins.
fn deny(policy: &str, id: &str, begins: impl Fn(&str) -> bool) -> String {
    let allow = "action: allow";
    let (mut inside, mut changed) = (false, false);
    let lines = policy.lines().map(|line| {
        inside |= begins(line);
        if inside && !changed && line.contains(allow) {
            changed = true;
            line.replace(allow, "action: deny")
        } else {
            line.to_owned()
        }
    });
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    assert!(changed, "no rule {id} that allows");
    text
}

/// A policy that is wrong in one place: rule 1, on line 4, names a service that is not declared.
/// Returns it with the line of the mistake.
pub fn unknown_service() -> (String, u32) {
    let text = "version: 1
zones: { clients: {}, servers: {} }
rules:
  - { id: broken, from: clients, to: servers, service: gopher, action: allow }
";
    (text.to_owned(), 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(a: &str, b: &str) -> Vec<String> {
        a.lines().zip(b.lines()).filter(|(a, b)| a != b).map(|(_, b)| b.trim().to_owned()).collect()
    }

    #[test]
    fn denying_changes_the_line_of_one_rule() {
        let changed = differences(TWO_ZONES, &denying(TWO_ZONES, "web"));
        assert_eq!(changed.len(), 1);
        assert!(changed[0].contains("id: web") && changed[0].contains("action: deny"));
    }

    #[test]
    fn denying_in_blocks_changes_one_line_of_one_rule() {
        let policy = "- id: web\n  action: allow\n- id: webs\n  action: allow\n";
        assert_eq!(
            denying_in_blocks(policy, "webs"),
            "- id: web\n  action: allow\n- id: webs\n  action: deny\n"
        );
    }
}
