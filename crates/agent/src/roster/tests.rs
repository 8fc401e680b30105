use super::*;

use buildplane_wire::Replica as Named;

const SHARED: &str = "wss://gateway.test:8443/ws";

struct Play {
    roster: Roster,
    now: Instant,
    next: u64,
}

impl Play {
    fn new() -> Self {
        let now = Instant::now();
        let backoff = Backoff::seeded(SPARE, 1);
        Self { roster: Roster::new(SHARED.parse().unwrap(), backoff, now), now, next: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Who is dialled now: the replica's name, or `*` for the shared address.
    fn dialled(&mut self) -> Vec<Target> {
        self.roster.due(self.now)
    }

    fn names(targets: &[Target]) -> Vec<&str> {
        targets.iter().map(|target| target.replica.as_deref().unwrap_or("*")).collect()
    }

    /// The only target that is due, reached at `instance`.
    fn connect(&mut self, instance: &str) -> (ConnectionId, Verdict) {
        let targets = self.dialled();
        assert_eq!(targets.len(), 1, "{targets:?}");
        self.reach(&targets[0], instance)
    }

    fn reach(&mut self, target: &Target, instance: &str) -> (ConnectionId, Verdict) {
        self.next += 1;
        let id = ConnectionId(self.next);
        let generation = self.roster.generation;
        let instance = Some(instance.to_owned()).filter(|instance| !instance.is_empty());
        (id, self.roster.connected(target, (id, generation), instance, self.now))
    }

    fn told(&mut self, id: ConnectionId, instance: &str, replicas: &[(&str, bool)]) -> Option<ConnectionId> {
        let replicas = replicas
            .iter()
            .map(|(instance, addressed)| Named {
                instance: (*instance).to_owned(),
                address: addressed.then(|| format!("wss://{instance}.test/ws")),
            })
            .collect();
        self.roster.told(id, ReplicaSet { instance: instance.to_owned(), replicas }, self.now)
    }
}

fn kept() -> Verdict {
    Verdict::Keep { leave: Vec::new() }
}

#[test]
fn one_connection_is_kept_where_nobody_speaks_of_replicas() {
    let mut play = Play::new();
    let (id, verdict) = play.connect("");
    assert_eq!(verdict, kept());
    assert!(play.dialled().is_empty());
    assert_eq!(play.roster.next_due(), None);
    play.roster.ended(id, play.now);
    assert!(play.dialled().is_empty(), "not at once");
    play.pass(Duration::from_millis(200));
    assert_eq!(Play::names(&play.dialled()), ["*"]);
}

#[test]
fn attempts_without_any_connection_stay_frequent_and_begin_anew_after_a_success() {
    let mut play = Play::new();
    for _ in 0..20 {
        let target = play.dialled().pop().unwrap();
        let delay = play.roster.failed(&target, false, play.now);
        assert!(delay <= LONELY);
        play.pass(delay);
    }
    let (id, _) = play.connect("a");
    play.pass(SETTLED);
    play.roster.ended(id, play.now);
    play.pass(Duration::from_millis(100));
    assert_eq!(play.dialled().len(), 1);
}

#[test]
fn a_connection_that_ends_at_once_is_no_success() {
    let mut play = Play::new();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (id, _) = play.connect("a");
        play.roster.ended(id, play.now);
        let next = play.roster.next_due().unwrap();
        pauses.push(next - play.now);
        play.now = next;
    }
    assert!(pauses[5] > Duration::from_secs(1), "{pauses:?}");
}

#[test]
fn replicas_with_an_address_are_dialled_there() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    play.told(a, "a", &[("a", true), ("b", true), ("c", true)]);
    assert!(play.roster.next_due().unwrap() <= play.now + SPREAD);
    play.pass(SPREAD);
    let targets = play.dialled();
    assert_eq!(Play::names(&targets), ["b", "c"]);
    assert_eq!(targets[0].address.to_string(), "wss://b.test:443/ws");
    assert_eq!(play.reach(&targets[0], "b").1, kept());
    // Another process answers there by now; it is as good as any.
    assert_eq!(play.reach(&targets[1], "d").1, kept());
    assert!(play.dialled().is_empty());
}

