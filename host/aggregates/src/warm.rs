//! The warm aggregates: a place for each stream that is in use or loaded. The least recently used are dropped first,
//! those in use never.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use hashlink::LinkedHashMap;
use lantern_core::StreamName;

use crate::{Capacity, counters::Tally, loaded::Loaded};

/// Over how many maps the streams are spread, so that commands seldom wait for each other's look at a map.
const SHARDS: usize = 16;

/// Where an aggregate is kept while it is loaded, and where commands of its stream wait for their turn.
#[derive(Default)]
pub(crate) struct Place {
    under_way: AtomicUsize,
    last_used: AtomicU64,
    /// Fair: commands of a stream have their turn in the order they came.
    pub(crate) loaded: tokio::sync::Mutex<Option<Loaded>>,
}

/// A command's place in the queue of its stream.
pub(crate) struct UnderWay(Arc<Place>);

impl UnderWay {
    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// From the least to the most recently used.
type Shard = LinkedHashMap<StreamName, Arc<Place>, RandomState>;

/// The places of all streams.
pub(crate) struct Warm {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    capacity: Capacity,
    /// Counts uses: the time by which places are compared.
    uses: AtomicU64,
    places: AtomicUsize,
}

impl Warm {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(LinkedHashMap::with_hasher(RandomState::default())));
        Self { shards, hasher: RandomState::default(), capacity, uses: AtomicU64::new(0), places: AtomicUsize::new(0) }
    }

    /// A place in the queue of a stream; none when too many commands wait there.
    pub(crate) fn enter(&self, stream: &StreamName) -> Option<UnderWay> {
        let place = self.place(stream);
        let under_way = UnderWay(place);
        let before = under_way.0.under_way.fetch_add(1, Ordering::Relaxed);
        (before < self.capacity.commands_per_stream).then_some(under_way)
    }

    fn place(&self, stream: &StreamName) -> Arc<Place> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(stream);
        let place = if let Some(place) = shard.to_back(stream) {
            place.clone()
        } else {
            self.places.fetch_add(1, Ordering::Relaxed);
            let place = Arc::new(Place::default());
            shard.insert(stream.clone(), place.clone());
            place
        };
        place.last_used.store(now, Ordering::Relaxed);
        place
    }

    /// Takes out what is too much, the least recently used first. The caller drops it where blocking is allowed.
    pub(crate) fn evict(&self, bytes: &Tally) -> Vec<Loaded> {
        let mut evicted = Vec::new();
        while self.places.load(Ordering::Relaxed) > self.capacity.loaded || bytes.get() > self.capacity.bytes {
            let Some((shard, last_used)) = self.oldest() else { break };
            let mut places = lock(&self.shards[shard]);
            // It may have been used meanwhile; then the next one is looked for.
            let oldest = places.iter().find(|(_, place)| is_unused(place));
            let oldest = oldest.filter(|(_, place)| place.last_used.load(Ordering::Relaxed) == last_used);
            if let Some(stream) = oldest.map(|(stream, _)| stream.clone()) {
                evicted.extend(self.take(&mut places, &stream));
            }
        }
        evicted
    }

    /// The shard with the least recently used place nobody uses now, and when that was used.
    fn oldest(&self) -> Option<(usize, u64)> {
        let oldest = |(index, shard): (usize, &Mutex<Shard>)| {
            let places = lock(shard);
            let unused = places.values().find(|place| is_unused(place))?;
            Some((index, unused.last_used.load(Ordering::Relaxed)))
        };
        self.shards.iter().enumerate().filter_map(oldest).min_by_key(|(_, last_used)| *last_used)
    }

    /// Takes out all streams of a category that nobody uses now. Those in use find by themselves that they are outdated.
    pub(crate) fn forget(&self, category: &str) -> Vec<Loaded> {
        let mut forgotten = Vec::new();
        for shard in &self.shards {
            let mut places = lock(shard);
            let gone = places.iter().filter(|(stream, place)| stream.category() == category && is_unused(place));
            let gone: Vec<StreamName> = gone.map(|(stream, _)| stream.clone()).collect();
            for stream in gone {
                forgotten.extend(self.take(&mut places, &stream));
            }
        }
        forgotten
    }

    /// The streams of a category that were used last, the last one first.
    pub(crate) fn recent(&self, category: &str, most: usize) -> Vec<StreamName> {
        let mut recent: Vec<(u64, StreamName)> = Vec::new();
        for shard in &self.shards {
            let places = lock(shard);
            let own = places.iter().rev().filter(|(stream, _)| stream.category() == category).take(most);
            recent.extend(own.map(|(stream, place)| (place.last_used.load(Ordering::Relaxed), stream.clone())));
        }
        recent.sort_unstable_by(|a, b| b.cmp(a));
        recent.truncate(most);
        recent.into_iter().map(|(_, stream)| stream).collect()
    }

    fn take(&self, places: &mut Shard, stream: &StreamName) -> Option<Loaded> {
        let place = places.remove(stream)?;
        self.places.fetch_sub(1, Ordering::Relaxed);
        let mut loaded = place.loaded.try_lock().ok()?.take()?;
        loaded.charge.clear();
        Some(loaded)
    }

    fn shard(&self, stream: &StreamName) -> MutexGuard<'_, Shard> {
        // The remainder is smaller than the number of shards.
        lock(&self.shards[self.hasher.hash_one(stream) as usize % SHARDS])
    }
}

/// Whether only the map knows of a place. Clones are made under the lock of the shard, so nobody can come meanwhile.
fn is_unused(place: &Arc<Place>) -> bool {
    Arc::strong_count(place) == 1
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing that can panic runs while a shard is half-changed.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
