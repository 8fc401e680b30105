//! A revisioned key-value store with watch history on SQLite.
