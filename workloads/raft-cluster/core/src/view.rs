//! Reading the state: one key, or a page of keys in order.

use bytes::Bytes;
use quorate_group_core::{GroupId, machine_prefix};
use quorate_store::{Read, StateError};

use crate::layout::{RECORDS, REVISION, decode_revision, record_key, successor};
use crate::record::Record;

/// A group's records in a store or a frozen view of one. What belongs together (a record and the revision) must be
/// read from one frozen view.
pub struct View<'a> {
    read: &'a dyn Read,
    prefix: [u8; 9],
}

/// Which keys a page shall hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// Only keys at or after this.
    pub start: Bytes,
    /// At most so many.
    pub limit: usize,
    /// At most so many bytes of keys and values, but always one entry if there is one.
    pub bytes: usize,
}

/// A key and its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// Its record.
    pub record: Record,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The store's revision when it was read.
    pub revision: u64,
    /// In order of their keys.
    pub entries: Vec<Entry>,
    /// Where the next page starts; `None` after the last key.
    pub next: Option<Bytes>,
}

impl<'a> View<'a> {
    /// The records of `group` in `read`.
    pub fn new(read: &'a dyn Read, group: GroupId) -> Self {
        Self {
            read,
            prefix: machine_prefix(group),
        }
    }

    /// The revision of the last command that changed something; 0 at first.
    pub fn revision(&self) -> Result<u64, StateError> {
        decode_revision(self.read.get(&self.at(REVISION))?.as_deref())
    }

    /// The record of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, StateError> {
        self.read
            .get(&self.at(&record_key(key)))?
            .map(Record::from_bytes)
            .transpose()
    }

    /// The keys of a page, in order.
    pub fn page(&self, query: &PageQuery) -> Result<Page, StateError> {
        let mut page = Page {
            revision: self.revision()?,
            ..Page::default()
        };
        let all = self.at(&[RECORDS]);
        let start = self.at(&record_key((&query.start).max(&query.prefix)));
        let end = successor(&self.at(&record_key(&query.prefix))).filter(|end| start[..] < end[..]);
        let Some(end) = end else { return Ok(page) };
        let (mut bytes, mut damage) = (0, None);
        self.read.scan(&start, &end, &mut |key, value| {
            let key = Bytes::copy_from_slice(&key[all.len().min(key.len())..]);
            bytes += key.len() + value.len();
            if page.entries.len() >= query.limit
                || (bytes > query.bytes && !page.entries.is_empty())
            {
                page.next = Some(key);
                return false;
            }
            match Record::from_bytes(Bytes::copy_from_slice(value)) {
                Ok(record) => page.entries.push(Entry { key, record }),
                Err(error) => damage = Some(error),
            }
            damage.is_none()
        })?;
        damage.map_or(Ok(page), Err)
    }

    fn at(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix[..], key].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::apply;
    use crate::model::{Model, Stored, command, key};

    fn query(prefix: &'static [u8], start: &'static [u8], limit: usize) -> PageQuery {
        PageQuery {
            prefix: prefix.into(),
            start: start.into(),
            limit,
            bytes: usize::MAX,
        }
    }

    fn stored(keys: &[&'static [u8]]) -> Stored {
        let mut stored = Stored::default();
        for key in keys {
            let put = crate::Operation::Put {
                key: Bytes::from_static(key),
                value: Bytes::from_static(b"four"),
            };
            apply(&mut stored, crate::Command::single(vec![], put).encode()).unwrap();
        }
        stored
    }

    fn keys(page: &Page) -> Vec<&[u8]> {
        page.entries.iter().map(|entry| &entry.key[..]).collect()
    }

    #[test]
    fn a_page_ends_at_its_limit_and_says_where_the_next_begins() {
        let stored = stored(&[b"a", b"b/1", b"b/2", b"b/3", b"c"]);
        let page = stored.view(|view| view.page(&query(b"b/", b"", 2)));
        assert_eq!(
            (keys(&page), page.next.clone(), page.revision),
            (vec![&b"b/1"[..], b"b/2"], Some("b/3".into()), 5)
        );
        let page = stored.view(|view| view.page(&query(b"b/", b"b/3", 2)));
        assert_eq!((keys(&page), page.next.clone()), (vec![&b"b/3"[..]], None));
        let page = stored.view(|view| view.page(&query(b"b/", b"a", 9)));
        assert_eq!(
            keys(&page).len(),
            3,
            "a start before the prefix begins at the prefix"
        );
        let page = stored.view(|view| view.page(&query(b"b/", b"c", 9)));
        assert_eq!(
            keys(&page).len(),
            0,
            "a start beyond the prefix finds nothing"
        );
    }

    #[test]
    fn a_page_ends_at_its_bytes_but_is_never_empty_before_the_end() {
        let stored = stored(&[b"a", b"b"]);
        let page = stored.view(|view| {
            view.page(&PageQuery {
                bytes: 1,
                limit: 9,
                ..PageQuery::default()
            })
        });
        assert_eq!(
            (keys(&page), page.next.clone()),
            (vec![&b"a"[..]], Some("b".into()))
        );
    }

    #[test]
    fn a_prefix_of_full_bytes_has_an_end() {
        let stored = stored(&[b"\xfe", b"\xff", b"\xff\xff", b"\xff\xff\x01"]);
        let page = stored.view(|view| view.page(&query(b"\xff\xff", b"", 9)));
        assert_eq!(keys(&page), [&b"\xff\xff"[..], b"\xff\xff\x01"]);
    }

    #[test]
    fn another_groups_records_are_not_seen() {
        let stored = stored(&[b"a"]);
        assert_eq!(View::new(&stored, 2).get(b"a").unwrap(), None);
        assert_eq!(
            View::new(&stored, 0).page(&query(b"", b"", 9)).unwrap(),
            Page::default()
        );
    }

    proptest! {
        #[test]
        fn pages_put_together_are_what_the_model_holds(
            commands in prop::collection::vec(command(), 1..20),
            prefix in key(), start in key(), limit in 1usize..5, bytes in 1usize..30,
        ) {
            let (mut stored, mut model) = (Stored::default(), Model::default());
            for command in commands {
                apply(&mut stored, command.encode()).unwrap();
                model.apply(&command);
            }
            let expected: Vec<_> = model.records.range(start.clone()..).filter(|(key, _)| key.starts_with(&prefix)).collect();
            let mut query = PageQuery { prefix: prefix.clone(), start, limit, bytes };
            let mut found = Vec::new();
            loop {
                let page = stored.view(|view| view.page(&query));
                prop_assert!(page.entries.len() <= limit);
                prop_assert!(page.next.is_none() || !page.entries.is_empty());
                found.extend(page.entries.into_iter().map(|entry| (entry.key, entry.record)));
                let Some(next) = page.next else { break };
                query.start = next;
            }
            prop_assert_eq!(found.iter().map(|(key, record)| (key, record)).collect::<Vec<_>>(), expected);
        }
    }
}
