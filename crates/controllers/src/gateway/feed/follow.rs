//! Keeping a stream open to every gateway replica.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use buildplane_api::names::CrRef;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncBufReadExt as _, FutureExt as _, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Feed, GatewayState, News, Replica, SLOTS, Subscriber};
use crate::gateway::client::{GatewayClient, GatewayError};
use crate::gateway::wire::Line;
use crate::retry::Retries;

/// A gateway pings every 15 s; a stream that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// A longer line than this comes from no gateway of ours.
const MAX_LINE: usize = 1024 * 1024;
/// More replicas than this are not followed.
const MAX_REPLICAS: usize = 32;
/// The longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

type Follower<'a> = BoxFuture<'a, String>;

impl Feed {
    /// Follows the gateways until `shutdown`: the shared address, and every replica that is learned from there.
    pub(crate) async fn run(
        &self,
        shared: &GatewayClient,
        subscribers: &[Arc<dyn Subscriber>],
        shutdown: &CancellationToken,
    ) {
        self.write(|state| state.away_since = Some(Instant::now()));
        let mut followers: FuturesUnordered<Follower<'_>> = FuturesUnordered::new();
        let seed = self.keep_following(shared.clone(), true, subscribers, CancellationToken::new());
        followers.push(seed.map(|()| String::new()).boxed());
        let mut direct: HashMap<String, CancellationToken> = HashMap::new();
        let mut upkeep = interval((self.timings.gateway_grace / 8).max(Duration::from_millis(10)));
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let slots = u32::try_from(SLOTS).unwrap_or(1);
        let mut beats = interval((self.timings.heartbeat / slots).max(Duration::from_millis(10)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut moment = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(url) = followers.next() => drop(direct.remove(&url)),
                () = self.rearranged.notified() => {}
                _ = upkeep.tick() => {}
                _ = beats.tick() => {
                    moment += 1;
                    publish(subscribers, &about(self.pulse(moment)));
                    continue;
                }
            }
            publish(subscribers, &self.drop_lost());
            publish(subscribers, &self.notice_absence());
            let wanted = self.wanted();
            for (url, stop) in &direct {
                if !wanted.iter().any(|wanted| wanted == url) {
                    stop.cancel();
                }
            }
            for url in wanted {
                if direct.contains_key(&url) {
                    continue;
                }
                let Some(client) = shared.at(&url) else {
                    tracing::debug!(url, "a gateway names a replica at an address that is none");
                    continue;
                };
                let stop = CancellationToken::new();
                direct.insert(url.clone(), stop.clone());
                let follower = self.keep_following(client, false, subscribers, stop);
                followers.push(follower.map(|()| url).boxed());
            }
        }
    }

