//! Gateway, agents, clusters and callers on one simulated network, in simulated time, while things go wrong.
//!
//! The seed decides what is asked, what breaks, when, and how long every piece of bytes is under way; the clock stands
//! still while anybody works. A seed that fails is replayed with `BUILDPLANE_SEED=<seed>`; `make soak` tries many.
//!
//! What must hold: an answer is the one to its question and comes from the tenant's own cluster; what changes something
//! is carried out once at most, and once exactly where it was answered; a tenant whose CA was taken away is not answered,
//! and its streams end; when everything is well again, everybody is answered again; and nothing is left behind, neither
//! tasks nor connections nor descriptors.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "shown when a seed fails: what to replay, and what had happened")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng as _;

use seed::Seed;
use world::World;

mod callers;
mod cluster;
mod net;
mod seed;
mod way;
mod world;

/// How many things go wrong in one simulation.
const FAULTS: usize = 25;

/// A runtime on this thread alone, whose clock jumps to the next timer when nobody has anything to do.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[test]
fn every_seed_keeps_tenants_apart() {
    if let Ok(seed) = std::env::var("BUILDPLANE_SEED") {
        simulate(Seed(seed.parse().unwrap()));
        return;
    }
    let n_seeds = if std::env::var_os("BUILDPLANE_SOAK").is_some() { 200 } else { 6 };
    for seed in 0..n_seeds {
        simulate(Seed(seed));
    }
}

fn simulate(seed: Seed) {
    buildplane_tls::install_crypto();
    println!("seed {}", seed.0);
    // What the first runtime of a process opens stays open.
    drop(runtime());
    let descriptors = n_descriptors();
    let runtime = runtime();
    runtime.block_on(async move {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let begun = tokio::time::Instant::now();
        let mut world = World::start(seed).await;
        world.call();
        let mut rng = seed.derive(3).rng();
        for _ in 0..FAULTS {
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..4_000))).await;
            let what = world.fault(&mut rng).await;
            println!("{:>8.3} s  {what}", begun.elapsed().as_secs_f64());
        }
        world.recover().await;
        let answered: u64 =
            world.tenants.iter().map(|tenant| tenant.n_answered.load(Ordering::Relaxed)).sum();
        println!("{:>8.3} s  {answered} requests answered", begun.elapsed().as_secs_f64());
        assert!(answered > 100, "hardly anything was answered: {answered}");
        world.stop().await;
        let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        assert_eq!(left, tasks, "tasks are left behind");
    });
    drop(runtime);
    assert_eq!(n_descriptors(), descriptors, "descriptors are left open");
}

fn n_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
