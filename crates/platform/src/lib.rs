//! The local platform: PKI, ports, child processes and wiring of buildplane up.
