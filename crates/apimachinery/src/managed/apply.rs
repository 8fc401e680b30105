//! Server-side apply.

use serde_json::{Map, Value};

use super::entries::{self, ManagerKey, Managers, Operation, Share};
use super::set::FieldSet;
use super::typed;
use super::{Applied, ApplyError, Conflict, OnConflict, Scope, Writer, timestamp};
use crate::schema::{Node, Schema};

/// The manager whose client-side past is honored: `kubectl apply --server-side` on an object made by `kubectl apply`.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Owner of everything an object had before its managers were tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

pub(super) fn apply(
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    on_conflict: OnConflict,
    schema: &Schema,
    scope: Scope,
) -> Result<Applied, ApplyError> {
    check(applied, writer)?;
    let root = schema.root();
    let nothing = empty_object(writer, applied);
    let base = live.unwrap_or(&nothing);
    let configuration = within_scope(applied, scope);
    let before = entries::decode(entries::raw(base), root).unwrap_or_default();

    let mut tracked = before.clone();
    if tracked.is_empty() && live.is_some() {
        track_untracked(base, writer, root, &mut tracked);
    }
    let attempt = |on_conflict| {
        let apply = Apply { base, configuration: &configuration, writer, root, scope };
        apply.run(tracked.clone(), on_conflict)
    };
    let outcome = match attempt(on_conflict) {
        Err(Refused::Conflicts(found)) if writer.manager == KUBECTL => {
            let remaining = found.difference(&last_applied_fields(base, root));
            if remaining.is_empty() { attempt(OnConflict::Force) } else { Err(Refused::Conflicts(remaining)) }
        }
        other => other,
    };
    let (merged, mut managers) = outcome.map_err(Refused::into_error)?;
    finish(live, base, merged, &mut managers, &before, writer, &configuration)
}

fn check(applied: &Value, writer: &Writer<'_>) -> Result<(), ApplyError> {
    let invalid = |text: String| Err(ApplyError::Invalid(text));
    if !applied.is_object() {
        return invalid("apply patch must be an object".to_owned());
    }
    if applied.get("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
        return invalid("metadata must be an object".to_owned());
    }
    if entries::raw(applied).is_some() {
        return invalid("metadata.managedFields must be nil".to_owned());
    }
    let version = applied.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != writer.api_version {
        return invalid(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            writer.api_version
        ));
    }
    Ok(())
}

fn empty_object(writer: &Writer<'_>, applied: &Value) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from(writer.api_version));
    if let Some(kind) = applied.get("kind") {
        object.insert("kind".to_owned(), kind.clone());
    }
    Value::Object(object)
}

/// The applied document without what this request may not change.
fn within_scope(applied: &Value, scope: Scope) -> Value {
    let mut configuration = applied.clone();
    if let Value::Object(members) = &mut configuration {
        match scope {
            Scope::Whole => {}
            Scope::ExceptStatus => {
                members.remove("status");
            }
            Scope::OnlyStatus => members
                .retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")),
        }
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.remove("managedFields");
            if scope == Scope::OnlyStatus {
                metadata.retain(|name, _| {
                    matches!(name.as_str(), "name" | "namespace" | "uid" | "resourceVersion")
                });
            }
        }
    }
    configuration
}

fn track_untracked(base: &Value, writer: &Writer<'_>, root: Node<'_>, managers: &mut Managers) {
    // As if somebody had created the object as it is just now.
    let mut fields = typed::compare(Some(root), &Value::Object(Map::new()), base).added;
    entries::strip_system_fields(&mut fields);
    if fields.is_empty() {
        return;
    }
    let by = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
    let share =
        Share { api_version: writer.api_version.to_owned(), time: Some(timestamp(writer.time)), fields };
    managers.insert(ManagerKey::of(&by, Operation::Update), share);
}

/// The conflicts of every manager, keyed as the managers are.
struct Conflicts(Vec<(ManagerKey, FieldSet)>);

