//! What is to be seen of the groups from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_group_core::{GroupId, Groups};
use quorate_raft::{Contact, MemberId, Now};
use quorate_wire::{GroupStatus, MemberState, RestartBlocker};
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Indexes move with every write; they are told this often.
const INTERVAL: Duration = Duration::from_millis(100);
/// A leader counts on its members less when they fall silent, and silence changes nothing by itself: where there is a
/// leader the status is told this often at least.
const REFRESH: Duration = Duration::from_millis(500);

/// The groups as they were a moment ago: changes of role, term, leader or configuration at once, indexes within about
/// 100 ms, who has fallen silent within about 500 ms.
#[derive(Clone, Debug)]
pub struct GroupsStatus {
    /// The identity on this member's disk.
    pub id: MemberId,
    /// What the member is able to do.
    pub state: MemberState,
    /// Why, when it is not running; what to do next.
    pub reason: Option<String>,
    /// Whether its damaged data can make way for a new identity on the same disk.
    pub can_set_aside: bool,
    /// Whether client writes are refused since the disk has less free space than the reserve.
    pub read_only: bool,
    /// Whether every group here is served within the lag bound.
    pub ready: bool,
    /// What a restart would interrupt now.
    pub restart_blockers: Vec<RestartBlocker>,
    /// The groups, by number.
    pub groups: Vec<GroupStatus>,
    /// Where the members of the groups are.
    pub contacts: BTreeMap<MemberId, Contact>,
}

impl GroupsStatus {
    /// The status of one group.
    pub fn group(&self, group: GroupId) -> Option<&GroupStatus> {
        self.groups.iter().find(|status| status.group == group)
    }

    pub(crate) fn of(groups: &Groups) -> Self {
        let statuses: Vec<_> = groups
            .ids()
            .filter_map(|group| groups.status(group))
            .collect();
        let members: BTreeSet<MemberId> = statuses
            .iter()
            .flat_map(|group| &group.configuration.members)
            .filter_map(|member| parse_id(&member.id))
            .collect();
        let contacts = members
            .into_iter()
            .filter_map(|id| Some((id, groups.contact(id)?.clone())))
            .collect();
        Self {
            id: groups.id(),
            state: groups.state(),
            reason: groups.reason(),
            can_set_aside: groups.can_set_aside(),
            read_only: groups.is_read_only(),
            ready: groups.ready(),
            restart_blockers: groups.restart_blockers(),
            groups: statuses,
            contacts,
        }
    }
}

/// An identity as the documents write it.
pub(crate) fn parse_id(text: &str) -> Option<MemberId> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|id| digits && *id != 0)
        .map(MemberId)
}

/// Publishes the status and what of it is a metric.
pub(crate) struct Publisher {
    sender: watch::Sender<Arc<GroupsStatus>>,
    metrics: Arc<Metrics>,
    latest: Now,
    moved: bool,
    leads: bool,
    leaders: BTreeMap<GroupId, String>,
}

impl Publisher {
    pub(crate) fn new(
        groups: &Groups,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Arc<GroupsStatus>>) {
        let status = GroupsStatus::of(groups);
        // Whoever replaces the disk takes away what could be looked at: the log says what was wrong with it.
        if status.state == MemberState::Damaged {
            let reason = status.reason.as_deref().unwrap_or("");
            tracing::error!(member = %status.id, reason, "the member's disk is damaged: it neither votes nor serves");
        }
        let (sender, receiver) = watch::channel(Arc::new(status));
        let publisher = Self {
            sender,
            metrics,
            latest: Now::ZERO,
            moved: false,
            leads: false,
            leaders: BTreeMap::new(),
        };
        (publisher, receiver)
    }

    /// Indexes moved: publish before long.
    pub(crate) fn moved(&mut self) {
        self.moved = true;
    }

    /// What was published last.
    pub(crate) fn latest(&self) -> Arc<GroupsStatus> {
        self.sender.borrow().clone()
    }

    /// When [`Publisher::publish`] should be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Now> {
        let interval = match (self.moved, self.leads) {
            (true, _) => INTERVAL,
            (false, true) => REFRESH,
            (false, false) => return None,
        };
        Some(self.latest + interval)
    }

    /// Publishes if something `changed`, or if it is time; true if it did.
    pub(crate) fn publish(&mut self, groups: &Groups, now: Now, changed: bool) -> bool {
        if !changed && self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        (self.latest, self.moved) = (now, false);
        let status = GroupsStatus::of(groups);
        self.leads = status
            .groups
            .iter()
            .any(|group| group.role == quorate_wire::Role::Leader);
        self.tell(&status);
        self.measure(&status);
        self.sender.send_replace(Arc::new(status));
        true
    }

    /// Writes what an operator wants to see to the log: who leads, and what state the member is in.
    fn tell(&mut self, status: &GroupsStatus) {
        let state = self.sender.borrow().state;
        if status.state != state {
            let reason = status.reason.as_deref().unwrap_or("");
            tracing::info!(member = %status.id, from = ?state, to = ?status.state, reason, "the member's state changed");
        }
        for group in &status.groups {
            let Some(leader) = &group.leader else {
                continue;
            };
            if self.leaders.get(&group.group) == Some(leader) {
                continue;
            }
            let name = parse_id(leader)
                .and_then(|id| status.contacts.get(&id))
                .map_or("?", |contact| &contact.name);
            tracing::info!(group = group.group, term = group.term, leader, name, role = ?group.role, "a leader was elected");
            self.metrics.leader_changes.inc();
            self.leaders.insert(group.group, leader.clone());
        }
    }

    fn measure(&self, status: &GroupsStatus) {
        let led = status
            .groups
            .iter()
            .filter(|group| group.role == quorate_wire::Role::Leader);
        self.metrics.groups.set(status.groups.len() as i64);
        self.metrics.groups_led.set(led.clone().count() as i64);
        let mut lags: BTreeMap<&str, u64> = BTreeMap::new();
        for group in led {
            for member in &group.configuration.members {
                let lag = member
                    .match_index
                    .map_or(0, |matched| group.last.saturating_sub(matched));
                let worst = lags.entry(&member.name).or_default();
                *worst = lag.max(*worst);
            }
        }
        self.metrics.lag.reset();
        for (name, lag) in lags {
            self.metrics
                .lag
                .with_label_values(&[name])
                .set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }
}
