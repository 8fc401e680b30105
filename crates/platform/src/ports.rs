//! The platform's listeners, bound before anything starts, so that a taken port is the first error.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::layout::write_private;
use crate::{Error, Layout};

/// Which ports a platform takes.
#[derive(Clone, Debug)]
pub enum Ports {
    /// These, or an error that names the taken one.
    Fixed(PortNumbers),
    /// Those of the last start where they are still free, else whatever is free.
    Auto,
}

impl Default for Ports {
    fn default() -> Self {
        Self::Fixed(PortNumbers::default())
    }
}

/// A port number for each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortNumbers {
    /// The control plane's Kubernetes API.
    pub control_plane: u16,
    /// The build plane's Kubernetes API.
    pub build_plane: u16,
    /// The gateway's listener for agents.
    pub agents: u16,
    /// The gateway's internal API.
    pub gateway: u16,
    /// Health and metrics.
    pub health: u16,
    /// The container registry.
    pub registry: u16,
    /// The git server.
    pub git: u16,
}

impl Default for PortNumbers {
    fn default() -> Self {
        Self {
            control_plane: 6443,
            build_plane: 6444,
            agents: 8443,
            gateway: 8444,
            health: 8080,
            registry: 5050,
            git: 5051,
        }
    }
}

impl PortNumbers {
    const ANY: Self =
        Self { control_plane: 0, build_plane: 0, agents: 0, gateway: 0, health: 0, registry: 0, git: 0 };
}

/// Where a platform's parts answer.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The control plane's Kubernetes API.
    pub control_plane: SocketAddr,
    /// The build plane's Kubernetes API.
    pub build_plane: SocketAddr,
    /// The gateway's listener for agents.
    pub agents: SocketAddr,
    /// The gateway's internal API.
    pub gateway: SocketAddr,
    /// Health and metrics, plain HTTP.
    pub health: SocketAddr,
    /// The container registry.
    pub registry: SocketAddr,
    /// The git server.
    pub git: SocketAddr,
}

impl Endpoints {
    fn port_numbers(&self) -> PortNumbers {
        PortNumbers {
            control_plane: self.control_plane.port(),
            build_plane: self.build_plane.port(),
            agents: self.agents.port(),
            gateway: self.gateway.port(),
            health: self.health.port(),
            registry: self.registry.port(),
            git: self.git.port(),
        }
    }
}

/// The bound listeners. The registry's port is only reserved: its own process binds it.
pub(crate) struct Listeners {
    pub(crate) control_plane: TcpListener,
    pub(crate) build_plane: TcpListener,
    pub(crate) agents: TcpListener,
    pub(crate) gateway: TcpListener,
    pub(crate) health: TcpListener,
    pub(crate) registry: TcpListener,
    pub(crate) git: TcpListener,
    pub(crate) endpoints: Endpoints,
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Listeners {
    /// Binds every listener on loopback, and remembers where.
    ///
    /// What is written down elsewhere (a run's repository, an image's name, a copy of the kubeconfig) holds these
    /// ports, so that a restart had better find them again.
    pub(crate) fn bind(ports: &Ports, layout: &Layout) -> Result<Self, Error> {
        let last = || fs::read(layout.ports()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let (wanted, free_otherwise) = match ports {
            Ports::Fixed(numbers) => (*numbers, false),
            Ports::Auto => (last().unwrap_or(PortNumbers::ANY), true),
        };
        let listeners = Self::bind_all(&wanted, free_otherwise)?;
        let taken = listeners.endpoints.port_numbers();
        if last() != Some(taken) {
            // Seven numbers always serialise.
            write_private(&layout.ports(), &serde_json::to_vec(&taken).unwrap_or_default())?;
        }
        Ok(listeners)
    }

    fn bind_all(wanted: &PortNumbers, free_otherwise: bool) -> Result<Self, Error> {
        let bind = |port: u16, purpose: &'static str| match bind(port, purpose) {
            Err(_) if free_otherwise && port != 0 => bind(0, purpose),
            bound => bound,
        };
        let (control_plane, control_plane_address) = bind(wanted.control_plane, "control plane API")?;
        let (build_plane, build_plane_address) = bind(wanted.build_plane, "build plane API")?;
        let (agents, agents_address) = bind(wanted.agents, "agents")?;
        let (gateway, gateway_address) = bind(wanted.gateway, "gateway")?;
        let (health, health_address) = bind(wanted.health, "health and metrics")?;
        let (registry, registry_address) = bind(wanted.registry, "registry")?;
        let (git, git_address) = bind(wanted.git, "git")?;
        let endpoints = Endpoints {
            control_plane: control_plane_address,
            build_plane: build_plane_address,
            agents: agents_address,
            gateway: gateway_address,
            health: health_address,
            registry: registry_address,
            git: git_address,
        };
        Ok(Self { control_plane, build_plane, agents, gateway, health, registry, git, endpoints })
    }
}

fn bind(port: u16, purpose: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = || -> io::Result<_> {
        let listener = TcpListener::bind(SocketAddr::new(ADDRESS, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortTaken { port, purpose, address: ADDRESS, source },
        _ => Error::Bind { port, purpose, address: ADDRESS, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(home: &tempfile::TempDir) -> Layout {
        let layout = Layout::new(home.path().join("data"));
        layout.create().unwrap();
        layout
    }

    #[test]
    fn a_port_that_cannot_be_had_is_named_with_its_purpose_and_a_remedy() {
        let home = tempfile::tempdir().unwrap();
        let holder = TcpListener::bind((ADDRESS, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let numbers = PortNumbers { agents: taken, ..PortNumbers::ANY };
        let Err(error) = Listeners::bind(&Ports::Fixed(numbers), &layout(&home)) else {
            panic!("the port was not taken")
        };
        assert_eq!(error.to_string(), format!("port {taken} (agents) on 127.0.0.1 is taken"));
        assert!(error.hint().unwrap().contains("--ports auto"));
    }

    #[test]
    fn auto_takes_seven_different_ports_and_takes_them_again() {
        let home = tempfile::tempdir().unwrap();
        let layout = layout(&home);
        let first = Listeners::bind(&Ports::Auto, &layout).unwrap().endpoints;
        let e = &first;
        let mut ports = [e.control_plane, e.build_plane, e.agents, e.gateway, e.health, e.registry, e.git]
            .map(|address| address.port())
            .to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 7);
        assert_eq!(Listeners::bind(&Ports::Auto, &layout).unwrap().endpoints, first);

        // One is taken meanwhile: the others stay.
        let _holder = TcpListener::bind(first.git).unwrap();
        let moved = Listeners::bind(&Ports::Auto, &layout).unwrap().endpoints;
        assert_ne!(moved.git, first.git);
        assert_eq!(Endpoints { git: first.git, ..moved }, first);

        // What cannot be read is as good as nothing.
        fs::write(layout.ports(), "garbage").unwrap();
        Listeners::bind(&Ports::Auto, &layout).unwrap();
    }
}
