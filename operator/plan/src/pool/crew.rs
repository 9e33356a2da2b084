//! What is known of a pool's members beyond their pods: a kind, or the group that its members form, says it.

use super::census::Member;
use super::step::{Reason, Refusing, Step, Told};
use super::view::View;

/// How a member may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is back in a moment, with its disk.
    Restart,
    /// The same, of one whose revision is given up: it may never get healthy before.
    Replace,
    /// What is on its disk goes.
    Wipe,
    /// It goes for good.
    Leave,
}

/// Why nobody is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// As a condition's reason.
    pub reason: Reason,
    /// In few words.
    pub brief: String,
    /// For a person, when something was lost; none where it has only not begun yet.
    pub trouble: Option<String>,
}

/// The members of a pool as a whole: who may be lost, and what is lacking. Every act that takes a member away asks here.
pub trait Crew<'a> {
    /// The pool, as it was observed.
    fn view(&self) -> &View<'a>;

    /// One more than the highest ordinal that is counted on: fewer pods than these are never asked for.
    fn floor(&self) -> i32;

    /// Whether this ordinal is counted on though it is beyond the wanted number.
    fn stays(&self, ordinal: i32) -> bool;

    /// Whether it is what a member in its place is to be: it counts, or will once it was let in.
    fn is_healthy(&self, member: &Member<'a>) -> bool;

    /// Whether a member that was upgraded is back, though it is not healthy yet: it waits to be let in.
    fn waits_to_join(&self, member: &Member<'a>) -> bool;

    /// Whether it runs what it shall and counts, for the report of an upgrade.
    fn counts(&self, member: &Member<'a>) -> bool;

    /// Whether the others can go on without it. What it says itself is asked by the caller.
    fn may_lose(&self, member: &Member<'a>, loss: Loss) -> Result<(), Refusing>;

    /// What makes a member dispensable that `may_lose` refused: it hands over, or is drained. None where only waiting helps.
    fn prepare(&self, member: &Member<'a>, loss: Loss, refused: &Refusing) -> Option<Step>;

    /// What its restart costs, where that is to be said aloud.
    fn price(&self, member: &Member<'a>) -> Option<String>;

    /// The StatefulSet may be away for a moment, in which no pod comes back that dies.
    fn may_be_without_set(&self) -> Result<(), Refusing>;

    /// A code of a blocker that members name, and that is judged here by what the others say.
    fn judges_itself(&self, blocker: &str) -> bool;

    /// Why nobody is served, if so.
    fn outage(&self) -> Option<Outage>;

    /// Who is not counted on that should be.
    fn weakness(&self) -> Option<String>;

    /// What is not as specified though nothing is under way.
    fn incomplete(&self) -> Option<Told>;

    /// What a member lacks that answers, and does not count.
    fn lacks(&self, member: &Member<'a>) -> &'static str;

    /// How it is when all is well.
    fn whole(&self) -> String;

    /// Whether scaling is still to come.
    fn is_to_scale(&self) -> bool;
}
