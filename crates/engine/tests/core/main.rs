//! The core against scripts: what a run does, step by step, as text; and what is left of it when the engine dies.

mod garbage;
mod golden;
mod hostile;
mod restart;
mod shipped;
mod world;