#[test]
fn replicas_behind_a_load_balancer_are_found_by_dialling_again() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    play.told(a, "a", &[("a", false), ("b", false)]);
    let mut pauses = Vec::new();
    for _ in 0..14 {
        let next = play.roster.next_due().unwrap();
        pauses.push(next - play.now);
        play.now = next;
        assert_eq!(play.connect("a").1, Verdict::Duplicate);
    }
    assert!(*pauses.last().unwrap() >= SPARE / 2, "{pauses:?}");
    // The set changes: it is tried again soon.
    play.told(a, "a", &[("a", false), ("b", false), ("c", false)]);
    play.pass(SPREAD);
    let (b, verdict) = play.connect("b");
    assert_eq!(verdict, kept());
    play.told(b, "b", &[("a", false), ("b", false), ("c", false)]);
    assert_eq!(play.connect("c").1, kept());
    assert_eq!(play.roster.next_due(), None);
}

#[test]
fn a_replica_counts_as_long_as_anybody_names_it() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    play.told(a, "a", &[("a", true), ("b", true)]);
    play.pass(SPREAD);
    let (b, _) = play.connect("b");
    play.told(b, "b", &[("a", true), ("b", true)]);
    // A and B lose sight of each other, and both still hold us.
    play.told(a, "a", &[("a", true)]);
    assert_eq!(play.roster.n_replicas(), 2);
    play.roster.ended(b, play.now);
    assert_eq!(play.roster.n_replicas(), 1);
    assert_eq!(play.roster.next_due(), None, "nobody dials what is gone");
}

#[test]
fn the_last_connection_that_ends_sends_the_agent_back_to_the_shared_address() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    play.told(a, "a", &[("a", true), ("b", true)]);
    play.pass(SPREAD);
    let (b, _) = play.connect("b");
    play.told(b, "b", &[("a", true), ("b", true)]);
    play.pass(SETTLED);
    play.roster.ended(a, play.now);
    play.roster.ended(b, play.now);
    play.pass(Duration::from_millis(200));
    assert_eq!(Play::names(&play.dialled()), ["*"]);
}

#[test]
fn a_gateway_that_leaves_itself_out_is_replaced_before_it_goes() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    play.told(a, "a", &[("a", false)]);
    assert_eq!(play.roster.next_due(), None);
    play.told(a, "a", &[]);
    play.pass(SPREAD);
    let (_, verdict) = play.connect("b");
    assert_eq!(verdict, kept(), "what is open there may finish");
}

#[test]
fn new_terms_open_a_connection_before_the_old_one_is_left() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    play.told(a, "a", &[("a", false), ("b", false)]);
    play.pass(SPREAD);
    let (b, _) = play.connect("b");
    play.told(b, "b", &[("a", false), ("b", false)]);
    play.roster.renew(1, play.now);
    assert_eq!(play.roster.stale().len(), 2);
    // The load balancer answers with B first: then B's old connection is left, and A's is not.
    assert_eq!(play.connect("b").1, Verdict::Keep { leave: vec![b] });
    assert_eq!(play.connect("a").1, Verdict::Keep { leave: vec![a] });
    assert!(play.roster.stale().is_empty());
    assert_eq!(play.roster.next_due(), None);
}

#[test]
fn new_terms_leave_what_nobody_would_dial_again() {
    let mut play = Play::new();
    let (first, _) = play.connect("");
    play.roster.renew(1, play.now);
    assert_eq!(play.connect("").1, Verdict::Keep { leave: vec![first] });
}

#[test]
fn a_connection_that_turns_out_to_be_a_second_one_is_closed() {
    let mut play = Play::new();
    let (nameless, _) = play.connect("");
    play.roster.renew(0, play.now);
    play.told(nameless, "a", &[("a", false), ("b", false)]);
    play.pass(SPREAD);
    let (other, _) = play.connect("");
    assert_eq!(play.told(other, "a", &[("a", false), ("b", false)]), None);
    assert_eq!(play.told(nameless, "a", &[("a", false), ("b", false)]), Some(nameless));
}

#[test]
fn hostile_sets_are_bounded_in_what_they_cause() {
    let mut play = Play::new();
    let (a, _) = play.connect("a");
    let names: Vec<String> = (0..64).map(|n| format!("r{n}")).collect();
    let told: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
    play.told(a, "a", &[&[("a", true)], &told[..]].concat());
    play.pass(SPREAD);
    let targets = play.dialled();
    assert_eq!(targets.len(), 64);
    for target in &targets {
        play.roster.failed(target, false, play.now);
    }
    // Over an hour, nobody is dialled more often than every minute or so.
    let mut n_dials = 0;
    let end = play.now + Duration::from_hours(1);
    while let Some(next) = play.roster.next_due().filter(|next| *next < end) {
        play.now = next;
        for target in play.dialled() {
            n_dials += 1;
            play.roster.failed(&target, false, play.now);
        }
    }
    assert!(n_dials < 64 * 75, "{n_dials}");
}
