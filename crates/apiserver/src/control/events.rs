//! Events are news, not records: old ones are removed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::object;
use crate::server::Api;
use crate::verbs::{self, Deletion};

/// How often old events are looked for.
const EVERY: Duration = Duration::from_mins(1);

/// Removes events that nobody wrote to for the configured time.
pub(crate) async fn run(api: &Api) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sweep(api, Timestamp::now()).await;
    }
}

async fn sweep(api: &Api, now: Timestamp) {
    let lifetime = SignedDuration::try_from(api.config.event_lifetime).unwrap_or(SignedDuration::MAX);
    let kinds = api.kinds();
    let Some(kind) = kinds.find("", "v1", "events") else { return };
    let mut old = Vec::new();
    for (key, entry) in api.store.entries(&kind.prefix) {
        if let Ok(event) = object::decode(&entry) {
            let times = [
                &event["series"]["lastObservedTime"],
                &event["lastTimestamp"],
                &event["eventTime"],
                &event["metadata"]["creationTimestamp"],
            ];
            let last: Option<Timestamp> = times.iter().find_map(|time| time.as_str()?.parse().ok());
            if last.is_some_and(|last| now.duration_since(last) > lifetime) {
                old.push(key);
            }
        }
    }
    for key in old {
        if let Err(error) = verbs::remove(api, kind, &key, &Deletion::default(), now).await {
            tracing::warn!(%key, error = %error.message, "failed to remove an old event");
        }
    }
}
