//! The user: what the resource asks for, and how that changes.

use fastrand::Rng;
use serde_json::{Value, json};

use super::NAME;
use super::nodes::{BROKEN, timestamp};
use super::world::World;

/// What is asked for, and the next change of mind.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub members: i32,
    pub version: String,
    /// To go back to when the version is broken.
    good: String,
    paused: bool,
    retention: (bool, bool),
    releases: u32,
    /// Of each volume.
    pub gibibytes: u32,
    next: i64,
    /// Being deleted since; made anew some time later.
    deleting: Option<i64>,
    made_anew: bool,
    /// When the claims that an earlier resource left are cleared away.
    clears_claims: Option<i64>,
}

impl User {
    pub fn new(rng: &mut Rng) -> Self {
        User {
            members: [1, 3, 3, 3, 5][rng.usize(0..5)],
            version: if rng.u8(..) < 12 {
                BROKEN.into()
            } else {
                "1.0.1".into()
            },
            good: "1.0.1".into(),
            paused: false,
            retention: (rng.bool(), rng.bool()),
            releases: 1,
            gibibytes: 1,
            next: 0,
            deleting: None,
            made_anew: false,
            clears_claims: None,
        }
    }

    pub fn spec(&self) -> Value {
        let policy = |delete: bool| if delete { "Delete" } else { "Retain" };
        json!({
            "members": self.members,
            "image": format!("member:{}", self.version),
            "version": self.version,
            "paused": self.paused,
            "storage": {
                "size": format!("{}Gi", self.gibibytes),
                "retention": {
                    "whenDeleted": policy(self.retention.0), "whenScaled": policy(self.retention.1),
                },
            },
        })
    }

    /// Whether nothing is left to be undone.
    pub fn is_content(&self) -> bool {
        self.version != BROKEN && !self.paused && self.deleting.is_none()
    }
}

impl World {
    /// What the user does now, if anything.
    pub(super) fn user_acts(&mut self) {
        self.clear_claims();
        if let Some(since) = self.user.deleting {
            self.finish_deletion(since);
            return;
        }
        // What is changed at that moment finds nobody who would carry it to the pods.
        let hurries = self.is_bare() && self.faults_allowed() && self.rng.u8(..) < 64;
        if self.now < self.user.next && !hurries {
            return;
        }
        self.user.next = self.now + self.rng.i64(800..10_000);
        if !self.user.is_content() {
            self.undo();
        } else if self.faults_allowed() {
            self.change_mind();
        }
    }

    fn undo(&mut self) {
        self.user.paused = false;
        if self.user.version == BROKEN {
            let forward = self.rng.u8(..) < 80;
            self.user.version = if forward {
                self.release()
            } else {
                self.user.good.clone()
            };
        }
        self.user.good.clone_from(&self.user.version);
        self.edit("back to what works");
    }

    fn release(&mut self) -> String {
        self.user.releases += 1;
        format!("1.0.{}", self.user.releases)
    }

    fn change_mind(&mut self) {
        match self.rng.u8(0..20) {
            0..6 => {
                self.user.members = [1, 3, 3, 5, 5, 7][self.rng.usize(0..6)];
                self.counters.add("edit: scale");
                self.edit("scale");
            }
            6..12 => {
                self.user.version = self.release();
                self.user.good.clone_from(&self.user.version);
                self.counters.add("edit: version");
                self.edit("another version");
            }
            12..15 => {
                self.user.version = BROKEN.into();
                self.counters.add("edit: broken version");
                self.edit("a broken version");
            }
            15 => {
                self.user.paused = true;
                self.counters.add("edit: pause");
                self.edit("pause");
            }
            16 => {
                self.user.retention = (self.rng.bool(), self.rng.bool());
                self.edit("another retention");
            }
            17 if !self.user.made_anew => {
                self.trace(|| "the user deletes the resource".into());
                self.count_bare();
                self.user.made_anew = true;
                self.user.deleting = Some(self.now);
                let now = timestamp(self.now).to_string();
                if let Some(resource) = &mut self.api.resource {
                    resource["metadata"]["deletionTimestamp"] = json!(now);
                }
            }
            18 => {
                self.user.gibibytes += 1;
                self.counters.add("edit: larger volumes");
                self.edit("larger volumes");
            }
            _ => {}
        }
    }

    fn edit(&mut self, why: &str) {
        let spec = self.user.spec();
        let words = format!(
            "the user edits ({why}): {} members, version {}",
            self.user.members, self.user.version
        );
        self.trace(|| words);
        self.count_bare();
        self.api.edit_spec(spec);
    }

    fn count_bare(&mut self) {
        let is_bare = self.is_bare();
        self.counters
            .add_if("edited or deleted without a StatefulSet", is_bare);
    }

    /// Whether pods run without a StatefulSet.
    fn is_bare(&self) -> bool {
        self.api.set.is_none() && !self.api.pods.is_empty()
    }

    /// In the foreground: the resource is there until what it owns is gone. Then the user makes it anew, and later
    /// clears away what the earlier one left.
    fn finish_deletion(&mut self, since: i64) {
        if self.now - since < 1000 {
            return;
        }
        let uid = self.api.resource_uid().to_owned();
        self.api.collect_garbage(&uid, timestamp(self.now));
        if !self.api.is_clean() {
            return;
        }
        if self
            .api
            .claims
            .values()
            .any(|claim| claim.metadata.deletion_timestamp.is_some())
        {
            return;
        }
        self.trace(|| "the user makes the resource anew".into());
        self.counters.add("deleted and made anew");
        self.count_group();
        self.group = self.group.anew();
        self.late.clear();
        self.user.deleting = None;
        let spec = self.user.spec();
        self.api.create_resource(NAME, spec, timestamp(self.now));
        self.user.clears_claims = Some(self.now + self.rng.i64(1000..8000));
        self.user.next = self.now + self.rng.i64(2000..14_000);
    }

    fn clear_claims(&mut self) {
        let Some(due) = self.user.clears_claims else {
            return;
        };
        let uid = self.api.resource_uid().to_owned();
        if self.now < due || self.user.deleting.is_some() {
            return;
        }
        let foreign: Vec<(String, String)> = self
            .api
            .claims
            .iter()
            .filter(|(_, claim)| {
                claim
                    .metadata
                    .labels
                    .iter()
                    .flatten()
                    .all(|(key, value)| key != quorate_plan::OWNER_UID || *value != uid)
            })
            .filter_map(|(name, claim)| Some((name.clone(), claim.metadata.uid.clone()?)))
            .collect();
        for (name, claim) in foreign {
            self.api.delete_claim(&name, &claim, timestamp(self.now));
        }
        self.user.clears_claims = None;
    }
}
