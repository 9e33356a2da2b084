//! The user: what the resource asks for, and how that changes.

use fastrand::Rng;
use quorate_plan::AnyKind;
use serde_json::{Value, json};

use super::world::World;
use crate::operator::nodes::BROKEN;

/// By kind: how many members each pool may have, in the order of its pools.
type Sizes = &'static [(&'static str, &'static [i32])];

const HERD: Sizes = &[("members", &[1, 2, 3, 5])];
const DUO: Sizes = &[("controllers", &[1, 3, 5, 5]), ("workers", &[1, 2, 3, 4])];

#[derive(Clone, Debug)]
pub(super) struct User {
    sizes: Sizes,
    pub members: Vec<i32>,
    pub version: String,
    good: String,
    paused: bool,
    releases: u32,
    next: i64,
}

impl User {
    pub fn new(kind: &dyn AnyKind, rng: &mut Rng) -> Self {
        let sizes = if kind.sets("").len() == 1 { HERD } else { DUO };
        let pick = |sizes: &[i32], rng: &mut Rng| sizes[rng.usize(..sizes.len())];
        let version = if rng.u8(..) < 20 { BROKEN } else { "1.0.1" };
        User {
            sizes,
            members: sizes.iter().map(|(_, sizes)| pick(sizes, rng)).collect(),
            version: version.into(),
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
        for ((field, _), members) in self.sizes.iter().zip(&self.members) {
            spec[*field] = json!(members);
        }
        spec
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
        if content && !self.faults_allowed() {
            return;
        }
        let what = match (content, self.rng.u8(0..20)) {
            (false, turn) => {
                self.user.paused = false;
                if self.user.version == BROKEN && turn < 8 {
                    self.release();
                }
                self.user.version.clone_from(&self.user.good);
                "edit: back to what works"
            }
            (_, 0..9) => {
                let pool = self.rng.usize(..self.user.sizes.len());
                let sizes = self.user.sizes[pool].1;
                self.user.members[pool] = sizes[self.rng.usize(..sizes.len())];
                "edit: scale"
            }
            (_, 9..15) => {
                self.release();
                "edit: version"
            }
            (_, 15..18) => {
                self.user.version = BROKEN.into();
                "edit: broken version"
            }
            _ => {
                self.user.paused = true;
                "edit: pause"
            }
        };
        self.count(what);
        let spec = self.user.spec();
        self.trace(|| format!("{what}: {spec}"));
        self.api.edit_spec(spec);
    }

    fn release(&mut self) {
        self.user.releases += 1;
        self.user.version = format!("1.0.{}", self.user.releases);
        self.user.good.clone_from(&self.user.version);
    }
}
