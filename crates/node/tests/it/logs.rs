//! Logs as readers get them.

use std::time::{Duration, SystemTime};

use buildplane_node::LogOptions;
use futures::StreamExt as _;

use crate::cluster::{Cluster, pod, uid};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_lines_as_they_come_and_ends_with_the_step() {
    let cluster = Cluster::new().await;
    let node = cluster.start();
    cluster.create_pod(pod("speaker", "echo one; sleep 0.3; echo two; sleep 0.3; printf three")).await;
    let running = cluster.wait_for_phase("speaker", "Running").await;
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let mut log = node.logs.open(uid(&running), options).await.unwrap();
    let first = log.next().await.unwrap().unwrap();
    assert_eq!(first, "one\n", "the first line comes before the step has ended");
    let mut rest = Vec::new();
    while let Some(bytes) = log.next().await {
        rest.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(String::from_utf8(rest).unwrap(), "two\nthree");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_log_can_be_asked_for() {
    let cluster = Cluster::new().await;
    let node = cluster.start();
    cluster
        .create_pod(pod("lines", "echo 1; echo 2; head -c 40000 /dev/zero | tr '\\0' x; echo; echo 4"))
        .await;
    let ended = cluster.wait_for_end("lines").await;
    let long = "x".repeat(40000);
    let options = LogOptions::default;
    for (options, expected) in [
        (options(), format!("1\n2\n{long}\n4\n")),
        (LogOptions { tail_lines: Some(0), ..options() }, String::new()),
        (LogOptions { tail_lines: Some(1), ..options() }, "4\n".to_owned()),
        (LogOptions { tail_lines: Some(2), ..options() }, format!("{long}\n4\n")),
        (LogOptions { tail_lines: Some(99), ..options() }, format!("1\n2\n{long}\n4\n")),
        (LogOptions { limit_bytes: Some(3), ..options() }, "1\n2".to_owned()),
        (LogOptions { limit_bytes: Some(0), ..options() }, String::new()),
        (LogOptions { follow: true, tail_lines: Some(1), ..options() }, "4\n".to_owned()),
        (LogOptions { since: Some(SystemTime::now() + Duration::from_mins(1)), ..options() }, String::new()),
        (
            LogOptions { since: Some(SystemTime::UNIX_EPOCH), tail_lines: Some(1), ..options() },
            "4\n".to_owned(),
        ),
    ] {
        assert_eq!(node.log(&ended, options.clone()).await, expected, "{options:?}");
    }
    let timed = node.log(&ended, LogOptions { timestamps: true, ..options() }).await;
    for (line, expected) in timed.lines().zip(["1", "2", long.as_str(), "4"]) {
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.len() == 30 && time.ends_with('Z'), "{time}");
        assert_eq!(text, expected);
    }
    for uid in ["absent", "", "../../etc/passwd", "a/b"] {
        assert!(node.logs.open(uid, options()).await.is_err(), "{uid}");
    }
    node.stop().await;
}
