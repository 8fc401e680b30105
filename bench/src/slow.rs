//! Callers that ask for large bodies and never read them.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::client::Client;
use crate::pki::Pki;

/// Streams of one connection to the gateway: below what its listener allows.
const PER_CONNECTION: usize = 200;

/// Opens up to `n_streams` and says `holding N`; stops asking for more at the first refusal, which a gateway may well
/// have for one caller. Holds them until the process is ended.
pub(crate) async fn run(pki: &Pki, address: SocketAddr, path: &str, n_streams: usize) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    let mut held = Vec::new();
    'open: while held.len() < n_streams {
        let client = Client::with_window(pki, address, 64 * 1024).await?;
        for _ in 0..PER_CONNECTION.min(n_streams - held.len()) {
            match client.get(path).await {
                Ok(response) => held.push(response),
                Err(_refused) => break 'open,
            }
        }
        clients.push(client);
    }
    ensure!(!held.is_empty(), "no body was begun");
    crate::say(&format!("holding {}", held.len()));
    std::future::pending::<()>().await;
    drop((clients, held));
    Ok(())
}