    /// The addresses to follow beside the shared one: of all replicas but the one that answers there. Where nobody can
    /// be asked, those that were known stay.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.read(|state| {
            let open = state.replicas.values().any(Replica::is_open);
            let tellers = state.replicas.values().filter(|replica| replica.is_open() || !open);
            let listed = tellers.flat_map(|replica| &replica.listed);
            let others = listed.filter(|entry| state.at_shared.as_deref() != Some(entry.instance.as_str()));
            let mut urls: Vec<String> = others.filter_map(|entry| entry.url.clone()).collect();
            urls.sort();
            urls.dedup();
            urls.truncate(MAX_REPLICAS);
            urls
        })
    }

    /// Forgets replicas that are gone: at once where the others say so, else after a while.
    pub(super) fn drop_lost(&self) -> News {
        self.write(|state| {
            let listed = |instance: &str| {
                let tellers = state.replicas.values().filter(|replica| replica.is_open());
                tellers.flat_map(|replica| &replica.listed).any(|entry| entry.instance == instance)
            };
            let others_tell = state.replicas.values().any(Replica::is_open);
            let gone: Vec<String> = state
                .replicas
                .iter()
                .filter(|(instance, replica)| {
                    let is_over = |since: &Instant| since.elapsed() >= self.timings.gateway_grace;
                    !replica.is_open()
                        && (replica.lost_since.as_ref().is_none_or(is_over)
                            || (others_tell && !listed(instance)))
                })
                .map(|(instance, _)| instance.clone())
                .collect();
            about(gone.iter().flat_map(|instance| state.drop_replica(instance)).collect())
        })
    }

    /// Says that the gateways are away once the grace period is over.
    fn notice_absence(&self) -> News {
        self.write(|state| {
            let is_away = state.away_since.is_some_and(|since| since.elapsed() >= self.timings.gateway_grace);
            if !is_away || matches!(state.gateway, GatewayState::Unreachable(_)) {
                return News::Nothing;
            }
            let why = state.last_error.clone().unwrap_or_else(|| "it does not answer".to_owned());
            state.gateway = GatewayState::Unreachable(why);
            self.settled.send_replace(true);
            News::Everything
        })
    }

    /// Follows one address until `stop`.
    async fn keep_following(
        &self,
        client: GatewayClient,
        is_shared: bool,
        subscribers: &[Arc<dyn Subscriber>],
        stop: CancellationToken,
    ) {
        let retries = Retries::new(&self.timings);
        loop {
            let mut stream = Stream { feed: self, is_shared, instance: None };
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = stream.follow(&client, subscribers) => ended,
            };
            if stream.instance.is_some() {
                retries.forget(&());
            }
            drop(stream);
            tracing::warn!(error = &ended as &dyn std::error::Error, "lost a gateway, trying again");
            self.write(|state| state.last_error = Some(crate::error::chain(&ended)));
            let wait = retries.failed(()).min(LONGEST_WAIT);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// One stream. Whatever ends its reading, the replica is noted as no longer followed.
struct Stream<'a> {
    feed: &'a Feed,
    /// Whether it is the one at the shared address.
    is_shared: bool,
    /// The replica at its other end, once it said who it is.
    instance: Option<String>,
}

impl Stream<'_> {
    async fn follow(&mut self, client: &GatewayClient, subscribers: &[Arc<dyn Subscriber>]) -> FeedError {
        let stream = match client.watch().await {
            Ok(stream) => stream,
            Err(error) => return FeedError::Open(error),
        };
        let mut stream = Box::pin(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match tokio::time::timeout(SILENCE, read_line(&mut stream, &mut line)).await {
                Ok(Ok(0)) => return FeedError::Ended,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return FeedError::Read(error),
                Err(_elapsed) => return FeedError::Silent,
            }
            match serde_json::from_slice::<Line>(&line) {
                Ok(parsed) => {
                    let news = self.feed.take(&mut self.instance, client, parsed);
                    if self.is_shared {
                        self.feed.write(|state| state.at_shared.clone_from(&self.instance));
                    }
                    publish(subscribers, &news);
                }
                Err(error) => tracing::warn!(%error, "the gateway sent a line that cannot be read"),
            }
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let Some(instance) = &self.instance else { return };
        self.feed.write(|state| {
            state.close(instance);
            if self.is_shared {
                state.at_shared = None;
            }
        });
        self.feed.rearranged.notify_one();
    }
}

fn about(objects: Vec<CrRef>) -> News {
    if objects.is_empty() { News::Nothing } else { News::About(objects) }
}

fn publish(subscribers: &[Arc<dyn Subscriber>], news: &News) {
    for subscriber in subscribers {
        match news {
            News::Nothing => {}
            News::About(objects) => subscriber.changed(objects),
            News::Everything => subscriber.all_changed(),
        }
    }
}

/// Reads up to and with the next line feed, within bounds.
async fn read_line(
    stream: &mut (impl futures::AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<usize> {
    use futures::AsyncReadExt as _;
    let mut bounded = stream.take(MAX_LINE as u64);
    let n = bounded.read_until(b'\n', line).await?;
    if n == MAX_LINE { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(n) }
}

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("failed to open the watch of planes")]
    Open(#[source] GatewayError),
    #[error("failed to read the watch of planes")]
    Read(#[source] std::io::Error),
    #[error("the watch of planes ended")]
    Ended,
    #[error("the watch of planes was silent for too long")]
    Silent,
}
