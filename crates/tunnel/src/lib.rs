//! HTTP/2 over a WebSocket byte stream, both ends.
