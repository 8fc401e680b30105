use std::time::Duration;

use http::Method;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use buildplane_tunnel::{Carried, Patience, Spliced, StreamBody, splice};
use buildplane_wire as wire;

use super::exchange::ask_agent;
use crate::audit::Audit;
use crate::registry::Admission;

/// How long one side may go on after the other has closed.
const LINGER: Duration = Duration::from_secs(5);
/// How long both ends may take to be handed over once both have agreed.
const HANDOVER: Duration = Duration::from_secs(10);

/// What upgraded streams may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long they may go on after the gateway has begun to stop.
    pub(crate) drain: Duration,
    /// How long one may stand still because an end takes nothing.
    pub(crate) stalled: Duration,
}

/// An upgraded stream: bytes that nobody here reads, both ways.
pub(super) struct Carry {
    pub(super) caller: OnUpgrade,
    pub(super) agent: OnUpgrade,
    /// Holds the stream's place among those of the connection.
    pub(super) stream: StreamBody,
    pub(super) admission: Admission,
    pub(super) audit: Audit,
}

impl Carry {
    /// Runs until both ends have closed, one has failed, the right to it is withdrawn, or the gateway has stopped and
    /// `drain` is over.
    pub(super) async fn run(self, limits: Limits, stop: CancellationToken) {
        let Self { caller, agent, stream, admission, mut audit } = self;
        let Limits { drain, stalled } = limits;
        let patience = Patience { linger: LINGER, stalled };
        let carried = Carried::default();
        let carrying = async {
            let both = async { tokio::try_join!(caller, agent) };
            match tokio::time::timeout(HANDOVER, both).await {
                Ok(Ok((caller, agent))) => {
                    splice(TokioIo::new(caller), TokioIo::new(agent), &carried, patience).await.ok()
                }
                Ok(Err(_)) | Err(_) => None,
            }
        };
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        let (outcome, is_complete) = tokio::select! {
            carried = carrying => match carried {
                Some(Spliced::Complete) => ("complete", true),
                Some(Spliced::Lingered) => ("lingered", false),
                None => ("failed", false),
            },
            () = admission.revoked.cancelled() => ("revoked", false),
            () = stopped => ("shutdown", false),
        };
        audit.outcome = outcome;
        audit.sent = carried.there();
        audit.received = carried.back();
        drop(stream);
        if !is_complete {
            // Both ends are dropped now. What the agent's end has still to be sent waits for flow control where the pod
            // does not read, and nothing that follows in the same stream could overtake it.
            let path = format!("{}/{}", wire::STREAMS_PATH, audit.request_id);
            let told = ask_agent(&admission.link.handle, Method::DELETE, &path);
            let _elapsed = tokio::time::timeout(LINGER, told).await;
        }
    }
}
