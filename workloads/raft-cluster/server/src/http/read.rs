//! Linearizable and stale reads of this member's own state.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use quorate_group::GroupAccess;
use quorate_group::problems::installing;
use quorate_group_core::Request;
use quorate_node::http::admission::{Admitted, Held};
use quorate_node::http::parameters::Parameters;
use quorate_node::http::problem::{Refusal, bad_request, busy, internal};
use quorate_raft_cluster_core::View;
use quorate_store::{Read, StateError};

use super::{Api, MAX_AGE, outcome};
use crate::GROUP;

/// The parameter that chooses.
pub const CONSISTENCY: &str = "consistency";

/// What a read may miss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Nothing that was acknowledged before it began.
    #[default]
    Linearizable,
    /// What the answer's `Quorate-Max-Age-Ms` says.
    Stale,
}

impl Consistency {
    /// As asked.
    pub fn of(parameters: &Parameters) -> Result<Self, Refusal> {
        match parameters.word(CONSISTENCY) {
            None | Some(b"linearizable") => Ok(Self::Linearizable),
            Some(b"stale") => Ok(Self::Stale),
            Some(_) => Err(bad_request(CONSISTENCY, "It is `linearizable` or `stale`.")),
        }
    }
}

/// What was read.
pub struct Seen<T> {
    /// The value.
    pub value: T,
    /// The header that bounds its age, of a stale read.
    pub age: HeaderMap,
}

impl<G: GroupAccess> Api<G> {
    /// Reads from a frozen view of the state, as fresh as asked. A point read is a look-up in memory more often than
    /// not, so it is done here and not on another thread.
    pub(super) async fn read<T>(
        &self,
        held: &Held,
        consistency: Consistency,
        read: impl FnOnce(&View<'_>) -> Result<T, StateError>,
    ) -> Result<Seen<T>, Refusal> {
        let _admitted = self.admit_read(held)?;
        let sent = self.confirm(consistency).await?;
        let value = self.look(read)?;
        Ok(self.seen(value, sent))
    }

    /// As [`Api::read`], for a read of many keys. It is done on a thread on which nobody waits, and few at a time: what it
    /// passes over may be much, and the group's heartbeats and its state need the processors too.
    pub(super) async fn walk<T: Send + 'static>(
        &self,
        held: &Held,
        consistency: Consistency,
        read: impl FnOnce(&View<'_>) -> Result<T, StateError> + Send + 'static,
    ) -> Result<Seen<T>, Refusal> {
        let _admitted = self.admit_read(held)?;
        let turn = self.walks.clone().acquire_owned();
        let turn = tokio::time::timeout(self.settings.request_timeout(), turn).await;
        let turn = turn.map_err(|_| busy("too many pages are being read"))?;
        let sent = self.confirm(consistency).await?;
        let view = self.view()?;
        let walked = tokio::task::spawn_blocking(move || {
            // With the thread, whatever becomes of who asked.
            let _turn = turn;
            read(&View::new(&*view, GROUP))
        });
        let value = walked.await.map_err(|error| internal(error.to_string()))?;
        let value = value.map_err(|error| self.failed(error))?;
        Ok(self.seen(value, sent))
    }

    fn admit_read(&self, held: &Held) -> Result<Admitted, Refusal> {
        self.admission
            .admit(held, &HeaderMap::new(), 0, "body", "a read's")
    }

    /// Waits until this member's state is as fresh as asked; of a stale read when the question was sent that bounds its age.
    async fn confirm(&self, consistency: Consistency) -> Result<Option<Duration>, Refusal> {
        match consistency {
            Consistency::Linearizable => {
                let (reply, leader) = self.ask(Request::Read).await;
                outcome::of_read(reply, leader)?;
                Ok(None)
            }
            Consistency::Stale => {
                let (reply, leader) = self.ask(Request::StaleRead).await;
                outcome::of_stale_read(reply, leader)
            }
        }
    }

    fn seen<T>(&self, value: T, sent: Option<Duration>) -> Seen<T> {
        let mut age = HeaderMap::new();
        if let Some(sent) = sent {
            // The clock is read last and rounded up: the bound must hold for what was read before.
            let elapsed = self.group.now().saturating_sub(sent);
            age.insert(MAX_AGE, HeaderValue::from(elapsed.as_millis() as u64 + 1));
        }
        Seen { value, age }
    }

    /// Reads from a frozen view of the state as it is.
    pub(super) fn look<T>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, StateError>,
    ) -> Result<T, Refusal> {
        let view = self.view()?;
        read(&View::new(&*view, GROUP)).map_err(|error| self.failed(error))
    }

    fn view(&self) -> Result<Box<dyn Read>, Refusal> {
        let view = self.group.view().map_err(|error| self.failed(error))?;
        view.ok_or_else(installing)
    }

    fn failed(&self, error: StateError) -> Refusal {
        tracing::error!(%error, "the state cannot be read");
        if matches!(error, StateError::Corrupt(_)) {
            self.group.damaged(error.to_string());
        }
        internal(format!(
            "This member cannot read its state: {error}. Use another member."
        ))
    }
}
