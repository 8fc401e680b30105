//! Each service of the platform, given what it needs to know and nothing else.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use buildplane_agent::{Agent, PolicySource, ServerCa};
use buildplane_api::names::{PlaneId, PlaneType};
use buildplane_gateway::{AUDIENCE, AgentListener, ControlPlane, Gateway, InternalListener, Roles};
use buildplane_node::{Node, SharedMount};
use buildplane_tls::{Alpn, AnchorStore, ClientAuth, ServerIdentity};
use kube::Client;

use crate::credentials::Login;
use crate::pki::Pki;
use crate::registry::front::{self, Backend};
use crate::step_files::REGISTRY_NAME;
use crate::tasks::Tasks;
use crate::{Endpoints, Error, Layout};

const GATEWAY_NAMES: [&str; 2] =
    ["cluster-gateway", "cluster-gateway.openchoreo-control-plane.svc.cluster.local"];
const CONTROLLERS: &str = "buildplane:controllers";

/// The node that runs the build plane's pods.
pub(crate) fn node(layout: &Layout, client: Client, shared: Vec<SharedMount>) -> Result<Node, Error> {
    let config =
        buildplane_node::Config { extra_mounts: shared, ..buildplane_node::Config::new(layout.node()) };
    Node::new(client, config).map_err(|source| Error::Part { part: "the node", source: Box::new(source) })
}

/// The gateway; its health listener is the platform's. It asks the control plane through `reviews` who somebody is and what
/// they may send to planes, and nothing else.
pub(crate) fn gateway(
    pki: &Pki,
    reviews: Client,
    (agents, internal, health): (TcpListener, TcpListener, TcpListener),
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    let config = buildplane_gateway::Config {
        agents: AgentListener {
            listener: asynchronous(agents)?,
            identity: ServerIdentity::new(&pki.gateway.server(&GATEWAY_NAMES)?),
        },
        internal: InternalListener {
            listener: asynchronous(internal)?,
            identity: ServerIdentity::new(&pki.control_plane.server(&GATEWAY_NAMES)?),
            callers: AnchorStore::new(pki.control_plane.anchors()?),
            authorizer: Arc::new(Roles { controllers: set(CONTROLLERS), users: set("system:masters") }),
            control_plane: Some(Arc::new(ControlPlane::new(reviews, AUDIENCE))),
        },
        health: Some(asynchronous(health)?),
        hosts: GATEWAY_NAMES.map(str::to_owned).to_vec(),
        peers: None,
        advertise: None,
        tunnel: buildplane_tunnel::Settings::default(),
        upstream_agents: None,
        limits: buildplane_gateway::Limits::default(),
        metrics: buildplane_gateway::Metrics::default(),
    };
    let gateway = Gateway::new(config)
        .map_err(|source| Error::Part { part: "the gateway", source: Box::new(source) })?;
    tasks.run("gateway", gateway.run(tasks.token()));
    Ok(())
}

/// A router behind TLS.
pub(crate) fn serve(
    part: &'static str,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let limits = buildplane_serve::Limits::default();
    tasks.run(part, buildplane_serve::serve(asynchronous(listener)?, tls, router, limits, tasks.token()));
    Ok(())
}

/// What stands before the registry, on the port that everybody knows.
pub(crate) fn registry_front(
    listener: TcpListener,
    pki: &Pki,
    login: Login,
    (registry, between): (SocketAddr, Login),
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let backend = Backend {
        address: format!("https://{registry}"),
        login: between,
        send: pki.services.http_client(registry)?,
    };
    let tls = pki.services.server_config(&[REGISTRY_NAME], ClientAuth::None, &[Alpn::H2, Alpn::Http1])?;
    serve("registry front", listener, tls, front::router(login, backend), tasks)
}

/// The workflow engine.
pub(crate) fn engine(client: Client, tasks: &mut Tasks) {
    let engine = buildplane_engine::Engine::new(client, buildplane_engine::Config::default());
    tasks.run("engine", engine.run(tasks.token()));
}

/// The controllers: they know the build plane only as the gateway's internal listener.
pub(crate) fn controllers(
    pki: &Pki,
    control_plane: Client,
    endpoints: &Endpoints,
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let uri = format!("https://{}", endpoints.gateway)
        .parse()
        .map_err(|source| Error::Client { api: "gateway", source: Box::new(source) })?;
    let gateway = pki.control_plane.client_config(uri, CONTROLLERS, &[])?;
    let config = buildplane_controllers::Config::new(control_plane, gateway);
    tasks.run("controllers", buildplane_controllers::run(config, tasks.token()));
    Ok(())
}

/// The agent of the platform's own plane. It dials the gateway as it would from another machine.
pub(crate) fn agent(
    build_plane: kube::Config,
    endpoints: &Endpoints,
    gateway_ca: &str,
    policy: PathBuf,
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Part { part: "the agent", source };
    let gateway = format!("wss://{}/ws", endpoints.agents).parse().map_err(|e| failed(Box::new(e)))?;
    let plane_id = PlaneId::parse("default").map_err(|e| failed(Box::new(e)))?;
    let mut config = buildplane_agent::Config::new(
        gateway,
        ServerCa::Pem(gateway_ca.to_owned()),
        (PlaneType::BuildPlane, plane_id),
        build_plane,
    );
    config.policy = PolicySource::File(policy);
    let agent = Agent::new(config).map_err(|e| failed(Box::new(e)))?;
    tasks.run("agent", agent.run(tasks.token()));
    Ok(())
}

fn asynchronous(listener: TcpListener) -> Result<tokio::net::TcpListener, Error> {
    tokio::net::TcpListener::from_std(listener)
        .map_err(|source| Error::Part { part: "a listener", source: Box::new(source) })
}
