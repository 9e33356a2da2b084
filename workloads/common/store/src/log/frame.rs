//! One batch of records on disk.
//!
//! ```text
//! 0   magic "QRL1"
//! 4   CRC-32 of segment number, offset and bytes 8..24: a frame is valid at its own place only
//! 8   length of the body
//! 12  CRC-32 of segment number, offset and body
//! 16  how far this segment was durable when the frame was written
//! 24  body: for each record its length (4 bytes) and its bytes
//! ..  zeros up to a multiple of 8
//! ```
//! Integers are little-endian. The header has a checksum of its own, so that a search for later frames need not
//! trust (or read as far as) a length that may be garbage.

use super::{LogError, Position};
use crate::bytes_le::{le32, le64};

pub(super) const HEADER: u64 = 24;
pub(super) const ALIGN: u64 = 8;
const MAGIC: [u8; 4] = *b"QRL1";

/// A frame whose checksums hold.
pub(super) struct Frame<'a> {
    pub durable: u64,
    pub body: &'a [u8],
    /// Where the next frame begins.
    pub next: u64,
}

/// The length of the frame that holds these records.
pub(super) fn frame_len(records: &[&[u8]]) -> Result<u64, LogError> {
    let body: usize = records.iter().map(|record| record.len() + 4).sum();
    if u32::try_from(body).is_err() {
        return Err(LogError::TooLarge(body));
    }
    Ok((HEADER + body as u64).next_multiple_of(ALIGN))
}

/// Appends the frame to `out`, which holds nothing of this segment before `place`.
pub(super) fn encode(
    out: &mut Vec<u8>,
    place: Position,
    durable: u64,
    records: &[&[u8]],
) -> Result<(), LogError> {
    let total = frame_len(records)?;
    let start = out.len();
    out.resize(start + HEADER as usize, 0);
    for record in records {
        out.extend_from_slice(&(record.len() as u32).to_le_bytes());
        out.extend_from_slice(record);
    }
    let body_len = (out.len() - start) as u64 - HEADER;
    let body_crc = checksum(place, &out[start + HEADER as usize..]);
    out.resize(start + total as usize, 0);
    let head = &mut out[start..start + HEADER as usize];
    head[..4].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&(body_len as u32).to_le_bytes());
    head[12..16].copy_from_slice(&body_crc.to_le_bytes());
    head[16..24].copy_from_slice(&durable.to_le_bytes());
    let head_crc = checksum(place, &head[8..24]);
    head[4..8].copy_from_slice(&head_crc.to_le_bytes());
    Ok(())
}

/// The frame at `place` of the segment whose bytes are `bytes`, if it is intact.
pub(super) fn decode(bytes: &[u8], place: Position) -> Option<Frame<'_>> {
    let rest = bytes.get(usize::try_from(place.offset).ok()?..)?;
    let head = rest.get(..HEADER as usize)?;
    if head[..4] != MAGIC || checksum(place, &head[8..24]) != le32(&head[4..8]) {
        return None;
    }
    let body_len = le32(&head[8..12]) as usize;
    let body = rest.get(HEADER as usize..)?.get(..body_len)?;
    if checksum(place, body) != le32(&head[12..16]) {
        return None;
    }
    let next = (place.offset + HEADER + body_len as u64).next_multiple_of(ALIGN);
    Some(Frame {
        durable: le64(&head[16..24]),
        body,
        next,
    })
}

/// The records of a body.
pub(super) fn records(mut body: &[u8]) -> impl Iterator<Item = Result<&[u8], String>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let record = body.split_first_chunk::<4>().and_then(|(len, rest)| {
            let len = u32::from_le_bytes(*len) as usize;
            (len <= rest.len()).then(|| rest.split_at(len))
        });
        let Some((record, rest)) = record else {
            body = &[];
            return Some(Err("a record reaches beyond its batch".to_owned()));
        };
        body = rest;
        Some(Ok(record))
    })
}

fn checksum(place: Position, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(place: Position, records: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0; place.offset as usize];
        encode(&mut out, place, 7, records).unwrap();
        out
    }

    #[test]
    fn what_was_encoded_comes_back() {
        let place = Position {
            segment: 3,
            offset: 40,
        };
        let bytes = encoded(place, &[b"one", b"", b"three"]);
        let frame = decode(&bytes, place).unwrap();
        let found: Vec<&[u8]> = records(frame.body).map(Result::unwrap).collect();
        assert_eq!(found, [&b"one"[..], b"", b"three"]);
        assert_eq!((frame.durable, frame.next), (7, bytes.len() as u64));
        assert_eq!(
            bytes.len() as u64 - 40,
            frame_len(&[b"one", b"", b"three"]).unwrap()
        );
    }

    #[test]
    fn a_frame_is_valid_only_where_it_was_written() {
        let place = Position {
            segment: 3,
            offset: 40,
        };
        let bytes = encoded(place, &[b"stale"]);
        assert!(
            decode(
                &bytes,
                Position {
                    segment: 4,
                    offset: 40
                }
            )
            .is_none()
        );
        let mut moved = vec![0; 8];
        moved.extend_from_slice(&bytes);
        assert!(
            decode(
                &moved,
                Position {
                    segment: 3,
                    offset: 48
                }
            )
            .is_none()
        );
    }

    #[test]
    fn every_flipped_bit_is_seen_except_in_padding() {
        let place = Position {
            segment: 1,
            offset: 0,
        };
        let bytes = encoded(place, &[b"some record"]);
        for bit in 0..(HEADER as usize + 4 + 11) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged, place).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_longer_than_its_batch_is_an_error() {
        assert_eq!(records(&[9, 0, 0, 0, 1]).filter(Result::is_err).count(), 1);
        assert_eq!(records(&[9, 0]).filter(Result::is_err).count(), 1);
    }
}
