//! The macros that go over a list or map.

use std::collections::BTreeMap;

use super::{Evaluation, no_overload};
use crate::error::Error;
use crate::node::{Fold, FoldKind};
use crate::operators;
use crate::value::{Key, Val};

impl<'a> Evaluation<'_, 'a> {
    pub(super) fn fold(&mut self, fold: &Fold) -> Result<Val<'a>, Error> {
        let range = self.node(&fold.range)?;
        let items = self.items(&range, fold.two_variables)?;
        match fold.kind {
            FoldKind::All => self.quantify(fold, items, false),
            FoldKind::Exists => self.quantify(fold, items, true),
            FoldKind::ExistsOne => {
                let mut n_matching = 0;
                for item in items {
                    n_matching += usize::from(self.test(fold, &item)?);
                }
                Ok(Val::Bool(n_matching == 1))
            }
            FoldKind::Filter => {
                let mut kept = Vec::new();
                for item in items {
                    if self.test(fold, &item)? {
                        kept.push(item.first);
                    }
                }
                Ok(Val::list(kept))
            }
            FoldKind::Map => {
                let mut mapped = Vec::with_capacity(items.len());
                for item in items {
                    if self.passes_filter(fold, &item)? {
                        let value = self.body(fold, &item)?;
                        if !matches!(value, Val::Absent) {
                            mapped.push(value);
                        }
                    }
                }
                Ok(Val::list(mapped))
            }
            FoldKind::TransformMap | FoldKind::TransformMapEntry => self.transform_map(fold, items),
            FoldKind::SortBy => self.sort_by(fold, items),
        }
    }

    /// What the variables take in turn. One variable goes over elements or keys; two over index and element, or key
    /// and value.
    fn items(&mut self, range: &Val<'a>, two_variables: bool) -> Result<Vec<Item<'a>>, Error> {
        match range {
            Val::List(list) => {
                self.budget.take(list.len())?;
                Ok(list
                    .iter()
                    .enumerate()
                    .map(|(index, element)| {
                        if two_variables {
                            Item { first: Val::length(index), second: Some(element) }
                        } else {
                            Item { first: element, second: None }
                        }
                    })
                    .collect())
            }
            Val::Map(map) => {
                self.budget.take(map.len())?;
                let entries = map.entries().into_iter();
                Ok(entries
                    .map(|(key, value)| Item { first: key.to_val(), second: two_variables.then_some(value) })
                    .collect())
            }
            other => Err(no_overload("iterate", &[other])),
        }
    }

    /// `all` and `exists`: an element that decides the result wins over errors at others.
    fn quantify(&mut self, fold: &Fold, items: Vec<Item<'a>>, decisive: bool) -> Result<Val<'a>, Error> {
        let mut error = None;
        for item in items {
            match self.test(fold, &item) {
                Ok(value) if value == decisive => return Ok(Val::Bool(decisive)),
                Ok(_) => {}
                Err(limit @ Error::Limit(_)) => return Err(limit),
                Err(other) => error = Some(other),
            }
        }
        error.map_or(Ok(Val::Bool(!decisive)), Err)
    }

    fn transform_map(&mut self, fold: &Fold, items: Vec<Item<'a>>) -> Result<Val<'a>, Error> {
        let mut map = BTreeMap::new();
        for item in items {
            if !self.passes_filter(fold, &item)? {
                continue;
            }
            let value = self.body(fold, &item)?;
            let entries = match (fold.kind, value) {
                (_, Val::Absent) => continue,
                (FoldKind::TransformMapEntry, Val::Map(entry)) => {
                    self.budget.take(entry.len())?;
                    entry.entries()
                }
                (FoldKind::TransformMapEntry, other) => {
                    return Err(no_overload("transformMapEntry", &[&other]));
                }
                (_, value) => {
                    let key = Key::of(&item.first);
                    vec![(key.ok_or_else(|| no_overload("map key", &[&item.first]))?, value)]
                }
            };
            for (key, value) in entries {
                if map.contains_key(&key) {
                    return Err(Error::DuplicateKey { key: key.to_string() });
                }
                map.insert(key, value);
            }
        }
        Ok(Val::map(map))
    }

    fn sort_by(&mut self, fold: &Fold, items: Vec<Item<'a>>) -> Result<Val<'a>, Error> {
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            keyed.push((self.body(fold, &item)?, item.first));
        }
        operators::sort(keyed, &mut self.budget).map(Val::list)
    }

    fn passes_filter(&mut self, fold: &Fold, item: &Item<'a>) -> Result<bool, Error> {
        match &fold.filter {
            None => Ok(true),
            Some(filter) => self.with_item(item, |evaluation| evaluation.truth(filter, "filter")),
        }
    }

    fn test(&mut self, fold: &Fold, item: &Item<'a>) -> Result<bool, Error> {
        self.with_item(item, |evaluation| evaluation.truth(&fold.body, "predicate"))
    }

    fn body(&mut self, fold: &Fold, item: &Item<'a>) -> Result<Val<'a>, Error> {
        self.with_item(item, |evaluation| evaluation.node(&fold.body))
    }

    fn with_item<T>(
        &mut self,
        item: &Item<'a>,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let outer = self.locals.len();
        self.locals.push(item.first.clone());
        self.locals.extend(item.second.clone());
        let result = work(self);
        self.locals.truncate(outer);
        result
    }
}

struct Item<'a> {
    first: Val<'a>,
    second: Option<Val<'a>>,
}
