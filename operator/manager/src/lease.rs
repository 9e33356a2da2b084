//! Who may work: one operator at a time holds the lease. Pure; what it is carried out with is in `election`.
//!
//! Clocks of machines differ, so that no time in the lease is compared with ours: a lease is taken for lost when *we*
//! saw it unchanged for its whole duration, as client-go's leader election has it. And since a paused process does not
//! know that it was paused, a lease fences nothing: every write carries its own precondition as well.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long a lease holds after it was renewed last; the other times follow from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    seconds: u8,
}

impl Term {
    pub fn of(seconds: u8) -> Self {
        Self { seconds }
    }

    fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Whoever could not renew for this long stops working: well before another may begin.
    pub fn deadline(self) -> Duration {
        self.duration() * 5 / 8
    }

    /// Time between two looks.
    pub fn period(self) -> Duration {
        self.duration() / 4
    }

    fn spec(
        self,
        me: &str,
        acquired: Timestamp,
        renewed: Timestamp,
        transitions: i32,
    ) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: Some(self.seconds.into()),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Create it with this spec.
    Create(LeaseSpec),
    /// Replace its spec by this one, on the resourceVersion that was seen.
    Replace(LeaseSpec),
    /// Somebody else holds it.
    Wait,
}

/// What one operator has seen of the lease.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    term: Term,
    seen: Option<Seen>,
}

/// The lease as it was seen last.
#[derive(Clone, Debug)]
struct Seen {
    version: String,
    holder: String,
    /// When this version was seen first.
    since: Timestamp,
    duration: Duration,
}

impl Seen {
    /// Whether its holder may be at work.
    fn holds(&self, now: Timestamp) -> bool {
        let unchanged = now.duration_since(self.since);
        let expired = !unchanged.is_negative() && unchanged.unsigned_abs() >= self.duration;
        !self.holder.is_empty() && !expired
    }
}

impl Watch {
    pub fn new(term: Term) -> Self {
        Self { term, seen: None }
    }

    /// What to do now that the lease is so. `works`: whether this operator is at work by it.
    pub fn step(&mut self, lease: Option<&Lease>, me: &str, works: bool, now: Timestamp) -> Step {
        let Some(lease) = lease else {
            // Another hand deleted it: whoever is at work writes it anew, and everybody else leaves time for that.
            let held = self.seen.as_ref().is_some_and(|seen| seen.holds(now));
            return if held && !works {
                Step::Wait
            } else {
                Step::Create(self.term.spec(me, now, now, 0))
            };
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let held = lease.spec.clone().unwrap_or_default();
        let same = self.seen.as_ref().filter(|seen| seen.version == version);
        let seconds = held.lease_duration_seconds.unwrap_or(0);
        let seen = Seen {
            since: same.map_or(now, |seen| seen.since),
            version,
            holder: held.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        };
        let transitions = held.lease_transitions.unwrap_or(0);
        let step = if seen.holder == me {
            let since = held.acquire_time.map_or(now, |time| time.0);
            Step::Replace(self.term.spec(me, since, now, transitions))
        } else if seen.holds(now) {
            Step::Wait
        } else {
            Step::Replace(self.term.spec(me, now, now, transitions + 1))
        };
        self.seen = Some(seen);
        step
    }
}

/// What a holder leaves behind that stops in order: the next one need not wait.
pub(crate) fn released(lease: &LeaseSpec) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        ..lease.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server's part: one lease, each write on the version it was decided on. Versions never come again.
    #[derive(Default)]
    struct Server(Option<Lease>, u64);

    impl Server {
        fn write(&mut self, on: Option<&Lease>, step: &Step) -> bool {
            let (Step::Create(spec) | Step::Replace(spec)) = step else {
                return false;
            };
            let version = |lease: Option<&Lease>| {
                lease.and_then(|lease| lease.metadata.resource_version.clone())
            };
            if version(self.0.as_ref()) != version(on) {
                return false;
            }
            self.1 += 1;
            let mut lease = Lease::default();
            lease.metadata.resource_version = Some(self.1.to_string());
            lease.spec = Some(spec.clone());
            self.0 = Some(lease);
            true
        }

