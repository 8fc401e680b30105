//! How an agent gets from its host to another over the simulated network.

use std::io;

use buildplane_agent::{Connect, ConnectFailure, Connecting, Io};

use crate::net::Net;

/// The way from one host to another, whatever the address says.
#[derive(Debug)]
pub(crate) struct Way {
    net: Net,
    from: &'static str,
    to: &'static str,
}

impl Way {
    pub(crate) fn new(net: &Net, from: &'static str, to: &'static str) -> Self {
        Self { net: net.clone(), from, to }
    }
}

impl Connect for Way {
    fn connect<'a>(&'a self, _host: &'a str, _port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let failed = |source: io::Error| ConnectFailure::Tcp { address: self.to.to_owned(), source };
            let stream = self.net.connect(self.from, self.to).await.map_err(failed)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
