//! A hash map that only looks up: its order is never seen, so it decides nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{
        HashMap,
        hash_map::{DefaultHasher, Entry},
    },
    hash::{BuildHasher, Hash, Hasher},
};

/// Hashes under the job's secret: peers choose their ids and roots, and must not be able to choose ones that collide.
#[derive(Debug, Clone)]
struct Keyed(DefaultHasher);

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

/// Values by key, in no order.
#[derive(Debug, Clone)]
pub(crate) struct Lookup<Key, Value>(HashMap<Key, Value, Keyed>);

impl<Key: Copy + Ord + Hash, Value> Lookup<Key, Value> {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(secret);
        Self(HashMap::with_hasher(Keyed(hasher)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains_key(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.0.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Value> {
        self.0.get_mut(key)
    }

    pub(crate) fn entry(&mut self, key: Key) -> Entry<'_, Key, Value> {
        self.0.entry(key)
    }

    pub(crate) fn insert(&mut self, key: Key, value: Value) {
        self.0.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Value> {
        self.0.remove(key)
    }

    /// The same entries under this secret: those that were read hash under none.
    pub(crate) fn keyed(self, secret: &[u8; 32]) -> Self {
        let mut keyed = Self::new(secret);
        keyed.0.extend(self.0);
        keyed
    }

    /// All entries by ascending key; sorts them each time.
    pub(crate) fn sorted(&self) -> Vec<(Key, &Value)> {
        let mut entries: Vec<(Key, &Value)> =
            self.0.iter().map(|(key, value)| (*key, value)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }
}

impl<Key: Copy + Ord + Hash + Serialize, Value: Serialize> Serialize for Lookup<Key, Value> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.sorted())
    }
}

impl<'de, Key, Value> Deserialize<'de> for Lookup<Key, Value>
where
    Key: Copy + Ord + Hash + Deserialize<'de>,
    Value: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut lookup = Self::new(&[0; 32]);
        lookup
            .0
            .extend(Vec::<(Key, Value)>::deserialize(deserializer)?);
        Ok(lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_sorted_whatever_the_secret() {
        for secret in 0..20 {
            let mut lookup = Lookup::new(&[secret; 32]);
            for key in [5u32, 3, 9, 1, 7] {
                lookup.insert(key, key * 2);
            }
            assert_eq!(lookup.remove(&9), Some(18));
            let keys: Vec<u32> = lookup.sorted().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, [1, 3, 5, 7]);
            assert_eq!(lookup.get(&7), Some(&14));
            assert!(!lookup.contains_key(&9));
        }
    }
}
