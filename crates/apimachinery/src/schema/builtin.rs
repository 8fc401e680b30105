//! Merge keys and list types of the built-in kinds, by definition name.