        fn holder(&self) -> &str {
            let spec = self.0.as_ref().unwrap().spec.as_ref().unwrap();
            spec.holder_identity.as_deref().unwrap()
        }
    }

    fn watch() -> Watch {
        Watch::new(Term::of(8))
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn turn(server: &mut Server, watch: &mut Watch, me: &str, now: i64) -> bool {
        look(server, watch, me, false, now)
    }

    fn look(server: &mut Server, watch: &mut Watch, me: &str, works: bool, now: i64) -> bool {
        let seen = server.0.clone();
        let step = watch.step(seen.as_ref(), me, works, at(now));
        server.write(seen.as_ref(), &step)
    }

    #[test]
    fn a_holder_looks_twice_before_it_stops_and_stops_before_another_may_begin() {
        for seconds in 1..=u8::MAX {
            let term = Term::of(seconds);
            assert!(2 * term.period() <= term.deadline(), "{term:?}");
            assert!(term.deadline() < term.duration(), "{term:?}");
        }
    }

    #[test]
    fn one_holds_it_while_it_renews() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        for second in 0..60 {
            assert!(turn(&mut server, &mut a, "a", second * 1000));
            assert!(!turn(&mut server, &mut b, "b", second * 1000 + 500));
        }
        assert_eq!(server.holder(), "a");
    }

    #[test]
    fn a_paused_holder_is_succeeded_after_the_duration_and_then_waits() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        turn(&mut server, &mut a, "a", 0);
        let mut taken = None;
        for now in (0..20_000).step_by(1000) {
            if turn(&mut server, &mut b, "b", now) {
                taken.get_or_insert(now);
            }
        }
        assert_eq!(taken, Some(8000), "not before the duration has passed");
        assert!(!turn(&mut server, &mut a, "a", 20_000));
        assert_eq!(server.holder(), "b");
        let spec = server.0.unwrap().spec.unwrap();
        assert_eq!(spec.lease_transitions, Some(1));
    }

    #[test]
    fn a_clock_that_is_ahead_takes_nothing_from_a_holder_that_renews() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        for second in 0..30 {
            turn(&mut server, &mut a, "a", second * 1000);
            assert!(!turn(&mut server, &mut b, "b", 86_400_000 + second * 1000));
        }
    }

    #[test]
    fn two_that_see_the_same_write_once() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        let first = |watch: &mut Watch, me| watch.step(None, me, false, at(0));
        let (x, y) = (first(&mut a, "a"), first(&mut b, "b"));
        assert!(server.write(None, &x));
        assert!(!server.write(None, &y));
        assert_eq!(server.holder(), "a");
    }

    #[test]
    fn a_lease_that_is_deleted_stays_with_whoever_works_by_it() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        turn(&mut server, &mut a, "a", 0);
        turn(&mut server, &mut b, "b", 500);
        server.0 = None;
        assert!(!turn(&mut server, &mut b, "b", 1500), "a may be at work");
        assert!(look(&mut server, &mut a, "a", true, 2000));
        assert_eq!(server.holder(), "a");
    }

    #[test]
    fn a_deleted_lease_is_held_for_its_duration_also_by_whoever_stopped_working() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        turn(&mut server, &mut a, "a", 0);
        turn(&mut server, &mut a, "a", 2000);
        turn(&mut server, &mut b, "b", 2500);
        server.0 = None;
        assert!(!turn(&mut server, &mut a, "a", 7999));
        assert!(!turn(&mut server, &mut b, "b", 10_499));
        assert!(turn(&mut server, &mut b, "b", 10_500));
        assert_eq!(server.holder(), "b");
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let (mut server, mut a, mut b) = (Server::default(), watch(), watch());
        turn(&mut server, &mut a, "a", 0);
        turn(&mut server, &mut b, "b", 1);
        let held = server.0.clone().unwrap();
        let left = Step::Replace(released(held.spec.as_ref().unwrap()));
        assert!(server.write(Some(&held), &left));
        assert!(turn(&mut server, &mut b, "b", 2));
        assert_eq!(server.holder(), "b");
    }
}
