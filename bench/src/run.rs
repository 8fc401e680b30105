//! The whole benchmark: what is measured, in which order, how often.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::backend::{LOG, SMALL};
use crate::fleet::plane_id;
use crate::load::Found;
use crate::pki::Pki;
use crate::process::{Running, output, own};
use crate::product::{Gateway, PREFIX};
use crate::report::Report;
use crate::{cancel, lag, limits};

/// The longest that a process of ours takes to be ready.
const READY: Duration = Duration::from_secs(20);
/// The streams of one tunnel connection, how many callers go on beside those that never read, and how many streams those
/// leave: a stream is free again only a moment after its answer was read.
const STREAMS: usize = 512;
const OTHERS: usize = 16;
const SPARE: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product
    #[arg(long, value_name = "FILE")]
    buildplane: PathBuf,
    /// Where the numbers are written
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// How often each contestant has its turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// How long a turn takes
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 900)]
    turn: u64,
    /// Idle agents
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    idle_agents: usize,
    /// Agents that lose their gateway
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    storm_agents: usize,
    /// Only what begins with one of these, by the names of the numbers
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Only these contestants (direct, bare, tunnel, json): for profilers
    #[arg(long, value_name = "NAME")]
    contestant: Vec<String>,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// One way from the load to the backend.
struct Contestant {
    name: &'static str,
    address: SocketAddr,
    prefix: &'static str,
}

const ALL: [&str; 4] = ["direct", "bare", "tunnel", "json"];

/// What counts of what a load found.
#[derive(Clone, Copy)]
enum Unit {
    P50,
    Rps,
    Mbps,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50_us",
            Self::Rps => "rps",
            Self::Mbps => "mbps",
        }
    }

    fn of(self, found: &Found) -> f64 {
        match self {
            Self::P50 => found.p50_us,
            Self::Rps => found.rps,
            Self::Mbps => found.mbps,
        }
    }
}

/// Measures everything that was asked for, prints it and writes it.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("buildplane-bench-").tempdir()?;
    let pki = Pki::make(dir.path())?;
    let n_files = limits::raise_open_files();
    let mut report = Report::default();

    let mut backend = start("backend", &[], &pki)?;
    let backend_address: SocketAddr = backend.told("backend", READY)?.parse()?;
    {
        let chain = Chain::start("bare", backend_address, &pki)?;
        let json = Chain::start("json", backend_address, &pki)?;
        let gateway = Gateway::start(&args.buildplane, "gateway", &pki).await?;
        let _agent = gateway.agent(&pki, backend_address).await?;
        let contestants = [
            Contestant { name: "direct", address: backend_address, prefix: "" },
            Contestant { name: "bare", address: chain.callers, prefix: "" },
            Contestant { name: "tunnel", address: gateway.internal, prefix: PREFIX },
            Contestant { name: "json", address: json.callers, prefix: "" },
        ];
        throughput(&args, &pki, &contestants, &mut report)?;
        if args.wants("cancel") {
            let p99 = cancel::run(&pki, gateway.internal, PREFIX, backend_address, 200).await?;
            report.add("cancel_p99_ms", p99);
        }
        if args.wants("slow") {
            slow_readers(&args, &pki, &gateway, &mut report)?;
        }
    }
    if args.wants("idle") {
        idle(&args, &pki, n_files, &mut report).await?;
    }
    if args.wants("storm") {
        storm(&args, &pki, &mut report).await?;
    }
    drop(backend);
    if args.wants("status") {
        report.add("status_lag_p99_ms", lag::run(&args.buildplane, dir.path()).await?);
    }
    report.print();
    report.write(&args.output)
}

/// A gateway and an agent of this program.
struct Chain {
    callers: SocketAddr,
    _gateway: Running,
    _agent: Running,
}

impl Chain {
    fn start(name: &str, backend: SocketAddr, pki: &Pki) -> anyhow::Result<Self> {
        let mut gateway = start(&format!("{name}-gateway"), &[], pki)?;
        let agents = gateway.told("agents", READY)?;
        let callers = gateway.told("callers", READY)?.parse()?;
        let mut agent = start(&format!("{name}-agent"), &[&agents, &backend.to_string()], pki)?;
        agent.told("connected", READY)?;
        Ok(Self { callers, _gateway: gateway, _agent: agent })
    }
}

fn start(name: &str, arguments: &[&str], pki: &Pki) -> anyhow::Result<Running> {
    let dir = path(pki.dir())?;
    let arguments: Vec<&str> = [name, dir].iter().chain(arguments).copied().collect();
    Running::start(name, own(&arguments)?, pki.dir())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the temporary directory's name is not UTF-8")
}

fn load(pki: &Pki, address: SocketAddr, path: &str, n_callers: usize, millis: u64) -> anyhow::Result<Found> {
    let dir = self::path(pki.dir())?;
    let (address, callers, millis) = (address.to_string(), n_callers.to_string(), millis.to_string());
    let text = output(own(&["load", dir, &address, path, &callers, &millis])?)?;
    Ok(serde_json::from_str(&text)?)
}

