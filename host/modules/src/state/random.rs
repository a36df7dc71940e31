//! Random numbers that are the same whenever the same event is handled.

use sha2::{Digest as _, Sha256};

/// Random numbers seeded by an event.
///
/// Block n of 32 bytes is the SHA-256 digest of the purpose, the seed and n. The rule must never change: read models
/// that were built by it would not come out the same again.
pub(crate) struct Random {
    purpose: &'static [u8],
    seed: [u8; 16],
    blocks: u64,
    block: [u8; 32],
    left: usize,
}

impl Random {
    /// Numbers for a purpose, with a seed of zeros.
    pub(crate) fn new(purpose: &'static [u8]) -> Self {
        Self { purpose, seed: [0; 16], blocks: 0, block: [0; 32], left: 0 }
    }

    /// Begins the numbers of a seed.
    pub(crate) fn seed(&mut self, seed: &[u8; 16]) {
        self.seed = *seed;
        self.blocks = 0;
        self.left = 0;
    }

    /// The next bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            self.refill();
            let taken = self.left.min(count - bytes.len());
            let start = self.block.len() - self.left;
            bytes.extend_from_slice(&self.block[start..start + taken]);
            self.left -= taken;
        }
        bytes
    }

    /// The next number: eight bytes, little-endian.
    pub(crate) fn number(&mut self) -> u64 {
        self.bytes(8).into_iter().rev().fold(0, |number, byte| number << 8 | u64::from(byte))
    }

    fn refill(&mut self) {
        if self.left > 0 {
            return;
        }
        let digest = Sha256::new()
            .chain_update(self.purpose)
            .chain_update(self.seed)
            .chain_update(self.blocks.to_be_bytes())
            .finalize();
        self.block = digest.into();
        self.left = self.block.len();
        self.blocks += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let mut random = Random::new(b"secure");
        random.seed(&[7; 16]);
        let first = (random.number(), random.bytes(100), random.number());
        random.seed(&[8; 16]);
        assert_ne!(random.number(), first.0);
        random.seed(&[7; 16]);
        assert_eq!((random.number(), random.bytes(100), random.number()), first);
    }

    #[test]
    fn the_rule_does_not_change() {
        let mut random = Random::new(b"secure");
        random.seed(&[0; 16]);
        let expected = Sha256::digest([b"secure".as_slice(), &[0; 24]].concat());
        assert_eq!(random.bytes(32), expected.as_slice());
    }

    #[test]
    fn pieces_are_those_of_the_whole() {
        let whole = Random::new(b"secure").bytes(80);
        let mut random = Random::new(b"secure");
        let pieces = [random.bytes(3), random.bytes(40), random.bytes(0), random.bytes(37)].concat();
        assert_eq!(pieces, whole);
    }

    #[test]
    fn purposes_differ() {
        assert_ne!(Random::new(b"secure").number(), Random::new(b"insecure").number());
    }
}
