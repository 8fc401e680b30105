//! What the store promises, through its public face.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use buildplane_store::{
    Change, Config, Expect, OpenError, Operation, Range, RangeError, Revision, Store, Value, WatchError,
    WriteError,
};
use futures::StreamExt as _;
use tempfile::TempDir;

fn open(directory: &TempDir, config: Config) -> Store {
    Store::open(directory.path(), config).unwrap()
}

fn fresh() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, Config::default());
    (directory, store)
}

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    store.write(key, Value::plain(value.to_owned()), Expect::Anything).await.unwrap().revision
}

async fn keys(store: &Store, prefix: &str, at: Option<Revision>) -> Result<Vec<String>, RangeError> {
    let page = store.range(Range { prefix, at, ..Range::default() }).await?;
    Ok(page.entries.into_iter().map(|(key, entry)| format!("{key}={}", text(&entry.value))).collect())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn line(change: &Change) -> String {
    let sign = if change.operation == Operation::Put { '+' } else { '-' };
    let was = change.previous.as_ref().map(|entry| text(&entry.value)).unwrap_or_default();
    format!("{}{sign}{}={} was {was}", change.revision, change.key, text(&change.value))
}

#[tokio::test]
async fn writes_happen_only_when_their_expectation_holds() {
    let (_directory, store) = fresh();
    let write = |expect| store.write("k", Value::plain("v"), expect);
    assert!(matches!(write(Expect::Present).await, Err(WriteError::Conflict { current: None })));
    assert!(matches!(write(Expect::Revision(Revision(1))).await, Err(WriteError::Conflict { .. })));
    let first = write(Expect::Absent).await.unwrap();
    assert_eq!(first.revision, Revision(2));
    let Err(WriteError::Conflict { current: Some(current) }) = write(Expect::Absent).await else {
        panic!("the key is there");
    };
    assert_eq!(current, first);
    let second = write(Expect::Revision(first.revision)).await.unwrap();
    assert!(matches!(write(Expect::Revision(first.revision)).await, Err(WriteError::Conflict { .. })));
    let stale = store.delete("k", Value::plain(""), Expect::Revision(first.revision)).await;
    assert!(matches!(stale, Err(WriteError::Conflict { .. })));
    store.delete("k", Value::plain("gone"), Expect::Revision(second.revision)).await.unwrap();
    assert_eq!(store.get("k"), None);
    let again = store.delete("k", Value::plain(""), Expect::Anything).await;
    assert!(matches!(again, Err(WriteError::Conflict { current: None })));
    assert_eq!(write(Expect::Absent).await.unwrap().revision, Revision(5));
}

#[tokio::test]
async fn a_value_carries_its_revision_where_it_leaves_room() {
    let (_directory, store) = fresh();
    let entry = store.write("k", Value::with_revision_at("<>", 1), Expect::Absent).await.unwrap();
    assert_eq!(text(&entry.value), format!("<{}>", entry.revision));
    assert_eq!(store.get("k"), Some(entry));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let (directory, store) = fresh();
    for n in 0..50 {
        put(&store, &format!("/a/{}", n % 7), &n.to_string()).await;
    }
    store.delete("/a/3", Value::plain(""), Expect::Present).await.unwrap();
    let (before, revision) = (keys(&store, "/", None).await.unwrap(), store.revision());
    store.close().await;
    assert!(matches!(put_err(&store).await, WriteError::Closed));
    let store = open(&directory, Config::default());
    assert_eq!(keys(&store, "/", None).await.unwrap(), before);
    assert_eq!(store.revision(), revision);
    assert_eq!(keys(&store, "/a/3", Some(Revision(revision.0 - 1))).await.unwrap(), ["/a/3=45"]);
    assert_eq!(put(&store, "/b", "x").await, Revision(revision.0 + 1));
}

async fn put_err(store: &Store) -> WriteError {
    store.write("k", Value::plain(""), Expect::Anything).await.unwrap_err()
}

#[tokio::test]
async fn a_directory_is_opened_once() {
    let (directory, store) = fresh();
    let second = Store::open(directory.path(), Config::default());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    store.close().await;
    drop(open(&directory, Config::default()));
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = Store::open(directory.path(), Config::default());
    assert!(matches!(refused, Err(OpenError::Format { .. })), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn callers_that_write_at_once_share_commits() {
    let (_directory, store) = fresh();
    let writes = (0..400).map(|n| {
        let store = store.clone();
        async move { put(&store, &format!("/{n}"), "v").await }
    });
    let revisions: Vec<Revision> = futures::future::join_all(writes).await;
    assert_eq!(revisions.len(), 400);
    let counters = store.counters();
    assert_eq!(counters.acknowledged, 400);
    assert!(counters.commits < 100, "{counters:?}");
    let alone = store.counters().commits;
    put(&store, "/x", "v").await;
    put(&store, "/x", "w").await;
    assert_eq!(store.counters().commits, alone + 2);
}

#[tokio::test]
async fn pages_are_all_from_one_revision() {
    let (_directory, store) = fresh();
    for n in 0..10 {
        put(&store, &format!("/p/{n}"), "old").await;
    }
    put(&store, "/q", "other").await;
    let first = store.range(Range { prefix: "/p/", limit: Some(4), ..Range::default() }).await.unwrap();
    assert_eq!((first.entries.len(), first.more), (4, true));
    put(&store, "/p/7", "new").await;
    put(&store, "/p/55", "new").await;
    store.delete("/p/8", Value::plain(""), Expect::Present).await.unwrap();
    let last = first.entries.last().unwrap().0.clone();
    let range = Range { prefix: "/p/", start_after: Some(&last), limit: None, at: Some(first.revision) };
    let rest = store.range(range.clone()).await.unwrap();
    assert_eq!((rest.revision, rest.more), (first.revision, false));
    let two = store.range(Range { limit: Some(2), ..range.clone() }).await.unwrap();
    assert_eq!(two.entries, rest.entries[..2]);
    let seen: Vec<_> = rest.entries.iter().map(|(key, entry)| (&**key, text(&entry.value))).collect();
    assert_eq!(seen, ["/p/4", "/p/5", "/p/6", "/p/7", "/p/8", "/p/9"].map(|key| (key, "old")));
    let ahead = Revision(store.revision().0 + 1);
    assert!(matches!(keys(&store, "/", Some(ahead)).await, Err(RangeError::Future { .. })));
}

#[tokio::test]
async fn a_watch_sees_every_change_after_its_revision_once_and_in_order() {
    // A ring of two: older changes come from the log.
    for ring_changes in [2, 1_000] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory, Config { ring_changes, ..Config::default() });
        put(&store, "/a/1", "one").await;
        let from = put(&store, "/b/1", "x").await;
        put(&store, "/a/1", "two").await;
        put(&store, "/b/2", "x").await;
        put(&store, "/a/2", "new").await;
        let mut watch = store.watch("/a/", from).await.unwrap();
        store.delete("/a/1", Value::with_revision_at("bye ", 4), Expect::Present).await.unwrap();
        put(&store, "/b/3", "x").await;
        put(&store, "/a/1", "again").await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(line(&watch.next().await.unwrap().unwrap()));
        }
        assert_eq!(
            seen,
            ["4+/a/1=two was one", "6+/a/2=new was ", "7-/a/1=bye 7 was two", "9+/a/1=again was "],
            "ring of {ring_changes}"
        );
        assert!(watch.ready().is_none());
        store.close().await;
        assert!(matches!(watch.next().await, Some(Err(WatchError::Closed))));
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn a_watcher_that_lags_is_closed_and_the_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, Config { watch_buffer: 4, ..Config::default() });
    let mut slow = store.watch("/", store.revision()).await.unwrap();
    let mut elsewhere = store.watch("/z/", store.revision()).await.unwrap();
    assert_eq!(store.counters().watchers, 2);
    for n in 0..10 {
        put(&store, "/k", &n.to_string()).await;
    }
    put(&store, "/z/1", "v").await;
    let mut seen = 0;
    let end = loop {
        match slow.next().await.unwrap() {
            Ok(_) => seen += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((seen, end), (4, WatchError::Lagged));
    assert!(slow.next().await.is_none());
    assert_eq!(elsewhere.next().await.unwrap().unwrap().key.as_ref(), "/z/1");
}

#[tokio::test]
async fn compaction_forgets_history_and_keeps_the_present() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, Config { ring_changes: 3, ..Config::default() });
    for n in 0..2_000 {
        put(&store, &format!("/k/{}", n % 10), &n.to_string()).await;
    }
    store.delete("/k/0", Value::plain(""), Expect::Present).await.unwrap();
    let present = keys(&store, "/", None).await.unwrap();
    let middle = Revision(1_000);
    let then = keys(&store, "/", Some(middle)).await.unwrap();
    store.compact(middle).await.unwrap();
    assert_eq!(store.compacted(), middle);
    assert_eq!(keys(&store, "/", Some(middle)).await.unwrap(), then);
    assert_eq!(keys(&store, "/", None).await.unwrap(), present);
    let before = Revision(middle.0 - 1);
    assert_eq!(keys(&store, "/", Some(before)).await, Err(RangeError::Compacted { compacted: middle }));
    let refused = store.watch("/", before).await.map(drop);
    assert_eq!(refused, Err(WatchError::Compacted { compacted: middle }));
    let mut watch = store.watch("/", middle).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(middle.0 + 1));
    store.compact(store.revision()).await.unwrap();
    let (revision, rows) = (store.revision(), store.counters().compacted);
    assert!(rows > 1_900, "{rows}");
    store.close().await;
    let store = open(&directory, Config::default());
    assert_eq!(keys(&store, "/", None).await.unwrap(), present);
    assert_eq!((store.revision(), store.compacted()), (revision, revision));
    assert_eq!(put(&store, "/k/0", "back").await, Revision(revision.0 + 1));
}

