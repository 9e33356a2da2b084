//! Writes that are not in the store yet, over what is: reads see both. One overlay becomes one atomic batch.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use quorate_store::{Batch, BatchWrite, Read, StateError};

/// Called with a key and its value; false ends the scan.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> bool;

/// Pending writes (`None`: removed) over a store.
pub(crate) struct Overlay<'a> {
    base: &'a dyn Read,
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(base: &'a dyn Read) -> Self {
        Self {
            base,
            writes: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn delete(&mut self, key: Bytes) {
        self.writes.insert(key, None);
    }

    /// Pairs in order from `start` (inclusive) to `end` (exclusive).
    pub(crate) fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        if start >= end {
            return Ok(());
        }
        let range = (Bound::Included(start), Bound::Excluded(end));
        let mut own = self.writes.range::<[u8], _>(range).peekable();
        let mut more = true;
        self.base.scan(start, end, &mut |key, value| {
            while let Some((own_key, own_value)) =
                own.next_if(|(own_key, _)| more && own_key.as_ref() < key)
            {
                more = own_value
                    .as_ref()
                    .is_none_or(|own_value| visit(own_key, own_value));
            }
            if !more {
                return false;
            }
            more = match own.next_if(|(own_key, _)| own_key.as_ref() == key) {
                Some((_, Some(own_value))) => visit(key, own_value),
                Some((_, None)) => true,
                None => visit(key, value),
            };
            more
        })?;
        for (key, value) in own {
            let Some(value) = value else { continue };
            if !more || !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn into_batch(self) -> Batch {
        let writes = self.writes.into_iter().map(|(key, value)| match value {
            Some(value) => BatchWrite::Put(key, value),
            None => BatchWrite::Delete(key),
        });
        Batch {
            writes: writes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_store::{MapStore, StateStore};

    use super::*;

    fn collect(
        read: impl Fn(Visit<'_>) -> Result<(), StateError>,
        most: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        read(&mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            found.len() < most
        })
        .unwrap();
        found
    }

    proptest! {
        #[test]
        fn it_reads_as_if_its_batch_were_written(
            old in proptest::collection::btree_map(0u8..20, any::<u8>(), 0..20),
            new in proptest::collection::vec((0u8..20, proptest::option::of(any::<u8>())), 0..20),
            range in (0u8..22, 0u8..22),
            most in 1usize..25,
        ) {
            let store = MapStore::default();
            let pair = |key: u8, value: u8| (Bytes::from(vec![key]), Bytes::from(vec![value]));
            let writes = old.iter().map(|(key, value)| pair(*key, *value));
            store.write(Batch { writes: writes.map(|(key, value)| BatchWrite::Put(key, value)).collect() }).unwrap();
            let base = store.view().unwrap();
            let mut overlay = Overlay::new(&*base);
            for (key, value) in new {
                match value {
                    Some(value) => overlay.put(vec![key].into(), vec![value].into()),
                    None => overlay.delete(vec![key].into()),
                }
            }
            let (start, end) = ([range.0], [range.1]);
            let over = collect(|visit| overlay.scan(&start, &end, visit), most);
            let gets: Vec<_> = (0..20).map(|key| overlay.get(&[key]).unwrap()).collect();
            store.write(overlay.into_batch()).unwrap();
            prop_assert_eq!(over, collect(|visit| store.scan(&start, &end, visit), most));
            for (key, value) in gets.into_iter().enumerate() {
                prop_assert_eq!(value, store.get(&[key as u8]).unwrap());
            }
        }
    }
}
