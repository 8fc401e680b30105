//! Keeps its identity, dials the gateway, replays allowed requests to local targets.
