//! Many planes: how long they take from cold, and what they cost while nothing happens.

use std::collections::HashSet;
use std::time::Duration;

use buildplane_api::BuildPlane;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::time::Instant;

use crate::planes::{ca, plane};
use crate::world::{World, told};

fn key(index: usize) -> String {
    format!("buildplane/bp-{index}/org/bp-{index}")
}

fn is_soak() -> bool {
    std::env::var_os("BUILDPLANE_SOAK").is_some_and(|value| value == "1")
}

/// With `BUILDPLANE_SOAK=1` a thousand planes and the usual times; else fewer, and times as much shorter.
#[tokio::test(flavor = "multi_thread")]
async fn many_planes_are_quick_from_cold_and_quiet_when_connected() {
    let mut world = World::without_controllers().await;
    let (n, heartbeat) =
        if is_soak() { (1000, Duration::from_secs(30)) } else { (150, Duration::from_secs(3)) };
    world.timings.heartbeat = heartbeat;
    let spec = serde_json::json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    let api = world.of::<BuildPlane>();
    let creations = (0..n).map(|index| {
        let manifest = crate::cluster::resolved(plane(&format!("bp-{index}"), &spec));
        let object: BuildPlane = serde_json::from_value(manifest).expect("an object");
        let api = &api;
        async move { api.create(&PostParams::default(), &object).await }
    });
    let created: Vec<_> =
        futures::stream::iter(creations).buffer_unordered(32).try_collect().await.expect("created");
    assert_eq!(created.len(), n);
    world.gateway.is_connected((0..n).map(key));

    let before = world.writes.n();
    let (begun, cpu_begun) = (Instant::now(), cpu());
    world.start_controllers();
    until_ready(&api, n).await;
    let (cold, cold_cpu) = (begun.elapsed(), cpu().saturating_sub(cpu_begun));
    let cold_writes = world.writes.n() - before;
    assert!(
        cold_writes <= n * 5 / 2,
        "a finalizer and a status for each: {cold_writes} writes for {n} planes"
    );
    assert_eq!(world.gateway.n_registrations(), n, "each is told once");

    // Agents are heard of much more often than that is written.
    let gateway = world.gateway.clone();
    let beats = tokio::spawn(async move {
        let mut every = tokio::time::interval(heartbeat / 3);
        loop {
            every.tick().await;
            gateway.beats();
        }
    });
    // The first round may still write what the cold start left.
    tokio::time::sleep(heartbeat).await;
    let rounds = 2;
    let mut busiest = 0;
    let before = world.writes.n();
    for _ in 0..30 * rounds {
        let moment = world.writes.n();
        tokio::time::sleep(heartbeat / 30).await;
        busiest = busiest.max(world.writes.n() - moment);
    }
    let writes = world.writes.n() - before;
    let per_second = writes * 1000 / usize::try_from((heartbeat * 2).as_millis()).expect("short");
    // A moment more than the rounds may have passed.
    assert!(writes <= n * rounds + n / 5, "{writes} writes in {rounds} rounds for {n} planes");
    assert!(writes >= n, "heartbeats are written: {writes} writes");
    assert!(busiest <= n / 3, "heartbeats are spread: {busiest} of {n} in one moment of thirty");
    beats.abort();

    let mut lags = lags(&world, n).await;
    lags.sort();
    let lag = |percent: usize| lags[(lags.len() - 1) * percent / 100];
    eprintln!(
        "{n} planes: ready from cold in {cold:.1?} (processor time {cold_cpu:.1?}, API servers and all) with {cold_writes} \
         writes; steady: {per_second} writes/s at a heartbeat of {heartbeat:?}, at most {busiest} in a thirtieth of it; \
         connect or disconnect to status: median {:.1?}, p90 {:.1?}, p99 {:.1?}; events written: {}",
        lag(50),
        lag(90),
        lag(99),
        world.writes.n_events(),
    );
    assert!(lags[lags.len() / 2] < Duration::from_secs(2), "status follows connections");
}

/// The processor time of this process: on a busy machine it says more than the clock.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    // User and system time; a tick is a hundredth of a second on every Linux that we know.
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Waits until all are ready; looks at each change once, so as not to be what takes the time.
async fn until_ready(api: &Api<BuildPlane>, n: usize) {
    let mut watch = std::pin::pin!(watcher(api.clone(), watcher::Config::default()).applied_objects());
    let mut ready = HashSet::new();
    let all = async {
        while ready.len() < n {
            let Some(Ok(plane)) = watch.next().await else { continue };
            let is_ready =
                plane.status.as_ref().is_some_and(|status| told(&status.conditions, "Ready") == "True/Ready");
            if is_ready {
                ready.insert(plane.metadata.name);
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(2), all).await.expect("every plane is ready");
}

/// How long it takes until a watcher sees that agents come and go.
async fn lags(world: &World, n: usize) -> Vec<Duration> {
    let api = world.of::<BuildPlane>();
    let mut watch = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
    for _ in 0..n {
        watch.next().await;
    }
    let mut lags = Vec::new();
    for index in 0..50 {
        let name = format!("bp-{}", index % n);
        for connected in [false, true] {
            let begun = Instant::now();
            if connected {
                world.gateway.connect(&key(index % n));
            } else {
                world.gateway.disconnect(&key(index % n));
            }
            let seen = async {
                loop {
                    let Some(Ok(plane)) = watch.next().await else { continue };
                    let connection = plane.status.and_then(|status| status.agent_connection);
                    let is_that = plane.metadata.name.as_deref() == Some(&name);
                    if is_that && connection.is_some_and(|connection| connection.connected == connected) {
                        return;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the status follows");
            lags.push(begun.elapsed());
        }
    }
    lags
}
