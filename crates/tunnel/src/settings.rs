use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The largest window that HTTP/2 allows.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The largest HTTP/2 frame that is accepted.
pub(crate) const FRAME: u32 = 64 * 1024;
/// The most bytes that one WebSocket message of ours carries.
pub(crate) const MESSAGE: usize = 128 * 1024;

/// Limits and timing of one tunnel connection. Both ends should use the same.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Concurrent streams of one connection.
    pub streams: u32,
    /// Receive window of one stream; the connection's window is this times `streams`.
    pub stream_window: u32,
    /// How often the other end is pinged, and how long it may take to answer: a half-open connection is found within
    /// two of these.
    pub heartbeat: Duration,
    /// Size of a stream's header list.
    pub header_bytes: u32,
    /// How long open streams may go on after shutdown began.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams: 512,
            stream_window: 1024 * 1024,
            heartbeat: Duration::from_secs(15),
            header_bytes: 64 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Never less than the sum of the streams' windows. Twenty unread streams of 1 MiB on a window of 4 MiB stalled every
    /// other stream for good.
    pub(crate) fn connection_window(&self) -> u32 {
        self.streams.saturating_mul(self.stream_window()).min(MAX_WINDOW)
    }

    /// What was asked for, or less where the sum would not fit into the largest window.
    pub(crate) fn stream_window(&self) -> u32 {
        self.stream_window.min(MAX_WINDOW / self.streams.max(1))
    }
}

/// Messages above the limit are refused: the other end cannot make this one buffer more than this.
pub(crate) fn websocket() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(MESSAGE)
        .max_write_buffer_size(8 * MESSAGE)
        .max_message_size(Some(2 * MESSAGE))
        .max_frame_size(Some(2 * MESSAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_window_holds_every_stream_window() {
        for (streams, stream_window) in
            [(512, 1 << 20), (1, 65_535), (4096, 4 << 20), (u32::MAX, 1 << 20), (0, 1)]
        {
            let settings = Settings { streams, stream_window, ..Settings::default() };
            let sum = u64::from(settings.streams) * u64::from(settings.stream_window());
            assert!(u64::from(settings.connection_window()) >= sum, "{streams} x {stream_window}");
        }
    }
}
