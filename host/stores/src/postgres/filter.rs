//! Which keys may have a document: a Bloom filter that grows with them.
//!
//! It forgets none that was put in, and takes about one in a hundred others for one of them; more where there are tens
//! of millions of keys, since it does not grow beyond 21 MB.

use std::hash::{BuildHasher as _, RandomState};

/// How many keys the first layer holds; each further one holds twice as many.
const FIRST: usize = 4096;

/// How many layers there are at most.
const MOST: usize = 12;

/// How many bits a key is given, and how many of them it sets.
const BITS: usize = 10;
const HASHES: u64 = 7;

/// The keys that may have a document.
#[derive(Default)]
pub(super) struct Filter {
    hasher: RandomState,
    layers: Vec<Layer>,
}

struct Layer {
    words: Vec<u64>,
    /// How many more keys it takes.
    room: usize,
}

impl Filter {
    /// Puts a key in.
    pub(super) fn insert(&mut self, collection: &str, key: &str) {
        let hash = self.hash(collection, key);
        if self.layers.iter().any(|layer| layer.contains(hash)) {
            return;
        }
        if self.layers.last().is_none_or(|layer| layer.room == 0) && self.layers.len() < MOST {
            self.layers.push(Layer::new(FIRST << self.layers.len()));
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.insert(hash);
        }
    }

    /// Whether a key may have been put in. When this says no, it was not.
    pub(super) fn may_contain(&self, collection: &str, key: &str) -> bool {
        let hash = self.hash(collection, key);
        self.layers.iter().any(|layer| layer.contains(hash))
    }

    fn hash(&self, collection: &str, key: &str) -> u64 {
        self.hasher.hash_one((collection, key))
    }
}

impl Layer {
    fn new(keys: usize) -> Self {
        Self { words: vec![0; keys * BITS / 64 + 1], room: keys }
    }

    fn insert(&mut self, hash: u64) {
        for (word, bit) in places(self.words.len(), hash) {
            self.words[word] |= bit;
        }
        self.room = self.room.saturating_sub(1);
    }

    fn contains(&self, hash: u64) -> bool {
        places(self.words.len(), hash).all(|(word, bit)| self.words[word] & bit != 0)
    }
}

/// The bits of a key: the word of each, and the bit in it.
fn places(words: usize, hash: u64) -> impl Iterator<Item = (usize, u64)> {
    // Two halves of one hash give as many independent ones as are needed.
    let (first, step) = (hash >> 32, (hash & 0xFFFF_FFFF) | 1);
    let bits = words as u64 * 64;
    (0..HASHES).map(move |index| {
        let bit = first.wrapping_add(index.wrapping_mul(step)) % bits;
        (usize::try_from(bit / 64).unwrap_or_default(), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let mut filter = Filter::default();
        assert!(!filter.may_contain("c", "0"));
        let keys = FIRST * 8;
        for key in 0..keys {
            filter.insert("c", &key.to_string());
            filter.insert("c", &key.to_string());
        }
        assert!((0..keys).all(|key| filter.may_contain("c", &key.to_string())));
        let mistaken = (0..keys).filter(|key| filter.may_contain("d", &key.to_string())).count();
        assert!(mistaken < keys / 10, "{mistaken} of {keys}");
        assert_eq!(filter.layers.len(), 4, "a key that is put in twice takes room once");
    }
}
