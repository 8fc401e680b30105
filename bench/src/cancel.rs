//! How soon the far end learns that a caller has gone.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt as _;

use crate::backend::{DROPPED, LOG};
use crate::client::Client;
use crate::clock::now_micros;
use crate::load::quantile;
use crate::pki::Pki;

/// The 99th percentile, in milliseconds, of the time from dropping a stream to its end at the backend.
pub(crate) async fn run(
    pki: &Pki,
    gateway: SocketAddr,
    prefix: &str,
    backend: SocketAddr,
    n_times: usize,
) -> anyhow::Result<f64> {
    let through = Client::connect(pki, gateway).await?;
    let direct = Client::connect(pki, backend).await?;
    let mut latencies = Vec::new();
    for id in 1..=n_times {
        let mut response = through.get(&format!("{prefix}{LOG}?follow=true&sinceSeconds={id}")).await?;
        response.body_mut().frame().await.context("the stream ended before its first line")??;
        let dropped_at = now_micros();
        drop(response);
        let text = direct.text(&format!("{DROPPED}{id}")).await?;
        let ended_at: u64 = std::str::from_utf8(&text)?.parse()?;
        latencies.push(Duration::from_micros(ended_at.saturating_sub(dropped_at)));
    }
    latencies.sort_unstable();
    Ok(quantile(&latencies, 0.99) / 1000.0)
}
