//! The Events of a plane, newest last.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};

use super::facts::span;
use crate::failure::{Explain as _, Result};
use crate::output::table::Table;

/// More than these are not shown.
const SHOWN: usize = 10;

/// The Events about the object with this uid. Those of cluster-scoped objects lie in the namespace `default`.
pub(super) async fn lines(client: &Client, namespace: Option<&str>, uid: &str) -> Result<Vec<String>> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace.unwrap_or("default"));
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let mut events = events.list(&about).await.context("cannot read the plane's events")?.items;
    events.sort_by_key(last_seen);
    Ok(table(&events[events.len().saturating_sub(SHOWN)..], Timestamp::now()))
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|at| at.0);
    let times = [
        series,
        event.last_timestamp.as_ref().map(|at| at.0),
        event.event_time.as_ref().map(|at| at.0),
        event.metadata.creation_timestamp.as_ref().map(|at| at.0),
    ];
    times.into_iter().flatten().max()
}

fn table(events: &[Event], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["LAST SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"]);
    for event in events {
        let count = event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1);
        let message = event.message.as_deref().unwrap_or_default();
        table.row([
            last_seen(event).map(|at| span(now.duration_since(at))).unwrap_or_default(),
            event.type_.clone().unwrap_or_default(),
            event.reason.clone().unwrap_or_default(),
            count.to_string(),
            message.split_whitespace().collect::<Vec<_>>().join(" "),
        ]);
    }
    if table.is_empty() { vec!["<none>".to_owned()] } else { table.lines() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_shows_when_it_was_last_seen_and_nothing_acts() {
        let event: Event = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "x", "creationTimestamp": "2026-11-21T02:00:00Z"},
            "involvedObject": {}, "type": "Warning", "reason": "AgentRefused", "eventTime": "2026-11-21T02:00:00.000000Z",
            "series": {"count": 7, "lastObservedTime": "2026-11-21T02:59:00.000000Z"},
            "message": "a certificate\u{1b}[2J\nof somebody else",
        }))
        .expect("an event");
        let now = "2026-11-21T03:00:00Z".parse().expect("a timestamp");
        assert_eq!(
            table(&[event], now)[1],
            "60s         Warning   AgentRefused   7       a certificate of somebody else"
        );
    }
}