impl Conflicts {
    fn difference(&self, allowed: &FieldSet) -> Self {
        let left = self.0.iter().map(|(key, fields)| (key.clone(), fields.difference(allowed)));
        Self(left.filter(|(_, fields)| !fields.is_empty()).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

enum Refused {
    Conflicts(Conflicts),
    Merge(String),
}

impl Refused {
    fn into_error(self) -> ApplyError {
        match self {
            Self::Merge(text) => ApplyError::Merge(text),
            Self::Conflicts(conflicts) => {
                let each = conflicts.0.iter().flat_map(|(key, fields)| {
                    let manager = key.to_string();
                    fields.paths().into_iter().map(move |path| Conflict {
                        manager: manager.clone(),
                        field: path.iter().map(ToString::to_string).collect(),
                    })
                });
                ApplyError::Conflicts(each.collect())
            }
        }
    }
}

struct Apply<'a> {
    base: &'a Value,
    configuration: &'a Value,
    writer: &'a Writer<'a>,
    root: Node<'a>,
    scope: Scope,
}

impl Apply<'_> {
    fn run(&self, mut managers: Managers, on_conflict: OnConflict) -> Result<(Value, Managers), Refused> {
        let place = Some(self.root);
        let merged = typed::merge(place, self.base, self.configuration).map_err(Refused::Merge)?;
        let mut fields = typed::field_set(place, self.configuration);
        self.scope.confine(&mut fields);

        let me = ManagerKey::of(self.writer, Operation::Apply);
        let last = managers.remove(&me);
        let time = last.as_ref().and_then(|last| last.time.clone());
        let mine = Share { api_version: self.writer.api_version.to_owned(), time, fields };
        managers.insert(me.clone(), mine);

        let merged = match last {
            Some(last) => self.prune(merged, &last.fields, &me, &managers),
            None => merged,
        };
        self.settle(&merged, &me, &mut managers, on_conflict)?;
        if let Some(mine) = managers.get_mut(&me) {
            entries::strip_system_fields(&mut mine.fields);
        }
        Ok((merged, managers))
    }

    /// Removes what this manager applied last time, does not apply now, and nobody else owns.
    fn prune(&self, merged: Value, last: &FieldSet, me: &ManagerKey, managers: &Managers) -> Value {
        let dropped = managers.get(me).map_or_else(FieldSet::default, |mine| last.difference(&mine.fields));
        if dropped.is_empty() {
            return merged;
        }
        let place = Some(self.root);
        let named = |set: &FieldSet| set.with_named_fields(place);
        let last = named(last);
        let all = named(&typed::field_set(place, &merged));

        let mut owned = FieldSet::default();
        for share in managers.values() {
            owned.unite(share.fields.clone());
        }
        let pruned = typed::remove(place, &merged, &last);
        let mut kept = named(&typed::field_set(place, &pruned));
        kept.unite(named(&owned));
        let pruned = typed::remove(place, &merged, &all.difference(&kept));

        // What went along with a removed item but was never applied by this manager comes back.
        let kept = named(&typed::field_set(place, &pruned));
        typed::remove(place, &merged, &all.difference(&kept).intersection(&last))
    }

    /// Takes from the other managers what changes hands.
    fn settle(
        &self,
        merged: &Value,
        me: &ManagerKey,
        managers: &mut Managers,
        on_conflict: OnConflict,
    ) -> Result<(), Refused> {
        let mut comparison = typed::compare(Some(self.root), self.base, merged);
        for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
            self.scope.confine(set);
        }
        let mut changed = comparison.modified;
        changed.unite(comparison.added);
        let others = || managers.iter().filter(|(key, _)| *key != me);
        if on_conflict == OnConflict::Fail {
            let conflicts = others().map(|(key, share)| (key.clone(), share.fields.intersection(&changed)));
            let conflicts = Conflicts(conflicts.filter(|(_, fields)| !fields.is_empty()).collect());
            if !conflicts.is_empty() {
                return Err(Refused::Conflicts(conflicts));
            }
        }
        for (_, share) in managers.iter_mut().filter(|(key, _)| *key != me) {
            share.fields.subtract(&changed);
            share.fields.subtract(&comparison.removed);
        }
        managers.retain(|key, share| key == me || !share.fields.is_empty());
        Ok(())
    }
}

/// What `kubectl apply` without `--server-side` says it set, as far as the live object still has it so.
fn last_applied_fields(live: &Value, root: Node<'_>) -> FieldSet {
    let Some(last) = last_applied(live).and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return FieldSet::default();
    };
    if typed::merge(Some(root), &Value::Object(Map::new()), &last).is_err() {
        return FieldSet::default();
    }
    let mut fields = typed::field_set(Some(root), &last);
    let comparison = typed::compare(Some(root), &last, live);
    for different in [comparison.modified, comparison.added, comparison.removed] {
        fields.subtract(&different);
    }
    fields
}

fn last_applied(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()
}

fn finish(
    live: Option<&Value>,
    base: &Value,
    mut merged: Value,
    managers: &mut Managers,
    before: &Managers,
    writer: &Writer<'_>,
    configuration: &Value,
) -> Result<Applied, ApplyError> {
    if writer.manager == KUBECTL {
        renew_last_applied(&mut merged, configuration)?;
    }
    entries::take_raw(&mut merged);
    let is_same_object = live.is_some() && equal_apart_from_managers(base, &merged);
    let shares = |managers: &Managers| -> Vec<(ManagerKey, String, FieldSet)> {
        let held = managers.iter().filter(|(_, share)| !share.fields.is_empty());
        held.map(|(key, share)| (key.clone(), share.api_version.clone(), share.fields.clone())).collect()
    };
    if let (true, Some(live)) = (is_same_object && shares(managers) == shares(before), live) {
        return Ok(Applied { object: live.clone(), changed: false });
    }
    if let Some(mine) = managers.get_mut(&ManagerKey::of(writer, Operation::Apply)) {
        mine.time = Some(timestamp(writer.time));
    }
    entries::encode(&mut merged, managers);
    Ok(Applied { object: merged, changed: true })
}

/// `merged` has no managed fields any more.
fn equal_apart_from_managers(live: &Value, merged: &Value) -> bool {
    let (Value::Object(live), Value::Object(merged)) = (live, merged) else { return live == merged };
    live.len() == merged.len()
        && live.iter().all(|(name, value)| match (name.as_str(), value, merged.get(name)) {
            ("metadata", Value::Object(live), Some(Value::Object(merged))) => {
                let n_live = live.len() - usize::from(live.contains_key("managedFields"));
                n_live == merged.len() && merged.iter().all(|(name, value)| live.get(name) == Some(value))
            }
            (_, value, merged) => merged == Some(value),
        })
}

/// Keeps the annotation of client-side apply in step, so that the user can go back.
fn renew_last_applied(merged: &mut Value, configuration: &Value) -> Result<(), ApplyError> {
    if last_applied(merged).is_none() {
        return Ok(());
    }
    let mut configuration = configuration.clone();
    if let Some(Value::Object(annotations)) = configuration.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    let text = serde_json::to_string(&configuration)
        .map_err(|error| ApplyError::Merge(format!("last applied configuration: {error}")))?;
    if let Some(annotation) =
        merged.pointer_mut("/metadata/annotations").and_then(|annotations| annotations.get_mut(LAST_APPLIED))
    {
        *annotation = Value::from(text + "\n");
    }
    Ok(())
}
