use super::*;

fn line(text: &str) -> Line {
    serde_json::from_str(text).expect("a line")
}

fn hello(instance: &str) -> Line {
    line(&format!(r#"{{"type":"Hello","instance":"{instance}"}}"#))
}

fn status_of(cr: &str, connected: bool, seen: &str) -> Line {
    let agents = if connected { r#"[{"instance":"agent-1"}]"# } else { "[]" };
    line(&format!(
        r#"{{"type":"Status","planeType":"buildplane","planeID":"p","namespace":"org","name":"{cr}",
            "connected":{connected},"connectedAgents":{},"lastSeen":"{seen}","agents":{agents}}}"#,
        u8::from(connected)
    ))
}

fn status(connected: bool, seen: &str) -> Line {
    status_of("bp", connected, seen)
}

fn refused(message: &str) -> Line {
    line(&format!(
        r#"{{"type":"Refused","planeType":"buildplane","planeID":"p","reason":"UnknownCA","message":"{message}"}}"#
    ))
}

fn cr() -> CrRef {
    "buildplane/org/bp".parse().expect("a reference")
}

fn about(names: &[&str]) -> News {
    News::About(
        names.iter().map(|name| format!("buildplane/org/{name}").parse().expect("a reference")).collect(),
    )
}

fn plane() -> PlaneId {
    PlaneId::parse("p").expect("an id")
}

/// A feed, and streams of replicas into it.
struct Replicas {
    feed: Arc<Feed>,
    client: GatewayClient,
    instances: HashMap<&'static str, Option<String>>,
}

impl Replicas {
    fn new() -> Self {
        let config = kube::Config::new("http://gateway:8444".parse().expect("an address"));
        let client = GatewayClient::new(&config, Duration::from_secs(1)).expect("a client");
        Self { feed: Feed::new(&Timings::default()), client, instances: HashMap::new() }
    }

    fn says(&mut self, stream: &'static str, line: Line) -> News {
        self.feed.take(self.instances.entry(stream).or_default(), &self.client, line)
    }

    fn connection(&self) -> Option<Connection> {
        self.feed.connection(&plane(), &cr())
    }
}

#[tokio::test(start_paused = true)]
async fn only_changes_are_news_and_heartbeats_come_in_their_moment() {
    let mut replicas = Replicas::new();
    assert_eq!(replicas.says("a", hello("a")), News::Everything);
    assert_eq!(replicas.says("a", status(true, "2026-01-01T00:00:00Z")), about(&["bp"]));
    assert_eq!(replicas.says("a", status(true, "2026-01-01T00:00:15Z")), News::Nothing);
    assert_eq!(replicas.says("a", status(true, "2026-01-01T00:05:00Z")), News::Nothing);
    let moments: Vec<u64> =
        (0..2 * SLOTS).filter(|moment| !replicas.feed.pulse(*moment).is_empty()).collect();
    assert_eq!(moments.len(), 2, "once in each interval: {moments:?}");
    assert!(replicas.feed.take_due(&cr()));
    assert!(!replicas.feed.take_due(&cr()));
    assert_eq!(replicas.says("a", status(false, "2026-01-01T00:05:00Z")), about(&["bp"]));
    assert!((0..SLOTS).all(|moment| replicas.feed.pulse(moment).is_empty()), "nobody is connected");
    assert_eq!(replicas.says("a", status(true, "2026-01-01T00:05:02Z")), about(&["bp"]));
    assert!(replicas.connection().is_some_and(|connection| connection.connected));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_news_once_and_forgotten_with_the_next_connection() {
    let mut replicas = Replicas::new();
    replicas.says("a", hello("a"));
    assert_eq!(replicas.says("a", refused("nobody asked")), News::Nothing, "no object names the plane");
    replicas.says("a", status(false, "2026-01-01T00:00:00Z"));
    assert_eq!(replicas.says("a", refused("who are you")), about(&["bp"]));
    assert_eq!(replicas.says("a", refused("who are you")), News::Nothing);
    let refusal = |replicas: &Replicas| replicas.feed.refusal(PlaneType::BuildPlane, &plane());
    assert_eq!(refusal(&replicas).map(|r| r.message), Some("who are you".into()));
    replicas.says("a", status(true, "2026-01-01T00:00:01Z"));
    assert_eq!(refusal(&replicas), None);
}

#[tokio::test(start_paused = true)]
async fn what_replicas_say_is_merged() {
    let mut replicas = Replicas::new();
    replicas.says("a", hello("a"));
    replicas.says("b", hello("b"));
    assert_eq!(replicas.feed.targets().len(), 2);
    replicas.says("a", status(false, "2026-01-01T00:00:00Z"));
    assert_eq!(replicas.connection(), None, "the other has not said anything yet");
    replicas.says("b", status(true, "2026-01-01T00:00:05Z"));
    let both = |replicas: &Replicas| replicas.connection().map(|c| (c.connected, c.n_agents, c.agents.len()));
    assert_eq!(both(&replicas), Some((true, 1, 1)));
    replicas.says("a", status(true, "2026-01-01T00:00:04Z"));
    assert_eq!(both(&replicas), Some((true, 1, 1)), "the same agent on both counts once");
    let seen = replicas.connection().and_then(|connection| connection.last_seen);
    assert_eq!(seen.map(|seen| seen.to_string()).as_deref(), Some("2026-01-01T00:00:05Z"));
    assert_eq!(
        replicas.feed.replica_of(&plane(), &cr()).map(|replica| replica.instance).as_deref(),
        Some("a")
    );

    // The replica goes without a word: what it said is gone after a while, and requests go to the other at once.
    replicas.feed.write(|state| state.close("a"));
    assert_eq!(
        replicas.feed.replica_of(&plane(), &cr()).map(|replica| replica.instance).as_deref(),
        Some("b")
    );
    assert_eq!(replicas.says("b", status(false, "2026-01-01T00:00:05Z")), News::Nothing);
    tokio::time::advance(Timings::default().gateway_grace).await;
    assert_eq!(replicas.feed.drop_lost(), about(&["bp"]));
    assert_eq!(both(&replicas), Some((false, 0, 0)));
    assert_eq!(replicas.feed.targets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_the_others_do_not_name_is_dropped_at_once() {
    let mut replicas = Replicas::new();
    let two = r#"[{"instance":"a"},{"instance":"b","url":"http://b:8444"}]"#;
    replicas.says("a", line(&format!(r#"{{"type":"Hello","instance":"a","replicas":{two}}}"#)));
    assert_eq!(replicas.feed.wanted(), ["http://b:8444"]);
    replicas.says("b", hello("b"));
    replicas.feed.write(|state| state.close("b"));
    replicas.feed.drop_lost();
    assert_eq!(replicas.feed.targets().len(), 2, "it is still named");
    replicas.says("a", line(r#"{"type":"Replicas","replicas":[{"instance":"a"}]}"#));
    replicas.feed.drop_lost();
    assert_eq!(replicas.feed.targets().len(), 1);
    assert!(replicas.feed.wanted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_life_of_a_replica_is_told_everything_anew() {
    let mut replicas = Replicas::new();
    replicas.says("a", hello("a"));
    replicas.says("a", status(true, "2026-01-01T00:00:00Z"));
    let first = replicas.feed.targets()[0].epoch;
    replicas.says("again", hello("a"));
    assert_eq!(replicas.feed.targets()[0].epoch, first, "a second stream of the same process");
    replicas.feed.write(|state| {
        state.close("a");
        state.close("a");
    });
    replicas.says("a", hello("a"));
    assert_ne!(replicas.feed.targets()[0].epoch, first);
    assert_eq!(replicas.feed.gateway(), GatewayState::Connected);
    assert_eq!(replicas.connection(), None, "it says again what still holds");
}

#[tokio::test(start_paused = true)]
async fn objects_of_one_plane_hear_of_each_other() {
    let mut replicas = Replicas::new();
    replicas.says("a", hello("a"));
    replicas.says("a", status(false, "2026-01-01T00:00:00Z"));
    assert_eq!(replicas.feed.siblings(&plane(), &cr()), Siblings::default());
    assert_eq!(
        replicas.says("a", status_of("other", false, "2026-01-01T00:00:00Z")),
        about(&["other", "bp"])
    );
    assert_eq!(replicas.says("a", status_of("other", true, "2026-01-01T00:00:00Z")), about(&["other", "bp"]));
    assert_eq!(replicas.feed.siblings(&plane(), &cr()), Siblings { n: 1, any_connected: true });
    let other: CrRef = "buildplane/org/other".parse().expect("a reference");
    replicas.feed.forget("a", &plane(), &other);
    assert_eq!(replicas.feed.siblings(&plane(), &cr()), Siblings::default());
}