#[tokio::test]
async fn history_stays_within_its_bound_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, Config { history_revisions: 200, ..Config::default() });
    for n in 0..1_500 {
        put(&store, "/k", &n.to_string()).await;
    }
    let kept = store.revision().0 - store.compacted().0;
    assert!((200..400).contains(&kept), "{kept}");
    assert_eq!(store.counters().commits, 1_500, "compaction costs no commit of its own");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_is_got_over() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { max_bytes: Some(400_000), ..Config::default() };
    let store = open(&directory, config);
    let big = "x".repeat(20_000);
    let mut written = Vec::new();
    let refused = loop {
        let key = format!("/{:03}", written.len());
        match store.write(&key, Value::plain(big.clone()), Expect::Absent).await {
            Ok(entry) => written.push((key, entry.revision)),
            Err(error) => break error,
        }
        assert!(written.len() < 100, "the limit is never reached");
    };
    assert!(matches!(refused, WriteError::StorageFull { .. }), "{refused:?}");
    assert!(written.len() > 5, "{}", written.len());
    let revision = store.revision();
    assert_eq!(store.len(), written.len());
    assert_eq!(revision, written.last().unwrap().1);
    // Space comes back by deleting and forgetting.
    for (key, _) in written.iter().take(4) {
        store.delete(key, Value::plain(""), Expect::Present).await.unwrap();
    }
    store.compact(store.revision()).await.unwrap();
    store.write("/again", Value::plain(big), Expect::Absent).await.unwrap();
    let left = store.len();
    store.close().await;
    assert_eq!(open(&directory, Config::default()).len(), left);
}

