//! The engine against the embedded API server, with a node that does what a pod's arguments say.

mod cluster;
mod crash;
mod load;
mod node;
mod runs;
