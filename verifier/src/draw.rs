//! Secret numbers: a stream that follows from the requestor's secret and from what was committed to, and that nobody
//! without the secret can tell from chance.

/// Words of the stream taken at a time after the first block: the hash computes several blocks at once.
const WORDS: usize = 128;
/// The first block alone, because few draws need more.
const FIRST_WORDS: usize = 16;

/// A stream of secret numbers, taken in whole blocks: the stream computes those, however few bytes are asked.
pub struct SecretDraw {
    stream: blake3::OutputReader,
    words: [u32; WORDS],
    /// The words not used yet lie from `used` to `filled`.
    used: usize,
    filled: usize,
}

impl SecretDraw {
    /// The stream of these bytes; `context` keeps draws for different ends apart.
    pub fn new(secret: &[u8; 32], context: &[u8], bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(&(context.len() as u64).to_le_bytes());
        hasher.update(context).update(bytes);
        Self {
            stream: hasher.finalize_xof(),
            words: [0; WORDS],
            used: 0,
            filled: 0,
        }
    }

    fn word(&mut self) -> u32 {
        if self.used == self.filled {
            self.fill();
        }
        let word = self.words[self.used];
        self.used += 1;
        word
    }

    fn fill(&mut self) {
        let more = match self.filled {
            0 => FIRST_WORDS,
            _ => WORDS,
        };
        let mut bytes = [[0; 4]; WORDS];
        self.stream.fill(bytes[..more].as_flattened_mut());
        for (word, bytes) in self.words.iter_mut().zip(bytes) {
            *word = u32::from_le_bytes(bytes);
        }
        (self.used, self.filled) = (0, more);
    }

    /// A number below `limit` (0 for a limit of 0); its bias of at most `limit / 2^32` does not matter here.
    pub fn below(&mut self, limit: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(limit)) >> 32) as u32
    }

    /// The numbers below `length` in a secret order.
    pub fn permutation(&mut self, length: u32) -> Vec<u32> {
        let mut items: Vec<u32> = (0..length).collect();
        for last in (1..items.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            items.swap(last, other);
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_other_secrets_contexts_and_bytes_differ() {
        let numbers = |secret: u8, context: &[u8], bytes: &[u8]| {
            let mut draw = SecretDraw::new(&[secret; 32], context, bytes);
            [0; 300].map(|_: u32| draw.below(u32::MAX))
        };
        let first = numbers(1, b"a", b"bc");
        assert_eq!(first, numbers(1, b"a", b"bc"));
        for other in [
            numbers(2, b"a", b"bc"),
            numbers(1, b"ab", b"c"),
            numbers(1, b"a", b"bd"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn permutations_hold_each_number_once() {
        let mut draw = SecretDraw::new(&[3; 32], b"order", b"");
        let mut order = draw.permutation(1_000);
        assert_ne!(order, draw.permutation(1_000));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1_000));
        assert!(draw.permutation(0).is_empty());
    }
}