#[tokio::test]
async fn a_caller_that_goes_away_disturbs_nobody() {
    let (_directory, store) = fresh();
    let gone = store.write("/gone", Value::plain("v"), Expect::Absent);
    let _timed_out = tokio::time::timeout(Duration::ZERO, gone).await;
    put(&store, "/k", "v").await;
    assert_eq!(keys(&store, "/k", None).await.unwrap(), ["/k=v"]);
}

#[tokio::test]
async fn a_store_that_was_emptied_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Store::open(directory.path(), Config::default());
    let path = directory.path().join("store.db");
    let store = open().unwrap();
    store.write("k", Value::plain("v"), Expect::Absent).await.unwrap();
    store.close().await;
    let whole = std::fs::read(&path).unwrap();
    for lost in [Some(Vec::new()), None] {
        match lost {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = open().err().unwrap();
        let marker = directory.path().join("store.created");
        assert!(matches!(&error, OpenError::Lost { .. }), "{error}");
        assert!(error.to_string().contains(marker.to_str().unwrap()), "{error}");
    }
    std::fs::write(&path, whole).unwrap();
    let store = open().unwrap();
    assert_eq!(&*store.get("k").unwrap().value, b"v");
    store.close().await;
    // What a person decided to give up is begun anew.
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(directory.path().join("store.created")).unwrap();
    assert!(open().unwrap().get("k").is_none());
}
