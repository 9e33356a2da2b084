//! How a member gives its identity up: its groups have removed it, or its data is damaged and the operator has it make
//! way. A mark on the disk says so; the next start acts on it.

use quorate_raft::{MemberId, Now, Ticket};

use super::Groups;
use crate::ask::{Refused, Reply, Request};
use crate::group::Group;
use crate::io::{Effect, Input};
use crate::types::GroupId;
use crate::work::{Task, TaskResult};

impl Groups {
    /// Whether damaged data can make way for a new identity on the same disk; else only another disk helps.
    pub fn can_set_aside(&self) -> bool {
        let known = self.shared.id != MemberId(0);
        self.damage.is_some() && known && !self.aside.standing && self.aside.failed.is_none()
    }

    /// When this identity was removed from all its groups, it is out of service, now and after a restart.
    pub(super) fn stand_aside(&mut self, now: Now, out: &mut Vec<Effect>) {
        let group = self.groups.keys().next().copied();
        if let Some(group) = group
            && !self.aside.standing
            && self.groups.values().all(Group::is_gone)
        {
            self.aside.standing = true;
            self.retire("this member was removed from its group", now, out);
            let task = Task::StandAside;
            out.push(Effect::Task { group, task });
            out.push(Effect::Changed);
        }
    }

    pub(super) fn set_aside(
        &mut self,
        ticket: Ticket,
        group: GroupId,
        incarnation: MemberId,
        out: &mut Vec<Effect>,
    ) {
        let reply = match self.may_set_aside(incarnation) {
            Err(why) => Reply::Refused(Refused::SetAside(why)),
            Ok(()) if self.aside.standing => Reply::Done,
            Ok(()) => {
                if self.aside.tickets.is_empty() {
                    let task = Task::SetAside;
                    out.push(Effect::Task { group, task });
                }
                return self.aside.tickets.push(ticket);
            }
        };
        out.push(Effect::Reply { ticket, reply });
    }

    fn may_set_aside(&self, incarnation: MemberId) -> Result<(), String> {
        let id = self.shared.id;
        if id == MemberId(0) {
            return Err("the identity cannot be read, so nobody knows whose data it is".into());
        }
        if incarnation != id {
            return Err(format!(
                "this disk holds the identity {id}, not {incarnation}: it is another disk"
            ));
        }
        match self.out_of_service() {
            Some(_) => Ok(()),
            None => Err(
                "this member is sound: remove it from the group, and it sets its data aside itself"
                    .into(),
            ),
        }
    }

    fn was_set_aside(&mut self, result: Result<(), String>, out: &mut Vec<Effect>) {
        let reply = match &result {
            Ok(()) => Reply::Done,
            Err(why) => Reply::Refused(Refused::SetAside(why.clone())),
        };
        for ticket in std::mem::take(&mut self.aside.tickets) {
            let reply = reply.clone();
            out.push(Effect::Reply { ticket, reply });
        }
        self.aside.standing |= result.is_ok();
        self.aside.failed = result.err();
        out.push(Effect::Changed);
    }

    pub(super) fn out_of_service(&self) -> Option<String> {
        let Some(why) = &self.damage else {
            let removed = self.aside.standing;
            return removed.then(|| "this member was removed from its group".into());
        };
        let becomes = match (&self.aside.failed, self.aside.standing) {
            (_, true) => ", and is set aside at the next start".to_owned(),
            (Some(failed), false) => format!(", and cannot be set aside ({failed})"),
            (None, false) => String::new(),
        };
        Some(format!(
            "this member's data cannot be trusted{becomes}: {why}"
        ))
    }

    /// What a member that is out of service makes of an input.
    pub(super) fn refuse(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Request {
                ticket,
                group,
                request: Request::SetAside { incarnation },
            } => self.set_aside(ticket, group, incarnation, out),
            Input::Request { ticket, .. } => {
                let why = self.out_of_service().unwrap_or_default();
                let reply = Reply::Refused(Refused::OutOfService(why));
                out.push(Effect::Reply { ticket, reply });
            }
            Input::Done {
                result: TaskResult::StoodAside,
                ..
            } => self.was_set_aside(Ok(()), out),
            Input::Done {
                result: TaskResult::NotSetAside(why),
                ..
            } => self.was_set_aside(Err(why), out),
            _ => {}
        }
    }
}
