//! The platform's listeners, bound before anything starts, so that a taken port is the first error.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::Error;

/// Which ports a platform takes.
#[derive(Clone, Debug)]
pub enum Ports {
    /// These, or an error that names the taken one.
    Fixed(PortNumbers),
    /// Whatever is free.
    Auto,
}

impl Default for Ports {
    fn default() -> Self {
        Self::Fixed(PortNumbers::default())
    }
}

/// A port number for each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Binds every listener on loopback.
    pub(crate) fn bind(ports: &Ports) -> Result<Self, Error> {
        let wanted = match ports {
            Ports::Fixed(numbers) => Some(numbers),
            Ports::Auto => None,
        };
        let port = |pick: fn(&PortNumbers) -> u16| wanted.map_or(0, pick);
        let (control_plane, control_plane_address) = bind(port(|p| p.control_plane), "control plane API")?;
        let (build_plane, build_plane_address) = bind(port(|p| p.build_plane), "build plane API")?;
        let (agents, agents_address) = bind(port(|p| p.agents), "agents")?;
        let (gateway, gateway_address) = bind(port(|p| p.gateway), "gateway")?;
        let (health, health_address) = bind(port(|p| p.health), "health and metrics")?;
        let (registry, registry_address) = bind(port(|p| p.registry), "registry")?;
        let (git, git_address) = bind(port(|p| p.git), "git")?;
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
    bound().map_err(|source| Error::PortTaken { port, purpose, address: ADDRESS, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_purpose() {
        let holder = TcpListener::bind((ADDRESS, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let numbers =
            PortNumbers { control_plane: 0, build_plane: 0, agents: taken, ..PortNumbers::default() };
        let Err(error) = Listeners::bind(&Ports::Fixed(numbers)) else { panic!("the port was not taken") };
        assert_eq!(error.to_string(), format!("port {taken} (agents) on 127.0.0.1 is taken"));
        assert!(error.hint().unwrap().contains("--ports auto"));
    }

    #[test]
    fn auto_takes_seven_different_ports() {
        let listeners = Listeners::bind(&Ports::Auto).unwrap();
        let e = listeners.endpoints;
        let mut ports = [e.control_plane, e.build_plane, e.agents, e.gateway, e.health, e.registry, e.git]
            .map(|address| address.port())
            .to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 7);
    }
}
