//! Where the machine's data lies, below the prefix that the group gives it.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_store::StateError;

/// The key that holds the store's revision.
pub(crate) const REVISION: &[u8] = &[0];
/// What the keys of records begin with.
pub(crate) const RECORDS: u8 = 1;

/// Where the record of a client's key lies.
pub(crate) fn record_key(key: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(1 + key.len());
    stored.put_u8(RECORDS);
    stored.put_slice(key);
    stored.freeze()
}

/// Reads the revision; a store that was never written has 0.
pub(crate) fn decode_revision(stored: Option<&[u8]>) -> Result<u64, StateError> {
    let Some(bytes) = stored else { return Ok(0) };
    let bytes = bytes
        .try_into()
        .map_err(|_| StateError::Corrupt(format!("a revision of {} bytes", bytes.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The first key that does not begin with `prefix`; `None` when there is none (all bytes are 255).
pub(crate) fn successor(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_successor_drops_full_bytes() {
        assert_eq!(successor(b"ab").unwrap(), &b"ac"[..]);
        assert_eq!(successor(b"a\xff\xff").unwrap(), &b"b"[..]);
        assert_eq!(successor(b"\xff"), None);
        assert_eq!(successor(b""), None);
    }

    proptest! {
        #[test]
        fn exactly_the_keys_with_the_prefix_lie_below_its_successor(
            prefix in prop::collection::vec(prop::sample::select(vec![0u8, 1, 254, 255]), 1..4),
            key in prop::collection::vec(prop::sample::select(vec![0u8, 1, 254, 255]), 0..6),
        ) {
            let inside = key >= prefix && successor(&prefix).is_none_or(|end| key < end.to_vec());
            prop_assert_eq!(inside, key.starts_with(&prefix));
        }
    }
}
