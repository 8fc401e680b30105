//! The store against a model of it, over random histories with reopening and compaction.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use buildplane_store::{Config, Expect, Operation, Range, Revision, Store, Value, WriteError};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put { key: u8, value: u8 },
    Create { key: u8 },
    Delete { key: u8 },
    Compact { back: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..6, any::<u8>()).prop_map(|(key, value)| Step::Put { key, value }),
        2 => (0_u8..6).prop_map(|key| Step::Create { key }),
        3 => (0_u8..6).prop_map(|key| Step::Delete { key }),
        1 => (0_u64..12).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Reopen),
    ]
}

type Snapshot = BTreeMap<String, (u64, String)>;

/// Every revision's state, which is what the store must be able to tell as long as it is not compacted.
#[derive(Default)]
struct Model {
    now: Snapshot,
    history: BTreeMap<u64, Snapshot>,
    changes: Vec<(u64, String, Operation)>,
    compacted: u64,
}

impl Model {
    fn record(&mut self, revision: u64, key: &str, operation: Operation) {
        self.history.insert(revision, self.now.clone());
        self.changes.push((revision, key.to_owned(), operation));
    }
}

fn config() -> Config {
    Config { ring_changes: 5, history_revisions: 1_000, ..Config::default() }
}

async fn check(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    let revision = store.revision().0;
    for at in model.compacted.max(1)..=revision {
        let expected = model.history.get(&at).cloned().unwrap_or_default();
        let page = store.range(Range { prefix: "/", at: Some(Revision(at)), ..Range::default() }).await;
        let page = page.map_err(|error| TestCaseError::fail(format!("at {at}: {error}")))?;
        let found: Snapshot = page
            .entries
            .into_iter()
            .map(|(k, e)| (k.to_string(), (e.revision.0, String::from_utf8_lossy(&e.value).into_owned())))
            .collect();
        prop_assert_eq!(found, expected, "at {}", at);
    }
    for from in model.compacted.max(1)..=revision {
        let watch = store.watch("/", Revision(from)).await;
        let mut watch = watch.map_err(|error| TestCaseError::fail(format!("from {from}: {error}")))?;
        let mut found = Vec::new();
        while let Some(change) = watch.ready() {
            let was = change.previous.as_ref().map(|entry| entry.revision.0);
            let before = model.history.get(&(change.revision.0 - 1)).cloned().unwrap_or_default();
            prop_assert_eq!(was, before.get(&*change.key).map(|(revision, _)| *revision));
            found.push((change.revision.0, change.key.to_string(), change.operation));
        }
        let expected: Vec<_> =
            model.changes.iter().filter(|(revision, ..)| *revision > from).cloned().collect();
        prop_assert_eq!(found, expected, "from {}", from);
    }
    Ok(())
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), config()).unwrap();
    let mut model = Model::default();
    model.history.insert(1, Snapshot::new());
    for step in steps {
        match step {
            Step::Put { key, value } => {
                let (key, text) = (format!("/{key}"), value.to_string());
                let entry = store.write(&key, Value::plain(text.clone()), Expect::Anything).await.unwrap();
                model.now.insert(key.clone(), (entry.revision.0, text));
                model.record(entry.revision.0, &key, Operation::Put);
            }
            Step::Create { key } => {
                let key = format!("/{key}");
                match store.write(&key, Value::plain("new"), Expect::Absent).await {
                    Ok(entry) => {
                        prop_assert!(!model.now.contains_key(&key));
                        model.now.insert(key.clone(), (entry.revision.0, "new".into()));
                        model.record(entry.revision.0, &key, Operation::Put);
                    }
                    Err(WriteError::Conflict { current }) => {
                        let expected = model.now.get(&key).map(|(revision, _)| *revision);
                        prop_assert_eq!(current.map(|entry| entry.revision.0), expected);
                    }
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                }
            }
            Step::Delete { key } => {
                let key = format!("/{key}");
                match store.delete(&key, Value::plain("end"), Expect::Anything).await {
                    Ok(entry) => {
                        prop_assert!(model.now.remove(&key).is_some());
                        model.record(entry.revision.0, &key, Operation::Delete);
                    }
                    Err(WriteError::Conflict { current: None }) => {
                        prop_assert!(!model.now.contains_key(&key));
                    }
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                }
            }
            Step::Compact { back } => {
                let to = store.revision().0.saturating_sub(back);
                store.compact(Revision(to)).await.unwrap();
                model.compacted = model.compacted.max(to);
            }
            Step::Reopen => {
                store.close().await;
                store = Store::open(directory.path(), config()).unwrap();
            }
        }
    }
    check(&store, &model).await?;
    store.close().await;
    let store = Store::open(directory.path(), config()).unwrap();
    check(&store, &model).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_back_as_it_was_written(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
