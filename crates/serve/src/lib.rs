//! The accept loop: TLS with a deadline, HTTP/1 and HTTP/2, peer certificates, limits, graceful shutdown.
