//! Applying a policy: compile beside the traffic, publish, answer.

use super::app::{App, Revision};
use super::refusal::Refusal;
use super::serve::Peer;
use crate::api;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::{Audit, Compiler, Policy};
use axum::http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of a policy that came without one.
const UNNAMED: &str = "policy.yaml";

impl App {
    /// Compiles the policy in `body` and publishes it; one at a time, in the order they came.
    ///
    /// Once begun it ends, even if the client has gone: a swap half done helps nobody.
    pub(super) async fn apply(
        self: Arc<Self>,
        peer: Peer,
        query: api::ApplyQuery,
        body: Vec<u8>,
    ) -> Result<api::Applied, Refusal> {
        let mut compiler = self.compiler.clone().lock_owned().await;
        let file = query.file.as_deref().filter(|file| !file.is_empty()).unwrap_or(UNNAMED);
        let file = file.to_owned();
        let work = tokio::task::spawn_blocking(move || {
            let applied = self.apply_now(&mut compiler, &file, query.if_generation, body);
            log(peer, &file, &applied);
            drop(compiler);
            applied.map(|(applied, _)| applied)
        });
        work.await.unwrap_or_else(|_panicked| Err(Refusal::internal()))
    }

    fn apply_now(
        &self,
        compiler: &mut Compiler,
        file: &str,
        if_generation: Option<u64>,
        body: Vec<u8>,
    ) -> Result<(api::Applied, Duration), Refusal> {
        let previous = self.current().generation();
        if let Some(expected) = if_generation.filter(|&expected| expected != previous) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                format!(
                    "generation {previous} is in force, not {expected}: somebody else applied a \
                     policy; look at it before you replace it"
                ),
            ));
        }
        let started = Instant::now();
        let generation = previous + 1;
        let text = text(file, body).map_err(Refusal::invalid)?;
        let policy = Policy::parse(file, &text).map_err(Refusal::invalid)?;
        let (table, made) = compiler
            .compile(&policy, &self.zones, generation, self.handle.workers())
            .map_err(Refusal::invalid)?;
        let compile = started.elapsed();
        let revision = Revision::new(&policy, &table, made, compile);
        let mut applied = api::Applied {
            generation,
            previous_generation: previous,
            rules: revision.rules().len(),
            entries: revision.entries(),
            table_made: made,
            table_bytes: table.memory_usage() as u64,
            worst_case_cache_lines: revision.worst_case(),
            compile_seconds: compile.as_secs_f64(),
            swap_seconds: 0.0,
            audit: Audit::default(),
        };
        self.remember(revision);
        let published = self.handle.publish(table).map_err(|error| {
            // The workers that did take it judge by it: it is in force, and status shows who lags.
            let message = format!("generation {generation} is published, but {error}");
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, message)
        })?;
        self.swapped(published.swap);
        applied.swap_seconds = published.swap.as_secs_f64();
        // Behind the swap, which it would hold up.
        applied.audit = compiler.audit(&policy);
        self.audited(&applied.audit);
        Ok((applied, published.swap))
    }
}

fn text(file: &str, body: Vec<u8>) -> Result<String, Diagnostics> {
    String::from_utf8(body).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Diagnostic::about(file, format!("line {line} is not UTF-8 text")).into()
    })
}

/// One line on standard error for every attempt.
fn log(peer: Peer, file: &str, outcome: &Result<(api::Applied, Duration), Refusal>) {
    // The name is the client's: quoted and escaped, so that it cannot forge a line.
    match outcome {
        Ok((applied, swap)) => super::log(format_args!(
            "apply: generation {} by {peer}: {} rules from {file:?}, compiled in {:?} ({}), \
             swapped in {swap:?}, {} warnings",
            applied.generation,
            applied.rules,
            Duration::from_secs_f64(applied.compile_seconds),
            applied.table_made.as_str(),
            applied.audit.warnings_total,
        )),
        Err(refusal) => super::log(format_args!("apply: {file:?} by {peer}: {refusal}")),
    }
}
