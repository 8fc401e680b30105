use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Limits and timing of one connection of upstream's protocol.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Requests that wait for their answer.
    pub requests: usize,
    /// Size of a message, and with it of a body: four thirds of the body, and its head.
    pub message_bytes: usize,
    /// How long an answer may take. Nothing tells the agent that nobody waits any more.
    pub deadline: Duration,
    /// How often the other end is pinged; it is gone when nothing came for two of these.
    pub heartbeat: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests: 128,
            message_bytes: 16 * 1024 * 1024,
            deadline: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
        }
    }
}

impl Settings {
    /// The largest body that fits into a message with `head` bytes beside it.
    pub(super) fn body_bytes(&self, head: usize) -> usize {
        self.message_bytes.saturating_sub(head) / 4 * 3
    }

    pub(crate) fn websocket(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(128 * 1024)
            // A message is written through at once; it waits for nothing that could join it.
            .write_buffer_size(0)
            .max_write_buffer_size(2 * self.message_bytes + 1024)
            .max_message_size(Some(self.message_bytes))
            .max_frame_size(Some(self.message_bytes))
    }
}
