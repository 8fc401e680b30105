use super::*;

fn line(text: &str) -> Line {
    serde_json::from_str(text).expect("a line")
}

fn status(connected: bool, seen: &str) -> Line {
    line(&format!(
        r#"{{"type":"Status","planeType":"buildplane","planeID":"p","namespace":"org","name":"bp",
            "connected":{connected},"connectedAgents":{},"lastSeen":"{seen}"}}"#,
        u8::from(connected)
    ))
}

fn refused(message: &str) -> Line {
    line(&format!(
        r#"{{"type":"Refused","planeType":"buildplane","planeID":"p","reason":"UnknownCA","message":"{message}"}}"#
    ))
}

fn cr() -> CrRef {
    "buildplane/org/bp".parse().expect("a reference")
}

#[test]
fn only_changes_and_late_heartbeats_are_news() {
    let feed = Feed::new(&Timings::default());
    let about = || News::About(vec![cr()]);
    assert_eq!(feed.take(line(r#"{"type":"Hello","instance":"a"}"#)), News::Everything);
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:00Z")), about());
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:15Z")), News::Nothing);
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:28Z")), News::Nothing);
    // What comes a moment before its time is not left for the next round.
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:29Z")), about());
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:29Z")), News::Nothing);
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:30Z")), News::Nothing);
    assert_eq!(feed.take(status(false, "2026-01-01T00:00:30Z")), about());
    assert_eq!(feed.take(status(true, "2026-01-01T00:00:32Z")), about());
    let plane = PlaneId::parse("p").expect("an id");
    assert!(feed.connection(&plane, &cr()).is_some_and(|connection| connection.connected));
}

#[test]
fn a_refusal_is_news_once_and_forgotten_with_the_next_connection() {
    let feed = Feed::new(&Timings::default());
    let plane = PlaneId::parse("p").expect("an id");
    assert_eq!(feed.take(refused("nobody asked")), News::Nothing, "no object names the plane");
    feed.take(status(false, "2026-01-01T00:00:00Z"));
    assert_eq!(feed.take(refused("who are you")), News::About(vec![cr()]));
    assert_eq!(feed.take(refused("who are you")), News::Nothing);
    assert_eq!(feed.refusal(PlaneType::BuildPlane, &plane).map(|r| r.message), Some("who are you".into()));
    feed.take(status(true, "2026-01-01T00:00:01Z"));
    assert_eq!(feed.refusal(PlaneType::BuildPlane, &plane), None);
}

#[test]
fn every_hello_begins_a_new_epoch() {
    let feed = Feed::new(&Timings::default());
    let before = feed.epoch();
    feed.take(line(r#"{"type":"Hello","instance":"a"}"#));
    assert_ne!(feed.epoch(), before);
    assert_eq!(feed.gateway(), GatewayState::Connected);
}
