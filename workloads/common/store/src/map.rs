//! The state store as a map in memory, for the simulator: its views are cheap and its crashes keep what the trait
//! promises and no more.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::state::{Batch, BatchWrite, Read, StateError, StateStore};

type Map = BTreeMap<Bytes, Bytes>;

/// A store in memory, shared by its clones.
#[derive(Clone, Debug, Default)]
pub struct MapStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Views hold it too; a write while one lives copies it.
    live: Arc<Map>,
    durable: Map,
    pending: Vec<Batch>,
    damaged: bool,
}

impl MapStore {
    /// Power loss: keeps a random prefix of the batches since the last flush. Answers how many were lost.
    pub fn crash(&self, rng: &mut fastrand::Rng) -> usize {
        let mut inner = self.lock();
        let pending = std::mem::take(&mut inner.pending);
        let kept = rng.usize(..=pending.len());
        for batch in &pending[..kept] {
            apply(&mut inner.durable, batch);
        }
        inner.live = Arc::new(inner.durable.clone());
        pending.len() - kept
    }

    /// From now on all reads of the store (not of views taken before) find damage.
    pub fn damage(&self) {
        self.lock().damaged = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Result<Arc<Map>, StateError> {
        let inner = self.lock();
        if inner.damaged {
            return Err(StateError::Corrupt("a checksum is wrong".to_owned()));
        }
        Ok(inner.live.clone())
    }
}

fn apply(map: &mut Map, batch: &Batch) {
    for write in &batch.writes {
        match write {
            BatchWrite::Put(key, value) => {
                map.insert(key.clone(), value.clone());
            }
            BatchWrite::Delete(key) => {
                map.remove(key);
            }
            BatchWrite::DeleteRange(start, end) if start < end => {
                let keys: Vec<Bytes> = map
                    .range(start.clone()..end.clone())
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys {
                    map.remove(&key);
                }
            }
            BatchWrite::DeleteRange(..) => {}
        }
    }
}

impl StateStore for MapStore {
    fn write(&self, batch: Batch) -> Result<(), StateError> {
        let mut inner = self.lock();
        apply(Arc::make_mut(&mut inner.live), &batch);
        inner.pending.push(batch);
        Ok(())
    }

    fn flush(&self) -> Result<(), StateError> {
        let mut inner = self.lock();
        for batch in std::mem::take(&mut inner.pending) {
            apply(&mut inner.durable, &batch);
        }
        Ok(())
    }

    fn view(&self) -> Result<Box<dyn Read>, StateError> {
        Ok(Box::new(View(self.snapshot()?)))
    }
}

impl Read for MapStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let inner = self.lock();
        if inner.damaged {
            return Err(StateError::Corrupt("a checksum is wrong".to_owned()));
        }
        Ok(inner.live.get(key).cloned())
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        // Not under the lock: `visit` may write.
        View(self.snapshot()?).scan(start, end, visit)
    }
}

struct View(Arc<Map>);

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        if start >= end {
            return Ok(());
        }
        for (key, value) in self
            .0
            .range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)))
        {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Rig};

    struct MapRig(MapStore);

    impl Rig for MapRig {
        type Store = MapStore;

        fn open(&mut self) -> MapStore {
            self.0.clone()
        }

        fn crash(&mut self, _store: MapStore, rng: &mut fastrand::Rng) {
            self.0.crash(rng);
        }
    }

    #[test]
    fn it_conforms() {
        conformance::run(|| MapRig(MapStore::default()));
    }

    #[test]
    fn damage_is_told() {
        let store = MapStore::default();
        let view = store.view().unwrap();
        store.damage();
        assert!(matches!(store.get(b"k"), Err(StateError::Corrupt(_))));
        assert!(matches!(
            store.scan(b"", b"z", &mut |_, _| true),
            Err(StateError::Corrupt(_))
        ));
        assert!(view.get(b"k").unwrap().is_none());
    }
}
