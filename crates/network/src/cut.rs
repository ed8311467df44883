//! Cuts files into segments where their content says so.
//!
//! The places are those of FastCDC (2020), which looks at the 64 bytes before a place and at nothing else: wherever the
//! same bytes stand, cuts soon fall at the same places. Two peers that cut differently find nothing in common, so the
//! places are pinned by a test; with others [`crate::store`] needs another ending for what it remembers of them.

use fastcdc::v2020::FastCDC;
use protocol::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MEAN, SEGMENT_BYTES_MIN};
use std::{
    io::{self, Read},
    ops::ControlFlow,
};

/// Bytes in memory of a file that is cut.
const WINDOW_BYTES: usize = 1 << 20;

/// Reads to the end and hands over one segment after the other, until told to break off.
pub fn cut(
    mut reader: impl Read,
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let (least, mean) = (SEGMENT_BYTES_MIN as usize, SEGMENT_BYTES_MEAN as usize);
    let most = SEGMENT_BYTES_MAX as usize;
    let mut window = vec![0; WINDOW_BYTES];
    let mut filled = 0;
    loop {
        let read = fill(&mut reader, &mut window[filled..])?;
        filled += read;
        let is_end = filled < WINDOW_BYTES;
        let cutter = FastCDC::new(&window[..filled], least, mean, most);
        let mut start = 0;
        // A segment depends on as many bytes as it could have.
        while start < filled && (is_end || filled - start >= most) {
            let (_, end) = cutter.cut(start, filled - start);
            if take(&window[start..end]).is_break() {
                return Ok(());
            }
            start = end;
        }
        if is_end {
            return Ok(());
        }
        window.copy_within(start..filled, 0);
        filled -= start;
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Blake3Hash;

    fn noise(seed: &[u8], bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        let mut hasher = blake3::Hasher::new();
        hasher.update(seed).finalize_xof().fill(&mut data);
        data
    }

    fn segments(data: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let cut = cut(data, |segment| {
            all.push(segment.to_vec());
            ControlFlow::Continue(())
        });
        cut.unwrap();
        all
    }

    #[test]
    fn cuts_are_pinned() {
        let data = noise(b"segments", 3_000_000);
        let all = segments(&data);
        assert!(all.concat() == data);
        let lengths: Vec<u8> = all
            .iter()
            .flat_map(|segment| (segment.len() as u32).to_le_bytes())
            .collect();
        assert_eq!(all.len(), 155);
        let first: Vec<usize> = all.iter().take(5).map(Vec::len).collect();
        let hash = Blake3Hash::of(&lengths).to_string();
        assert_eq!(
            (first.as_slice(), hash.as_str()),
            (
                [17_162, 22_976, 24_942, 5_958, 7_806].as_slice(),
                "57b3c28f7599c2c9e18cceb060d33da257b87f1e643e7041dcc8bd6960c1bced"
            )
        );
    }

    #[test]
    fn lengths_are_within_their_bounds_and_windows_do_not_show() {
        assert!(segments(&[]).is_empty());
        let mixed = [noise(b"a", 1_500_000), vec![0; 700_000], noise(b"b", 99)].concat();
        for bytes in [
            1,
            4095,
            4096,
            65_537,
            WINDOW_BYTES - 1,
            WINDOW_BYTES,
            WINDOW_BYTES + 1,
            mixed.len(),
        ] {
            let all = segments(&mixed[..bytes]);
            assert!(all.concat() == mixed[..bytes], "{bytes}");
            let (last, others) = all.split_last().unwrap();
            assert!(last.len() <= SEGMENT_BYTES_MAX as usize);
            let bounds = SEGMENT_BYTES_MIN as usize..=SEGMENT_BYTES_MAX as usize;
            assert!(others.iter().all(|segment| bounds.contains(&segment.len())));
        }
        // What one call over all of it would cut.
        let (least, mean, most) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MEAN, SEGMENT_BYTES_MAX);
        let whole = FastCDC::new(&mixed, least as usize, mean as usize, most as usize);
        let lengths: Vec<usize> = whole.map(|chunk| chunk.length).collect();
        let own: Vec<usize> = segments(&mixed).iter().map(Vec::len).collect();
        assert_eq!(own, lengths);
    }

    #[test]
    fn a_change_changes_the_segments_around_it_only() {
        let old = noise(b"old", 2_000_000);
        let mut new = old.clone();
        new.splice(1_000_000..1_000_010, *b"twelve bytes");
        let kept: std::collections::HashSet<_> = segments(&old).into_iter().collect();
        let lacking = segments(&new)
            .into_iter()
            .filter(|segment| !kept.contains(segment));
        let lacking: usize = lacking.map(|segment| segment.len()).sum();
        assert!(lacking > 0 && lacking < 200_000, "{lacking}");
    }
}
