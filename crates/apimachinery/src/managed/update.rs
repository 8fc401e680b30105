//! Tracking of writes that are not apply: create, replace, patch.

use serde_json::{Map, Value};

use super::entries::{self, ManagerKey, Managers, Operation, Share};
use super::set::FieldSet;
use super::typed;
use super::{Scope, Writer, timestamp};
use crate::schema::Schema;

/// More managers by update than this are merged into one, the oldest first.
const MAX_UPDATE_MANAGERS: usize = 10;
const OLD_UPDATES: &str = "ancient-changes";

pub(super) fn update(
    live: Option<&Value>,
    mut new: Value,
    writer: &Writer<'_>,
    schema: &Schema,
    scope: Scope,
) -> Value {
    let root = schema.root();
    let sent = entries::take_raw(&mut new);
    let live_list = live.and_then(entries::raw);
    let list = choose(sent.as_ref(), live_list, writer);
    if live.is_some() && matches!((&list, live_list), (List::Reset, _) | (List::Live, None)) {
        // Nobody has applied this object and nobody was recorded when it was made: it stays untracked.
        return new;
    }
    let nothing = Value::Object(Map::new());
    let mut comparison = typed::compare(Some(root), live.unwrap_or(&nothing), &new);
    for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
        scope.confine(set);
    }
    if let (List::Live, true, Some(live_list)) = (&list, comparison.is_same(), live_list) {
        entries::set_raw(&mut new, Some(live_list.clone()));
        return new;
    }
    let sent = match list {
        List::Reset | List::Live => None,
        List::Sent(sent) => entries::decode(Some(sent), root).filter(|managers| !managers.is_empty()),
    };
    let managers = sent.unwrap_or_else(|| entries::decode(live_list, root).unwrap_or_default());
    let managers = record(managers, comparison, writer);
    entries::encode(&mut new, &cap(managers));
    new
}

enum List<'a> {
    /// The request empties the list on purpose.
    Reset,
    /// The request edits the list, or believes to.
    Sent(&'a Value),
    Live,
}

/// Which list the write starts from: the one sent, where it is one, so that clients can edit it; the live one for
/// clients that know nothing of it, and for subresources.
fn choose<'a>(sent: Option<&'a Value>, live: Option<&Value>, writer: &Writer<'_>) -> List<'a> {
    if !writer.subresource.is_empty() {
        return List::Live;
    }
    let Some(sent) = sent.filter(|sent| Some(*sent) != live) else { return List::Live };
    match sent.as_array().map(Vec::as_slice) {
        Some([]) => List::Reset,
        Some([Value::Object(only)]) if only.is_empty() => List::Reset,
        Some(_) => List::Sent(sent),
        None => List::Live,
    }
}

/// Moves what changed to the writer.
fn record(mut managers: Managers, comparison: typed::Comparison, writer: &Writer<'_>) -> Managers {
    let mut changed = comparison.modified;
    changed.unite(comparison.added);
    for share in managers.values_mut() {
        share.fields.subtract(&changed);
        share.fields.subtract(&comparison.removed);
    }
    entries::strip_system_fields(&mut changed);
    if !changed.is_empty() {
        let share = managers.entry(ManagerKey::of(writer, Operation::Update)).or_insert_with(|| Share {
            api_version: writer.api_version.to_owned(),
            time: None,
            fields: FieldSet::default(),
        });
        share.fields.unite(changed);
        share.time = Some(timestamp(writer.time));
    }
    managers.retain(|_, share| !share.fields.is_empty());
    managers
}

/// Merges the oldest updaters of each version into one until there are few enough.
fn cap(mut managers: Managers) -> Managers {
    let mut updaters: Vec<(Option<String>, ManagerKey)> = managers
        .iter()
        .filter(|(key, _)| key.operation == Operation::Update)
        .map(|(key, share)| (share.time.clone(), key.clone()))
        .collect();
    let mut n_updaters = updaters.len();
    if n_updaters <= MAX_UPDATE_MANAGERS {
        return managers;
    }
    updaters.sort();
    let mut first_of_version: Vec<(String, ManagerKey)> = Vec::new();
    for (time, key) in updaters {
        if n_updaters <= MAX_UPDATE_MANAGERS {
            break;
        }
        let Some((_, first)) = first_of_version.iter().find(|(version, _)| *version == key.api_version)
        else {
            first_of_version.push((key.api_version.clone(), key));
            continue;
        };
        let bucket = ManagerKey {
            name: OLD_UPDATES.to_owned(),
            operation: Operation::Update,
            api_version: key.api_version.clone(),
            subresource: String::new(),
        };
        if !managers.contains_key(&bucket)
            && let Some(share) = managers.remove(first)
        {
            managers.insert(bucket.clone(), share);
        }
        if bucket != key
            && let Some(share) = managers.remove(&key)
            && let Some(into) = managers.get_mut(&bucket)
        {
            into.fields.unite(share.fields);
            into.time = time;
        }
        n_updaters -= 1;
    }
    managers
}
