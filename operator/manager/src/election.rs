//! Holding the lease: asks [`crate::lease`] what to do, and does it.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::lease::{Step, Term, Watch, released};

/// The lease's name.
pub(crate) const NAME: &str = "quorate-operator";

/// One operator's part in the election.
pub(crate) struct Election {
    leases: Api<Lease>,
    me: String,
    term: Term,
    watch: Watch,
    begun: (Timestamp, Instant),
}

impl Election {
    pub fn new(client: Client, namespace: &str, me: &str, term: Term) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            me: me.to_owned(),
            term,
            watch: Watch::new(term),
            begun: (Timestamp::now(), Instant::now()),
        }
    }

    /// Waits until this operator holds the lease. `alive` is told of every look that succeeded.
    pub async fn win(&mut self, alive: &watch::Sender<Option<Instant>>) {
        loop {
            match self.turn(false).await {
                Ok(holds) => {
                    alive.send_replace(Some(Instant::now()));
                    if holds == Some(true) {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, lease = NAME, "cannot look at the lease"),
            }
            sleep(self.term.period()).await;
        }
    }

    /// Renews the lease until it is lost, or could not be renewed for too long.
    pub async fn hold(&mut self, alive: &watch::Sender<Option<Instant>>) {
        let (period, deadline) = (self.term.period(), self.term.deadline());
        let mut renewed = Instant::now();
        loop {
            // Not one moment beyond the deadline: whoever is next may begin soon after.
            let next = |after: Instant| (after + period).min(renewed + deadline);
            sleep_until(next(Instant::now())).await;
            if renewed.elapsed() >= deadline {
                return;
            }
            match timeout_at(next(Instant::now()), self.turn(true)).await {
                Ok(Ok(Some(true))) => {
                    renewed = Instant::now();
                    alive.send_replace(Some(renewed));
                }
                Ok(Ok(Some(false))) => return,
                Ok(Ok(None)) => tracing::warn!(lease = NAME, "another hand changed the lease"),
                Ok(Err(error)) => tracing::warn!(%error, lease = NAME, "cannot renew the lease"),
                Err(_) => tracing::warn!(lease = NAME, "the API server is slow to renew the lease"),
            }
        }
    }

    /// Leaves the lease to whoever comes next.
    pub async fn release(&mut self) -> kube::Result<()> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            return Ok(());
        };
        let spec = lease.spec.take().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.me) {
            return Ok(());
        }
        lease.spec = Some(released(&spec));
        self.leases
            .replace(NAME, &PostParams::default(), &lease)
            .await
            .map(drop)
    }

    /// One look, and what follows from it. Whether the lease is ours now; none when only the next look tells.
    async fn turn(&mut self, works: bool) -> kube::Result<Option<bool>> {
        let lease = self.leases.get_opt(NAME).await?;
        // A clock that is set must not make a lease look older than it is.
        let now = self.begun.0 + self.begun.1.elapsed();
        let step = self.watch.step(lease.as_ref(), &self.me, works, now);
        let params = PostParams::default();
        let written = match step {
            Step::Wait => return Ok(Some(false)),
            Step::Create(spec) => {
                let mut lease = Lease {
                    spec: Some(spec),
                    ..Lease::default()
                };
                lease.metadata.name = Some(NAME.to_owned());
                // No proof yet: another may be at work by one that was deleted. It looks before we look again, and
                // stops where it finds ours; and nobody works for long by what is deleted time and again.
                self.leases.create(&params, &lease).await.map(|_| None)
            }
            Step::Replace(spec) => {
                let mut lease = lease.unwrap_or_default();
                lease.spec = Some(spec);
                let replaced = self.leases.replace(NAME, &params, &lease).await;
                replaced.map(|_| Some(true))
            }
        };
        match written {
            // Our own write may be what is in conflict, when its answer was lost.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(None)
            }
            other => other,
        }
    }
}
