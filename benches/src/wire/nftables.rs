//! The rules of a policy as nftables has them.

use classifier::{AddressMatch, Family, PortRange, Rule};
use std::fmt::Write as _;

/// How the rules are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One rule for each, tried in order.
    List,
    /// One lookup for all: a verdict map of addresses, protocol and ports, with intervals. That
    /// needs rules of which no two match the same packet.
    Map,
}

/// The table that accepts, on a bridge from the port `bh0` to the port `bh1`, what `rules` match,
/// and nothing else.
///
/// # Panics
/// If a rule is of another kind than [`disjoint_rules`](crate::probe::disjoint_rules).
pub fn table(rules: &[Rule], form: Form) -> String {
    let (mut maps, mut lookups) = (String::new(), String::new());
    match form {
        Form::List => {
            for rule in rules {
                let Fields { family, src, dst, protocol, ports } = Fields::of(rule);
                let ip = words(family).0;
                let _ = writeln!(
                    lookups,
                    "        {ip} saddr {src} {ip} daddr {dst} {protocol} dport {ports} accept"
                );
            }
        }
        Form::Map => {
            for family in [Family::V4, Family::V6] {
                let fields: Vec<Fields> =
                    rules.iter().map(Fields::of).filter(|fields| fields.family == family).collect();
                if fields.is_empty() {
                    continue;
                }
                let (ip, addresses) = words(family);
                let _ = write!(
                    maps,
                    "    map {ip}_allowed {{\n        type {addresses} . {addresses} . inet_proto . \
                     inet_service : verdict\n        flags interval\n        elements = {{\n"
                );
                for Fields { src, dst, protocol, ports, .. } in fields {
                    let _ = writeln!(
                        maps,
                        "            {src} . {dst} . {protocol} . {ports} : accept,"
                    );
                }
                maps.push_str("        }\n    }\n");
                let _ = writeln!(
                    lookups,
                    "        {ip} saddr . {ip} daddr . meta l4proto . th dport vmap @{ip}_allowed"
                );
            }
        }
    }
    // From zone to zone once, not in every rule.
    format!(
        "table bridge wire {{\n{maps}    chain allowed {{\n{lookups}    }}\n    chain forward {{\n        \
         type filter hook forward priority filter; policy drop;\n        iif bh0 oif bh1 jump \
         allowed\n    }}\n}}\n"
    )
}

/// nftables' words for a family: the protocol, and the type of its addresses.
fn words(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("ip", "ipv4_addr"),
        Family::V6 => ("ip6", "ipv6_addr"),
    }
}

/// A rule's fields as text.
struct Fields {
    family: Family,
    src: String,
    dst: String,
    protocol: &'static str,
    ports: String,
}

impl Fields {
    fn of(rule: &Rule) -> Self {
        let prefix = |addresses: &AddressMatch| match *addresses {
            AddressMatch::Prefix { family, value, len } if len == family.bits() => {
                (family, family.ip_addr(value).to_string())
            }
            AddressMatch::Prefix { family, value, len } => {
                (family, format!("{}/{len}", family.ip_addr(value)))
            }
            _ => panic!("{addresses:?} is no prefix"),
        };
        let ((family, src), (_, dst)) = (prefix(&rule.src), prefix(&rule.dst));
        let protocol = match rule.protocol {
            Some(crate::rulegen::TCP) => "tcp",
            Some(crate::rulegen::UDP) => "udp",
            other => panic!("protocol {other:?} has no ports"),
        };
        let ports = match rule.dst_ports {
            PortRange { low, high } if low == high => low.to_string(),
            PortRange { low, high } => format!("{low}-{high}"),
        };
        Fields { family, src, dst, protocol, ports }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::disjoint_rules;

    #[test]
    fn the_list_has_a_line_for_each_rule() {
        let text = table(&disjoint_rules(3), Form::List);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "table bridge wire {");
        assert_eq!(lines[1], "    chain allowed {");
        assert!(lines[2].ends_with(" ip daddr 10.128.0.0/28 tcp dport 443 accept"), "{}", lines[2]);
        let last = "        ip saddr 198.18.0.1 ip daddr 198.19.0.1 udp dport 9 accept";
        assert_eq!(lines[4], last);
        let rest = "    }\n    chain forward {\n        type filter hook forward priority filter; \
                    policy drop;\n        iif bh0 oif bh1 jump allowed\n    }\n}\n";
        assert!(text.ends_with(rest), "{text}");
    }

    #[test]
    fn the_map_has_an_element_for_each_rule_of_its_family() {
        let text = table(&disjoint_rules(17), Form::Map);
        let elements: Vec<&str> =
            text.lines().filter(|line| line.ends_with(" : accept,")).collect();
        assert_eq!(elements.len(), 17);
        assert!(elements[2].ends_with(" . 10.128.0.0/28 . tcp . 8000-8099 : accept,"));
        assert_eq!(elements.iter().filter(|line| line.contains("fd00:")).count(), 4);
        assert!(text.contains("type ipv6_addr . ipv6_addr . inet_proto . inet_service : verdict"));
        assert!(text.contains("ip saddr . ip daddr . meta l4proto . th dport vmap @ip_allowed"));
        // A map without elements is left out.
        assert!(!table(&disjoint_rules(1), Form::Map).contains("ip6"));
    }
}