/// Small and bulk requests. The contestants take turns, A B C A B C, so that what disturbs the machine disturbs all.
fn throughput(args: &Args, pki: &Pki, contestants: &[Contestant], report: &mut Report) -> anyhow::Result<()> {
    let bulk = format!("{LOG}?limitBytes=1048576");
    for (kind, path, n_callers, unit, names) in [
        ("small_1", SMALL, 1, Unit::P50, &["direct", "bare", "tunnel"][..]),
        ("small_64", SMALL, 64, Unit::Rps, &ALL),
        ("bulk_8", &bulk, 8, Unit::Mbps, &ALL),
        ("bulk_1", &bulk, 1, Unit::Mbps, &["tunnel", "bare"]),
    ] {
        if !args.wants(kind) {
            continue;
        }
        let entrants: Vec<_> = contestants
            .iter()
            .filter(|found| names.contains(&found.name))
            .filter(|found| {
                args.contestant.is_empty() || args.contestant.iter().any(|name| name == found.name)
            })
            .collect();
        let mut numbers = vec![Vec::new(); entrants.len()];
        for _ in 0..args.rounds {
            for (entrant, numbers) in entrants.iter().zip(&mut numbers) {
                let path = format!("{}{path}", entrant.prefix);
                let found = load(pki, entrant.address, &path, n_callers, args.turn)
                    .with_context(|| format!("{kind}, {}", entrant.name))?;
                numbers.push(unit.of(&found));
            }
        }
        for (entrant, numbers) in entrants.iter().zip(numbers) {
            let name = format!("{kind}_{}_{}", entrant.name, unit.name());
            if (kind, entrant.name) == ("bulk_1", "bare") {
                report.note(&name, median(numbers));
            } else {
                report.add(&name, median(numbers));
            }
        }
    }
    Ok(())
}

/// What callers that never read cost the others.
fn slow_readers(args: &Args, pki: &Pki, gateway: &Gateway, report: &mut Report) -> anyhow::Result<()> {
    let dir = path(pki.dir())?;
    let address = gateway.internal.to_string();
    let small = format!("{PREFIX}{SMALL}");
    let large = format!("{PREFIX}{LOG}?limitBytes={}", 64 * 1024 * 1024);
    let streams = (STREAMS - SPARE).to_string();
    let (mut without, mut beside, mut n_held) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..args.rounds.clamp(1, 3) {
        without.push(load(pki, gateway.internal, &small, OTHERS, args.turn)?.p99_us);
        let mut slow = Running::start("slow", own(&["slow", dir, &address, &large, &streams])?, pki.dir())?;
        n_held = slow.told("holding", READY)?.parse()?;
        beside.push(load(pki, gateway.internal, &small, OTHERS, args.turn)?.p99_us);
    }
    report.add("slow_reader_p99_ratio", median(beside) / median(without));
    report.note("unread bodies of 64 MiB", n_held);
    Ok(())
}

/// Memory of agents that are connected and do nothing, in a gateway of their own.
async fn idle(args: &Args, pki: &Pki, n_files: usize, report: &mut Report) -> anyhow::Result<()> {
    // A connection each at either end, in processes of their own; some are the processes' own.
    let n_agents = args.idle_agents.min(n_files.saturating_sub(512));
    let gateway = Gateway::start(&args.buildplane, "idle-gateway", pki).await?;
    let at_start = gateway.process.pss_kib()?;
    register(&gateway, pki, n_agents).await?;
    let registered = gateway.process.pss_kib()?;
    let _fleet = connect(&gateway, pki, n_agents)?;
    gateway.until_connected(pki, n_agents, READY).await?;
    tokio::time::sleep(2 * buildplane_tunnel::Settings::default().heartbeat + Duration::from_secs(1)).await;
    gateway.until_connected(pki, n_agents, READY).await?;
    let idle = gateway.process.pss_kib()?;
    let per_agent = |from: u64| idle.saturating_sub(from) as f64 / n_agents as f64;
    report.add("idle_agents", n_agents as f64);
    report.add("idle_agent_kib", per_agent(registered));
    report.note("idle agent and its registered plane, KiB", per_agent(at_start));
    Ok(())
}

/// How long agents need to be back after their gateway was killed.
async fn storm(args: &Args, pki: &Pki, report: &mut Report) -> anyhow::Result<()> {
    let n_agents = args.storm_agents;
    let gateway = Gateway::start(&args.buildplane, "storm-gateway", pki).await?;
    register(&gateway, pki, n_agents).await?;
    let _fleet = connect(&gateway, pki, n_agents)?;
    gateway.until_connected(pki, n_agents, READY).await?;
    let killed = Instant::now();
    let gateway = gateway.restart("storm-gateway-2", pki).await?;
    register(&gateway, pki, n_agents).await?;
    gateway.until_connected(pki, n_agents, Duration::from_mins(1)).await?;
    report.add("storm_agents", n_agents as f64);
    report.add("storm_seconds", killed.elapsed().as_secs_f64());
    Ok(())
}

async fn register(gateway: &Gateway, pki: &Pki, n_agents: usize) -> anyhow::Result<()> {
    let planes: Vec<_> = (0..n_agents).map(|index| (plane_id(index), plane_id(index))).collect();
    gateway.register(pki, &planes).await
}

fn connect(gateway: &Gateway, pki: &Pki, n_agents: usize) -> anyhow::Result<Running> {
    let mut fleet = start("fleet", &[&gateway.agents.to_string(), &n_agents.to_string()], pki)?;
    fleet.told("connected", Duration::from_mins(2))?;
    Ok(fleet)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
