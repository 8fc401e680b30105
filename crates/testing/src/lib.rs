//! Test support: real kubectl and helm, platforms, object builders.
