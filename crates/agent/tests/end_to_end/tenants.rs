//! Many tenants of one plane id, while some of them come, change and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;

use buildplane_agent::ServerCa;
use buildplane_tls::Authority;

use crate::backend::Backend;
use crate::rig::{Caller, HOUR, Rig, SHARED, chunk, ends, text};

const TENANTS: usize = 200;
/// Every fourth tenant is left in peace.
const PEACEFUL: usize = 4;
const CALLERS: usize = 6;
const OPERATIONS: usize = 240;

/// A small generator, so that a failing run can be had again by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_0001)
}

/// What a tenant's owner has made of it last: `state / 2` counts changes, and an odd state is one under way.
#[derive(Default)]
struct Tenant {
    state: AtomicU64,
    status: AtomicU64,
}

impl Tenant {
    fn now(&self) -> (u64, u64) {
        let status = self.status.load(Ordering::SeqCst);
        (self.state.load(Ordering::SeqCst), status)
    }
}

fn namespace(tenant: usize) -> String {
    format!("team-{tenant}")
}

fn proxy(tenant: usize) -> String {
    format!("/api/proxy/buildplane/shared/{}/default/k8s", namespace(tenant))
}

/// Asks for tenants at random until told to stop. Whatever is answered must be the tenant's own, and what it should be
/// unless the tenant changed meanwhile.
async fn ask(
    mut caller: Caller,
    tenants: Arc<Vec<Tenant>>,
    done: Arc<AtomicBool>,
    seed: u64,
) -> (usize, usize) {
    let mut dice = Dice(seed);
    let (mut n_asked, mut n_served) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        let tenant = dice.roll(tenants.len());
        let before = tenants[tenant].now();
        let path = format!("/api/v1/namespaces/openchoreo-ci-{}/configmaps/n{n_asked}", namespace(tenant));
        let response = caller.get(&format!("{}{path}", proxy(tenant))).await;
        let status = u64::from(response.status().as_u16());
        let body = text(response).await;
        let after = tenants[tenant].now();
        if status == 200 {
            assert_eq!(body, path, "another's answer");
            n_served += 1;
        }
        let is_steady = before == after && before.0.is_multiple_of(2);
        assert!(
            !is_steady || status == before.1,
            "tenant {tenant}: {status} instead of {}: {body}",
            before.1
        );
        n_asked += 1;
    }
    (n_asked, n_served)
}

/// Changes one tenant, or one agent, at random.
struct Owner<'a> {
    controller: Caller,
    tenants: Arc<Vec<Tenant>>,
    ca: String,
    other: Authority,
    dice: Dice,
    rig: &'a Rig,
}

