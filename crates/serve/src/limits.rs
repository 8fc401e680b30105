use std::time::Duration;

/// What a peer may take of a listener. The defaults suit an API listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long an HTTP/1 connection may take over a request's head, the wait for it included.
    pub header_read: Duration,
    /// Size of a request's head.
    pub header_bytes: u32,
    /// Number of a request's header fields, on HTTP/1.
    pub headers: usize,
    /// Open connections, handshakes included. More are closed at once.
    pub connections: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
    /// Receive window of one HTTP/2 stream. The connection's window is this times `streams`, so that streams whose
    /// bodies nobody reads cannot stall the others.
    pub stream_window: u32,
    /// How often an HTTP/2 peer is pinged.
    pub ping_interval: Duration,
    /// How long it may take to answer before the connection is closed.
    pub ping_timeout: Duration,
    /// How long open requests may go on after shutdown began.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            // Longer than clients keep idle connections in their pools (90 s is common), so that the client closes first.
            header_read: Duration::from_secs(100),
            header_bytes: 64 * 1024,
            headers: 128,
            connections: 4096,
            streams: 256,
            stream_window: 256 * 1024,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            drain: Duration::from_secs(10),
        }
    }
}
