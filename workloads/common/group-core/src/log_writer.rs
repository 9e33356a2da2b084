//! The one log of all groups, as the shell's writer thread (and the simulator) holds it.

use std::collections::BTreeMap;

use quorate_raft::{LogStart, Vote, WriteId};
use quorate_store::{LogError, SegmentLog};

use crate::io::{Durable, Input};
use crate::record::Record;
use crate::types::GroupId;

/// What a new segment begins with: the vote and start of every group, so that older segments can go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(BTreeMap<GroupId, Mark>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    vote: Vote,
    start: Option<LogStart>,
}

impl Marks {
    /// Takes note of what was appended.
    pub(crate) fn note(&mut self, record: &Record) {
        let mark = self.0.entry(record.group()).or_default();
        match record {
            Record::Vote { vote, .. } => mark.vote = *vote,
            // What the start dropped is gone already where the checkpoint stands.
            Record::Start { start, .. } => {
                mark.start = Some(LogStart {
                    drop_suffix: false,
                    ..*start
                })
            }
            Record::Entries { .. } => {}
        }
    }

    fn checkpoint(&self) -> Vec<Vec<u8>> {
        let records = self.0.iter().flat_map(|(group, mark)| {
            let vote = Record::Vote {
                group: *group,
                vote: mark.vote,
            };
            let start = mark.start.map(|start| Record::Start {
                group: *group,
                start,
            });
            [Some(vote), start].into_iter().flatten()
        });
        records.map(|record| record.encode()).collect()
    }
}

/// Carries out [`crate::Effect::Log`] and [`crate::Effect::DropSegments`].
#[derive(Debug)]
pub struct LogWriter {
    log: SegmentLog,
    marks: Marks,
    waiting: Vec<(WriteId, u64)>,
}

impl LogWriter {
    pub(crate) fn new(log: SegmentLog, marks: Marks) -> Self {
        Self {
            log,
            marks,
            waiting: Vec::new(),
        }
    }

    /// Appends the records of one [`crate::Effect::Log`] with one write; not durable before [`LogWriter::sync`].
    /// After an error the process must end (see [`LogError`]).
    pub fn append(&mut self, id: WriteId, records: &[Record]) -> Result<(), LogError> {
        let encoded: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        let slices: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
        let segment = self.log.append(&slices, &mut || self.marks.checkpoint())?;
        for record in records {
            self.marks.note(record);
        }
        self.waiting.push((id, segment));
        Ok(())
    }

    /// Makes everything appended durable with one fsync; the input tells the groups. `None`: there was nothing.
    pub fn sync(&mut self) -> Result<Option<Input>, LogError> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        self.log.sync()?;
        Ok(Some(Input::Written(Durable {
            writes: std::mem::take(&mut self.waiting),
        })))
    }

    /// Removes all segments below this one.
    pub fn drop_below(&mut self, segment: u64) -> Result<(), LogError> {
        self.log.drop_below(segment)
    }

    /// Bytes in the log.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// The log itself, for metrics.
    pub fn log(&self) -> &SegmentLog {
        &self.log
    }

    /// Ends the log cleanly, so that the next start can tell any damage to it.
    pub fn close(self) -> Result<(), LogError> {
        self.log.close()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_store::{LogOptions, MemFs};

    use super::*;

    #[test]
    fn one_sync_serves_all_that_was_appended_and_a_new_segment_begins_with_the_marks() {
        let disk: quorate_store::Disk = Arc::new(MemFs::default());
        let options = LogOptions { segment_bytes: 400 };
        let (log, _) =
            SegmentLog::open(disk.clone(), "log", options.clone(), &mut |_, _| Ok(())).unwrap();
        let mut writer = LogWriter::new(log, Marks::default());
        assert_eq!(writer.sync().unwrap().map(|_| ()), None);
        let vote = |term| Record::Vote {
            group: 3,
            vote: Vote {
                term,
                voted_for: None,
            },
        };
        let start = LogStart {
            index: 9,
            term: 2,
            drop_suffix: true,
        };
        writer
            .append(1, &[Record::Start { group: 3, start }, vote(4)])
            .unwrap();
        writer.append(2, &[vote(5)]).unwrap();
        let Some(Input::Written(durable)) = writer.sync().unwrap() else {
            panic!("nothing was written")
        };
        assert_eq!(durable.writes, [(1, 1), (2, 1)]);
        let mut id = 2;
        while writer.log.segment() == 1 {
            id += 1;
            writer.append(id, &[vote(id)]).unwrap();
        }
        writer.drop_below(2).unwrap();
        drop(writer);
        let mut found = Vec::new();
        SegmentLog::open(disk, "log", options, &mut |_, bytes| {
            found.push(Record::decode(bytes).unwrap());
            Ok(())
        })
        .unwrap();
        let start = Record::Start {
            group: 3,
            start: LogStart {
                drop_suffix: false,
                ..start
            },
        };
        assert_eq!(found, [vote(id - 1), start, vote(id)]);
    }
}
