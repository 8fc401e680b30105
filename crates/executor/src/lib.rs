//! Runs one step in a sandbox: its logs, limits and exit.
