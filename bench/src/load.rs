//! Callers that ask as fast as they are answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::pki::Pki;

/// Answered before anything is counted: connections stand, memory is touched.
const WARM_UP: Duration = Duration::from_millis(150);

/// What one load process found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) rps: f64,
    pub(crate) mbps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// `n_callers` ask for `path` over one connection for a while. One answer that is no success ends the run.
pub(crate) async fn run(
    pki: &Pki,
    address: SocketAddr,
    path: &str,
    n_callers: usize,
    length: Duration,
) -> anyhow::Result<Found> {
    let client = Client::connect(pki, address).await?;
    let expected = client.drain(path).await?;
    let begin = Instant::now() + WARM_UP;
    let end = begin + length;
    let mut callers = JoinSet::new();
    for _ in 0..n_callers {
        let (client, path) = (client.clone(), path.to_owned());
        callers.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let asked = Instant::now();
                if asked >= end {
                    return anyhow::Ok(latencies);
                }
                let n_bytes = client.drain(&path).await?;
                ensure!(n_bytes == expected, "an answer of {n_bytes} bytes, not {expected}");
                let answered = Instant::now();
                if asked >= begin && answered <= end {
                    latencies.push(answered - asked);
                }
            }
        });
    }
    let mut latencies = Vec::new();
    while let Some(caller) = callers.join_next().await {
        latencies.extend(caller??);
    }
    ensure!(!latencies.is_empty(), "nothing was answered in {length:?}");
    latencies.sort_unstable();
    let rps = latencies.len() as f64 / length.as_secs_f64();
    Ok(Found {
        rps,
        mbps: rps * expected as f64 / 1e6,
        p50_us: quantile(&latencies, 0.50),
        p99_us: quantile(&latencies, 0.99),
    })
}

/// Of sorted durations, in microseconds.
pub(crate) fn quantile(sorted: &[Duration], q: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index within a list that fits into memory"
    )]
    let index = ((sorted.len() as f64 * q).ceil() as usize).saturating_sub(1);
    sorted.get(index).map_or(f64::NAN, |found| found.as_secs_f64() * 1e6)
}
