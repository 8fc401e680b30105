//! The log table: every write of the kept history, one row a revision, in SQLite.
//!
//! There is no table of current entries: the log is replayed into memory at start. Compaction up to a revision keeps,
//! for each key, the last row at or before it unless that row is a delete, so the replay of what is left gives the same
//! state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, params};

use crate::error::OpenError;
use crate::types::{Change, Entry, Operation, Revision};

/// "bplS", so that `file` and we can tell what the database is.
const APPLICATION_ID: i64 = 0x6270_6c53;
const FORMAT: i64 = 1;

pub(crate) struct Log {
    connection: Connection,
}

pub(crate) struct Row {
    pub(crate) revision: Revision,
    pub(crate) key: Arc<str>,
    pub(crate) value: Bytes,
    pub(crate) previous: Revision,
    pub(crate) operation: Operation,
}

impl Log {
    /// Opens the database; an empty one is taken only where the directory has never held another.
    pub(crate) fn open(path: &Path, max_bytes: Option<u64>) -> Result<Self, OpenError> {
        let marker = path.with_extension("created");
        let database = |source| OpenError::Database { path: PathBuf::from(path), source };
        let connection = Connection::open(path).map_err(database)?;
        let format = check_format(&connection).map_err(database)?;
        if format != 0 && format != FORMAT {
            return Err(OpenError::Format { path: path.into(), found: format, supported: FORMAT });
        }
        let held_one = marker.exists();
        if format == 0 && held_one {
            return Err(OpenError::Lost { path: path.into(), marker });
        }
        prepare(&connection, max_bytes).map_err(database)?;
        if !held_one {
            // After the database, so that a crash in between leaves a store without a mark and not a mark without a store.
            mark(&marker).map_err(|source| OpenError::Mark { path: marker, source })?;
        }
        Ok(Self { connection })
    }

    pub(crate) fn compacted(&self) -> rusqlite::Result<Revision> {
        self.connection
            .query_row("SELECT revision FROM compacted", [], |row| row.get::<_, i64>(0))
            .map(from_sql)
    }

    /// All rows in order of revision.
    pub(crate) fn replay(&self, mut each: impl FnMut(Row)) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare("SELECT revision, key, value, previous, deleted FROM log ORDER BY revision")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(Row {
                revision: from_sql(row.get(0)?),
                key: Arc::from(row.get_ref(1)?.as_str()?),
                value: Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?),
                previous: from_sql(row.get(3)?),
                operation: operation(row.get(4)?),
            });
        }
        Ok(())
    }

    pub(crate) fn begin(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    pub(crate) fn commit(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    /// Leaves no transaction open, whatever went before.
    pub(crate) fn rollback(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "failed to roll back");
        }
    }

    pub(crate) fn append(&self, change: &Change) -> rusqlite::Result<()> {
        let previous = change.previous.as_ref().map_or(Revision(0), |entry| entry.revision);
        self.connection
            .prepare_cached(
                "INSERT INTO log (revision, key, value, previous, deleted) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                to_sql(change.revision),
                &*change.key,
                &*change.value,
                to_sql(previous),
                change.operation == Operation::Delete
            ])
            .map(drop)
    }

    /// Removes what the rows after `from` up to `to` made obsolete; to be called within a transaction.
    pub(crate) fn compact(&self, from: Revision, to: Revision) -> rusqlite::Result<usize> {
        let range = params![to_sql(from), to_sql(to)];
        let superseded = self
            .connection
            .prepare_cached(
                "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2)",
            )?
            .execute(range)?;
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM log WHERE revision > ?1 AND revision <= ?2 AND deleted = 1")?
            .execute(range)?;
        self.connection.prepare_cached("UPDATE compacted SET revision = ?")?.execute([to_sql(to)])?;
        Ok(superseded + deleted)
    }

    /// The changes after `from` and before `before` whose key starts with `prefix`, at most `limit` of them.
    pub(crate) fn changes(&self, query: &ChangesQuery<'_>) -> rusqlite::Result<Vec<Change>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT l.revision, l.key, l.value, l.deleted, p.revision, p.value
             FROM log l LEFT JOIN log p ON p.revision = l.previous
             WHERE l.revision > ?1 AND l.revision < ?2 AND substr(l.key, 1, length(?3)) = ?3
             ORDER BY l.revision LIMIT ?4",
        )?;
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(
            params![to_sql(query.after), to_sql(query.before), query.prefix, limit],
            |row| {
                let previous = match row.get::<_, Option<i64>>(4)? {
                    Some(revision) => Some(Entry {
                        revision: from_sql(revision),
                        value: Bytes::copy_from_slice(row.get_ref(5)?.as_blob()?),
                    }),
                    None => None,
                };
                Ok(Change {
                    revision: from_sql(row.get(0)?),
                    key: Arc::from(row.get_ref(1)?.as_str()?),
                    value: Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?),
                    operation: operation(row.get(3)?),
                    previous,
                })
            },
        )?;
        rows.collect()
    }
}

/// Which changes to read from the log.
pub(crate) struct ChangesQuery<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) after: Revision,
    pub(crate) before: Revision,
    pub(crate) limit: usize,
}

fn mark(path: &Path) -> std::io::Result<()> {
    std::fs::File::create(path)?.sync_all()?;
    path.parent().map_or(Ok(()), |directory| std::fs::File::open(directory)?.sync_all())
}

fn check_format(connection: &Connection) -> rusqlite::Result<i64> {
    let id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if id == 0 && format == 0 && tables == 0 {
        0
    } else if id == APPLICATION_ID {
        format
    } else {
        -1
    })
}

fn prepare(connection: &Connection, max_bytes: Option<u64>) -> rusqlite::Result<()> {
    // EXCLUSIVE: this is the only connection, so the WAL needs no shared-memory index beside the file.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 2000;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA cache_size = -4096;",
    )?;
    if let Some(bytes) = max_bytes {
        let page: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))?.into();
        connection.pragma_update(None, "max_page_count", i64::try_from(bytes / page).unwrap_or(i64::MAX))?;
    }
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TABLE IF NOT EXISTS log (
           revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL,
           previous INTEGER NOT NULL, deleted INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS compacted (revision INTEGER NOT NULL);
         INSERT INTO compacted (revision) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM compacted);
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {FORMAT};
         COMMIT;"
    ))
}

fn operation(deleted: bool) -> Operation {
    if deleted { Operation::Delete } else { Operation::Put }
}

fn from_sql(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

fn to_sql(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