impl Owner<'_> {
    async fn operate(&mut self) {
        let tenant = self.dice.roll(TENANTS);
        let cr = format!("{}/default", namespace(tenant));
        let both = format!("{}{}", self.ca, self.other.cert_pem());
        if self.dice.roll(3) == 0 && self.tenants[tenant].now().1 == 200 {
            // A rotation is no change at all: the bundle of both, and the first alone again.
            for bundle in [both, self.ca.clone()] {
                self.controller.register(&cr, &bundle).await;
            }
            return;
        }
        if tenant.is_multiple_of(PEACEFUL) {
            return;
        }
        let changed = &self.tenants[tenant];
        changed.state.fetch_add(1, Ordering::SeqCst);
        let status = match self.dice.roll(3) {
            0 => {
                self.controller.register(&cr, &self.ca).await;
                200
            }
            1 => {
                self.controller.register(&cr, self.other.cert_pem()).await;
                503
            }
            _ => {
                let path = format!("{SHARED}/{cr}");
                let response = self.controller.send(Method::DELETE, &path, &[], "").await;
                assert_eq!(response.status(), 200);
                404
            }
        };
        changed.status.store(status, Ordering::SeqCst);
        changed.state.fetch_add(1, Ordering::SeqCst);
    }

    /// Another agent comes, and an old one goes.
    async fn replace_agent(&self, backend: &Backend) -> tokio_util::sync::DropGuard {
        let server_ca = ServerCa::Pem(self.rig.gateway_ca.cert_pem().to_owned());
        self.rig.agent_believing(backend, server_ca).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_some_tenants_do_is_nothing_to_the_others() {
    let seed = seed();
    eprintln!("SEED={seed}");
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let mut agents = Vec::new();
    for _ in 0..3 {
        agents.push(rig.agent(&backend).await);
    }
    let ca = Rig::agent_ca(&backend).await;
    let mut controller = rig.controller().await;
    for tenant in 0..TENANTS {
        controller.register(&format!("{}/default", namespace(tenant)), &ca).await;
    }
    for tenant in [0, TENANTS - 1] {
        controller.until_agents(&format!("{}/default", namespace(tenant)), 3).await;
    }
    let served = || Tenant { status: AtomicU64::new(200), ..Tenant::default() };
    let tenants: Arc<Vec<Tenant>> = Arc::new((0..TENANTS).map(|_| served()).collect());
    // Watches of those that are left in peace go on throughout.
    let mut watches = Vec::new();
    for tenant in (0..TENANTS).step_by(PEACEFUL * 5) {
        let path = format!(
            "{}/api/v1/namespaces/openchoreo-ci-{}/pods?watch=true",
            proxy(tenant),
            namespace(tenant)
        );
        let mut body = controller.get(&path).await.into_body();
        assert!(chunk(&mut body).await.is_some());
        watches.push((tenant, body));
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut asking = Vec::new();
    for index in 0..CALLERS {
        let (tenants, done) = (Arc::clone(&tenants), Arc::clone(&done));
        let caller = rig.controller().await;
        let seed = seed + 1 + u64::try_from(index).unwrap();
        asking.push(tokio::spawn(ask(caller, tenants, done, seed)));
    }
    let other = Authority::generate("other", HOUR).unwrap();
    let dice = Dice(seed);
    let mut owner =
        Owner { controller, tenants: Arc::clone(&tenants), ca: ca.clone(), other, dice, rig: &rig };
    for _ in 0..OPERATIONS {
        owner.operate().await;
    }
    for (tenant, body) in &mut watches {
        assert!(chunk(body).await.is_some(), "the watch of tenant {tenant} has ended");
    }
    // A revocation ends the streams of the one, and of nobody else.
    let (revoked, mut stream) = watches.swap_remove(1);
    tenants[revoked].state.fetch_add(1, Ordering::SeqCst);
    owner.controller.register(&format!("{}/default", namespace(revoked)), owner.other.cert_pem()).await;
    tenants[revoked].status.store(503, Ordering::SeqCst);
    tenants[revoked].state.fetch_add(1, Ordering::SeqCst);
    let begun = Instant::now();
    assert!(ends(&mut stream).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    for (tenant, body) in &mut watches {
        for _ in 0..3 {
            assert!(chunk(body).await.is_some(), "the watch of tenant {tenant} has ended");
        }
    }
    drop(watches);
    // Agents come and go under the same load.
    for _ in 0..3 {
        agents.push(owner.replace_agent(&backend).await);
        owner.controller.until_agents("team-0/default", 4).await;
        drop(agents.remove(0));
        for _ in 0..OPERATIONS / 12 {
            owner.operate().await;
        }
        owner.controller.until_agents("team-0/default", 3).await;
    }
    done.store(true, Ordering::SeqCst);
    let (mut n_asked, mut n_served) = (0, 0);
    for asked in asking {
        let (asked, served) = asked.await.unwrap();
        n_asked += asked;
        n_served += served;
    }
    eprintln!("{n_asked} requests, {n_served} served");
    assert!(n_asked > TENANTS && n_served > n_asked / 4, "{n_asked} asked, {n_served} served");
}
