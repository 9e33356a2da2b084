//! The user: what the resource asks for, and how that changes.

use fastrand::Rng;
use quorate_plan::testing::{Example, Size};
use serde_json::{Value, json};

use super::world::World;
use crate::operator::nodes::{BROKEN, timestamp};

#[derive(Clone, Debug)]
pub(super) struct User {
    pools: &'static [Size],
    /// How many of each pool.
    pub members: Vec<i32>,
    pub version: String,
    good: String,
    paused: bool,
    releases: u32,
    next: i64,
}

impl User {
    pub fn new(example: &Example, rng: &mut Rng) -> Self {
        let pick = |size: &Size| size.members[rng.usize(..size.members.len())];
        let members = example.pools.iter().map(pick).collect();
        let is_slip = rng.u8(..) < 20;
        let mut user = User::asks_for(example, members);
        if is_slip {
            user.version = BROKEN.into();
        }
        user
    }

    /// A first spec that can be carried out.
    pub fn asks_for(example: &Example, members: Vec<i32>) -> Self {
        User {
            pools: example.pools,
            members,
            version: "1.0.1".into(),
            good: "1.0.1".into(),
            paused: false,
            releases: 1,
            next: 0,
        }
    }

    pub fn spec(&self) -> Value {
        let mut spec = json!({
            "image": format!("member:{}", self.version), "version": self.version, "paused": self.paused,
        });
        for (pool, members) in self.pools.iter().zip(&self.members) {
            spec[pool.field] = json!(members);
        }
        spec
    }

    /// Another version that runs.
    pub fn release(&mut self) {
        self.releases += 1;
        self.version = format!("1.0.{}", self.releases);
        self.good.clone_from(&self.version);
    }

    /// Whether nothing is left to be undone.
    pub fn is_content(&self) -> bool {
        self.version != BROKEN && !self.paused
    }
}

impl World {
    /// What the user does now, if anything.
    pub(super) fn user_acts(&mut self) {
        if self.now < self.user.next {
            return;
        }
        self.user.next = self.now + self.rng.i64(800..12_000);
        let content = self.user.is_content();
        if self.api.is_deleting() || content && !self.faults_allowed() {
            return;
        }
        let what = match (content, self.rng.u8(0..20)) {
            (false, turn) => {
                self.user.paused = false;
                if self.user.version == BROKEN && turn < 8 {
                    self.user.release();
                }
                self.user.version.clone_from(&self.user.good);
                "edit: back to what works"
            }
            (_, 0..9) => {
                let pool = self.rng.usize(..self.user.pools.len());
                let sizes = self.user.pools[pool].members;
                self.user.members[pool] = sizes[self.rng.usize(..sizes.len())];
                "edit: scale"
            }
            (_, 9..15) => {
                self.user.release();
                "edit: version"
            }
            (_, 15..18) => {
                self.user.version = BROKEN.into();
                "edit: broken version"
            }
            (_, 18) => {
                self.user.paused = true;
                "edit: pause"
            }
            _ => {
                self.count("deleted");
                self.trace(|| "deleted".into());
                self.api.delete_resource(timestamp(self.now));
                return;
            }
        };
        self.count(what);
        let spec = self.user.spec();
        self.trace(|| format!("{what}: {spec}"));
        self.api.edit_spec(spec);
    }
}
