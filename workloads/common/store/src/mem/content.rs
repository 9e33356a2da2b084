//! The bytes of a simulated file: what is written, what is durable, and what lies between.

const SECTOR: u64 = 512;

/// A file's bytes.
#[derive(Debug, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync, in order.
    pending: Vec<Op>,
}

#[derive(Debug)]
enum Op {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
}

impl Content {
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let rest = self.live.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        len
    }

    pub(super) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn durable_len(&self) -> u64 {
        self.durable.len() as u64
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.push(Op::Write {
            offset,
            data: data.to_vec(),
        });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.push(Op::SetLen(len));
    }

    fn push(&mut self, op: Op) {
        op.apply(&mut self.live);
        self.pending.push(op);
    }

    pub(super) fn sync(&mut self) {
        for op in self.pending.drain(..) {
            op.apply(&mut self.durable);
        }
    }

    /// A sync failed: nobody will write these pages again.
    pub(super) fn lose(&mut self) {
        self.pending.clear();
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> bool {
        let at = offset as usize;
        if at >= self.durable.len() {
            return false;
        }
        for bytes in [&mut self.durable, &mut self.live] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        true
    }

    /// Power loss: a prefix of the operations on each sector, another of those on the length.
    pub(super) fn crash(&mut self, rng: &mut fastrand::Rng) {
        let ops = std::mem::take(&mut self.pending);
        if ops.is_empty() {
            self.live.clone_from(&self.durable);
            return;
        }
        // Besides "anything goes", often all or nothing: the plain cases must not be rare.
        let fate = rng.u8(..6);
        let pick = |rng: &mut fastrand::Rng| match fate {
            0 => 0,
            1 => ops.len(),
            _ => rng.usize(..=ops.len()),
        };
        let kept = pick(rng);
        let mut length = self.durable.len() as u64;
        for op in &ops[..kept] {
            length = op.length_after(length);
        }
        let before = std::mem::take(&mut self.durable);
        let longest = ops
            .iter()
            .fold(before.len() as u64, |len, op| len.max(op.length_after(len)));
        let mut after = before;
        after.resize(longest as usize, 0);
        for sector in touched(&ops, longest) {
            let count = pick(rng);
            for op in &ops[..count] {
                op.apply_within(&mut after, sector * SECTOR, SECTOR);
            }
            if fate > 3 && count < ops.len() && rng.u8(..4) == 0 {
                ops[count].apply_within(&mut after, sector * SECTOR, rng.u64(..SECTOR));
            }
        }
        after.resize(length as usize, 0);
        self.live.clone_from(&after);
        self.durable = after;
    }
}

/// The numbers of the sectors that some operation changes.
fn touched(ops: &[Op], longest: u64) -> std::collections::BTreeSet<u64> {
    let mut sectors = std::collections::BTreeSet::new();
    for op in ops {
        let (from, to) = match op {
            Op::Write { offset, data } => (*offset, offset + data.len() as u64),
            Op::SetLen(len) => (*len, longest),
        };
        if from < to {
            sectors.extend(from / SECTOR..to.div_ceil(SECTOR));
        }
    }
    sectors
}

impl Op {
    fn length_after(&self, before: u64) -> u64 {
        match self {
            Op::Write { data, .. } if data.is_empty() => before,
            Op::Write { offset, data } => before.max(offset + data.len() as u64),
            Op::SetLen(len) => *len,
        }
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.length_after(bytes.len() as u64) as usize, 0);
        if let Op::Write { offset, data } = self {
            let at = *offset as usize;
            if !data.is_empty() {
                bytes[at..at + data.len()].copy_from_slice(data);
            }
        }
    }

    /// What it does to `len` bytes from `start`, in a file that is long enough; what lies beyond a length is zero.
    fn apply_within(&self, bytes: &mut [u8], start: u64, len: u64) {
        let end = (start + len).min(bytes.len() as u64);
        match self {
            Op::Write { offset, data } => {
                let from = start.max(*offset);
                let to = end.min(offset + data.len() as u64);
                if from < to {
                    let source = &data[(from - offset) as usize..(to - offset) as usize];
                    bytes[from as usize..to as usize].copy_from_slice(source);
                }
            }
            Op::SetLen(length) => {
                let from = start.max(*length);
                if from < end {
                    bytes[from as usize..end as usize].fill(0);
                }
            }
        }
    }
}
