use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

/// What one read may take. Small, because an upgraded stream costs two of these for as long as it is open.
const CHUNK: usize = 32 * 1024;

/// Bytes that an upgraded stream has carried, seen from beside it.
#[derive(Debug, Default)]
pub struct Carried {
    there: AtomicU64,
    back: AtomicU64,
}

impl Carried {
    /// From the first end to the second.
    pub fn there(&self) -> u64 {
        self.there.load(Ordering::Relaxed)
    }

    /// From the second end to the first.
    pub fn back(&self) -> u64 {
        self.back.load(Ordering::Relaxed)
    }
}

/// Why bytes are no longer copied.
#[derive(Debug, thiserror::Error)]
#[error("an end of the upgraded stream failed")]
pub struct SpliceError(#[source] io::Error);

/// How two ends were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spliced {
    /// Each has said all it had to say.
    Complete,
    /// One closed its side, and the other went on for longer than `linger`.
    Lingered,
}

/// How long an upgraded stream waits for who says or takes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the second end to close after the first has: a WebSocket has nothing more to say to who is gone.
    pub linger: Duration,
    /// For an end to take what was said to it. While it takes nothing, nothing is read from the other, whose going away
    /// stays unseen.
    pub stalled: Duration,
}

/// Copies bytes both ways between two ends of upgraded connections, until both have ended. When one ends, the other is
/// told so: a half-closed connection.
///
/// # Cancel safety
///
/// Dropping the future drops both ends, and with them what they still had to send.
pub async fn splice<A, B>(
    one: A,
    other: B,
    carried: &Carried,
    patience: Patience,
) -> Result<Spliced, SpliceError>
where
    A: AsyncRead + AsyncWrite + Send,
    B: AsyncRead + AsyncWrite + Send,
{
    let (one_reads, one_writes) = split(one);
    let (other_reads, other_writes) = split(other);
    let mut there = pin!(copy(one_reads, other_writes, &carried.there, patience.stalled));
    let mut back = pin!(copy(other_reads, one_writes, &carried.back, patience.stalled));
    let second = tokio::select! {
        ended = there.as_mut() => {
            ended?;
            tokio::time::timeout(patience.linger, back).await
        }
        ended = back.as_mut() => {
            ended?;
            tokio::time::timeout(patience.linger, there).await
        }
    };
    match second {
        Ok(ended) => ended.map(|()| Spliced::Complete),
        Err(_elapsed) => Ok(Spliced::Lingered),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &AtomicU64,
    stalled: Duration,
) -> Result<(), SpliceError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let n_bytes = from.read(&mut chunk).await.map_err(SpliceError)?;
        let read = chunk.get(..n_bytes).unwrap_or_default();
        if read.is_empty() {
            return in_time(stalled, to.shutdown()).await;
        }
        in_time(stalled, async {
            to.write_all(read).await?;
            to.flush().await
        })
        .await?;
        carried.fetch_add(n_bytes as u64, Ordering::Relaxed);
    }
}

async fn in_time(limit: Duration, taken: impl Future<Output = io::Result<()>>) -> Result<(), SpliceError> {
    let taken = tokio::time::timeout(limit, taken).await;
    taken.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())).map_err(SpliceError)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const PATIENCE: Patience = Patience { linger: Duration::from_secs(5), stalled: Duration::from_secs(5) };

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_end_is_told_of_the_others() {
        let (caller, near) = duplex(64);
        let (mut pod, far) = duplex(64);
        let carried = Carried::default();
        let (mut caller_reads, mut caller_writes) = split(caller);
        let pod = async {
            let mut asked = String::new();
            pod.read_to_string(&mut asked).await.unwrap();
            // The caller has said all, and hears the rest.
            pod.write_all(&[b'x'; 1000]).await.unwrap();
            pod.shutdown().await.unwrap();
            asked
        };
        let caller = async {
            caller_writes.write_all(b"question").await.unwrap();
            caller_writes.shutdown().await.unwrap();
            let mut heard = Vec::new();
            caller_reads.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let (spliced, asked, heard) = tokio::join!(splice(near, far, &carried, PATIENCE), pod, caller);
        assert_eq!(spliced.unwrap(), Spliced::Complete);
        assert_eq!((asked.as_str(), heard.len()), ("question", 1000));
        assert_eq!((carried.there(), carried.back()), (8, 1000));
    }

    #[tokio::test]
    async fn who_goes_on_after_the_other_has_gone_is_cut_off() {
        let (caller, near) = duplex(64);
        let (_pod, far) = duplex(64);
        drop(caller);
        let patience = Patience { linger: Duration::from_millis(10), ..PATIENCE };
        let spliced = splice(near, far, &Carried::default(), patience).await;
        assert_eq!(spliced.unwrap(), Spliced::Lingered);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_not_waited_for_without_end() {
        let (mut caller, near) = duplex(4096);
        let (_pod, far) = duplex(64);
        caller.write_all(&[0; 4096]).await.unwrap();
        let patience = Patience { stalled: Duration::from_millis(10), ..PATIENCE };
        assert!(splice(near, far, &Carried::default(), patience).await.is_err());
    }

    #[tokio::test]
    async fn an_end_that_breaks_ends_both() {
        let (caller, near) = duplex(64);
        let (mut pod, far) = duplex(64);
        drop(caller);
        // Nobody is there to read what the pod says.
        pod.write_all(b"x").await.unwrap();
        assert!(splice(near, far, &Carried::default(), PATIENCE).await.is_err());
        assert_eq!(pod.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
