//! What a seed's simulation is like. Each seed turns a random subset of the faults off (Groce and others, "Swarm
//! testing", 2012): faults that hide one another get simulations without the other.

use fastrand::Rng;

use super::queue::{Time, ms};

/// The most members a group has here.
pub const MAX_MEMBERS: usize = 7;

/// With how many members a group begins: small ones cost less, and most faults need no more.
const MEMBERS: [usize; 10] = [3, 3, 3, 3, 4, 4, 5, 5, 6, 7];

/// The faults and sizes of one simulation.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// How many members the group has at first.
    pub members: usize,
    /// How many clients there are.
    pub clients: usize,
    /// How long faults last.
    pub faults_for: Time,
    /// The mean time between two faults.
    pub fault_every: Time,
    /// The mean time that a client waits between two requests.
    pub think: Time,
    /// Messages in a thousand that are lost.
    pub lose: u64,
    /// Messages in a thousand that come twice.
    pub repeat: u64,
    /// Messages in a thousand that are very late.
    pub delay: u64,
    /// A cut link drops everything.
    pub partitions: bool,
    /// Links are also cut in one direction only.
    pub one_way: bool,
    /// Processes die and start again.
    pub crashes: bool,
    /// Of the machines too: what was not synced is lost or torn.
    pub power_losses: bool,
    /// All members die at once.
    pub outages: bool,
    /// Members are stopped for a while and do not notice.
    pub pauses: bool,
    /// Syncs are slow now and then.
    pub slow_disks: bool,
    /// Syncs fail now and then.
    pub failing_syncs: bool,
    /// Bits of durable files flip, whole disks are lost: one member at a time.
    pub damage: bool,
    /// The wanted members change.
    pub membership: bool,
    /// The administrator asks for the next change before the last one has ended; the leader must refuse.
    pub impatient: bool,
    /// Leadership is handed over on request.
    pub transfers: bool,
    /// Disks run full.
    pub full_disks: bool,
    /// Members' clocks run at different speeds, and jump.
    pub skew: bool,
    /// Sessions live short, so that they expire.
    pub short_sessions: bool,
    /// Applied entries that stay in the log: few make snapshots frequent.
    pub keep_entries: u64,
    /// The log is cut after so many entries.
    pub compact_after_entries: u64,
    /// Bytes of commands that wait, and of entries that a member holds before it has applied them.
    pub pending_bytes: usize,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Bytes of a piece of a snapshot.
    pub chunk_bytes: usize,
}

impl Swarm {
    /// Draws one.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut network = |most: u64| if rng.bool() { rng.u64(1..=most) } else { 0 };
        let (lose, repeat, delay) = (network(100), network(100), network(60));
        let power_losses = rng.bool();
        Swarm {
            members: MEMBERS[rng.usize(..MEMBERS.len())],
            clients: rng.usize(2..=4),
            faults_for: ms(rng.u64(1200..2600)),
            fault_every: ms(rng.u64(40..200)),
            think: ms(rng.u64(2..25)),
            lose,
            repeat,
            delay,
            partitions: rng.bool(),
            one_way: rng.bool(),
            crashes: rng.u8(..3) > 0,
            power_losses,
            outages: rng.u8(..3) == 0,
            pauses: rng.bool(),
            slow_disks: rng.bool(),
            failing_syncs: rng.u8(..3) == 0,
            damage: rng.bool(),
            membership: rng.bool(),
            impatient: rng.u8(..3) == 0,
            transfers: rng.bool(),
            full_disks: rng.u8(..4) == 0,
            skew: rng.bool(),
            short_sessions: rng.u8(..3) == 0,
            keep_entries: rng.u64(1..20),
            compact_after_entries: rng.u64(5..60),
            pending_bytes: 1 << rng.u32(8..16),
            segment_bytes: 1 << rng.u32(10..15),
            chunk_bytes: rng.usize(16..400),
        }
    }
}
