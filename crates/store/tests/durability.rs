//! What "acknowledged" means, as the kernel sees it.
//!
//! Killing a process proves nothing about durability, because the page cache survives it. So this test watches the
//! system calls of a store at work: between two acknowledgements there must be a completed sync of the store's file.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use buildplane_store::{Config, Expect, Store, Value};

const WRITES: usize = 40;
const CHILD: &str = "BUILDPLANE_STORE_DURABILITY_CHILD";

/// Not a test of its own: what the traced process does. Run without the variable it has nothing to do.
#[tokio::test]
async fn traced_child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = Store::open(directory, Config::default()).unwrap();
    let mut out = std::io::stdout();
    for number in 0..WRITES {
        store.write(&format!("key-{number}"), Value::plain("value"), Expect::Absent).await.unwrap();
        out.write_all(format!("acknowledged {number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
    store.close().await;
}

#[test]
fn every_acknowledged_write_was_synced_before() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let status = Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", "trace=fdatasync,fsync,write", "-s", "64", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "traced_child", "--nocapture", "--test-threads=1"])
        .env(CHILD, &data)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("strace is installed by scripts/setup --test");
    assert!(status.success());

    let mut synced = false;
    let mut acknowledged = 0;
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        if completes_sync(line, &data) {
            synced = true;
        } else if line.contains("\"acknowledged ") {
            assert!(synced, "write {acknowledged} was acknowledged without a sync since the one before");
            acknowledged += 1;
            synced = false;
        }
    }
    assert_eq!(acknowledged, WRITES);
}

/// A sync of one of the store's files that returned 0. strace splits a call that another thread interrupts in two lines;
/// the second has the result and no path.
fn completes_sync(line: &str, data: &Path) -> bool {
    let whole =
        (line.contains("fdatasync(") || line.contains("fsync(")) && line.contains(&*data.to_string_lossy());
    let resumed = line.contains("fdatasync resumed>") || line.contains("fsync resumed>");
    (whole || resumed) && line.trim_end().ends_with("= 0")
}
