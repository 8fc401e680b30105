//! Runs the Pods of the embedded build plane through an executor and keeps their logs.
