//! Counters in the server namespace that sort what comes out of the gateway, for more packets than
//! can be recorded.

use crate::gateway::list;
use crate::{Lab, Result, Side};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time for one call of nft.
const TOOL: Duration = Duration::from_secs(20);

/// Counts every frame that arrives at the servers in the first class whose expression matches it.
#[derive(Debug)]
pub struct Watch<'lab> {
    lab: &'lab Lab,
}

impl<'lab> Watch<'lab> {
    /// Starts to count. Each class is a name and nftables expressions, one of which is to match;
    /// what none matches is counted as `other`.
    ///
    /// # Errors
    /// If nft refuses.
    pub fn start(lab: &'lab Lab, classes: &[(&str, &[&str])]) -> Result<Watch<'lab>> {
        let names = classes.iter().map(|(name, _)| *name).chain(["other"]);
        let counters: String = names.map(|name| format!("  counter {name} {{ }}\n")).collect();
        let rules: String = classes
            .iter()
            .flat_map(|(name, expressions)| {
                expressions.iter().map(move |e| format!("    {e} counter name {name} accept\n"))
            })
            .collect();
        let script = format!(
            "table netdev watch {{\n{counters}  chain arrivals {{\n    type filter hook ingress \
             device \"eth0\" priority 0;\n{rules}    counter name other\n  }}\n}}\n"
        );
        let file = lab.write("watch.nft", &script)?;
        lab.exec(Side::Server, &["nft", "-f", &file], TOOL)?.expect_success()?;
        Ok(Watch { lab })
    }

    /// Frames of each class so far.
    ///
    /// # Errors
    /// If nft does not answer.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>> {
        let argv = ["nft", "-j", "list", "counters"];
        let said = self.lab.exec(Side::Server, &argv, TOOL)?.expect_success()?.stdout;
        let said: Value = serde_json::from_str(&said)?;
        let counters = list(&said["nftables"]).iter().map(|entry| &entry["counter"]);
        let counted = counters.filter_map(|counter| {
            Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
        });
        Ok(counted.collect())
    }
}
