//! Pure Kubernetes semantics: schemas, patches, apply, selectors, tables.
