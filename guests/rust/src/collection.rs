//! Collections of documents: what a projection writes.

use crate::Failure;
use crate::host::documents;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::marker::PhantomData;
use std::vec::IntoIter;

/// How many documents a [`Scan`] fetches at a time.
const PAGE: u32 = 256;

thread_local! {
    /// The room the last document was written in, used again by the next one.
    static TEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A collection of documents of one type, by key.
///
/// Reads see the writes of this call and of every event before it. Writes take effect together when the event has been
/// handled without failure.
///
/// ```
/// # use lantern_guest::prelude::*;
/// #[derive(Default, Serialize, Deserialize)]
/// struct Totals {
///     orders: u64,
/// }
///
/// const TOTALS: Collection<Totals> = Collection::new("totals");
/// ```
///
/// Every collection has to be named in [`Projection::COLLECTIONS`](crate::Projection::COLLECTIONS).
pub struct Collection<T> {
    name: &'static str,
    document: PhantomData<fn() -> T>,
}

impl<T> Collection<T> {
    /// The collection of that name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, document: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Removes the document at a key; nothing happens when there is none.
    pub fn delete(&self, key: impl AsRef<str>) {
        documents::delete(self.name, key.as_ref());
    }
}

impl<T: DeserializeOwned> Collection<T> {
    /// The document at a key.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<T>, Failure> {
        let key = key.as_ref();
        documents::get(self.name, key).map(|text| parse(self.name, key, &text)).transpose()
    }

    /// All documents whose keys begin with `prefix`, in ascending order of their keys.
    ///
    /// They are fetched page by page as the iterator advances.
    #[must_use]
    pub fn scan(&self, prefix: impl Into<String>) -> Scan<T> {
        Scan {
            collection: self.name,
            prefix: prefix.into(),
            after: None,
            page: Vec::new().into_iter(),
            more: true,
            document: PhantomData,
        }
    }
}

impl<T: Serialize> Collection<T> {
    /// Writes the document at a key, replacing what was there.
    pub fn put(&self, key: impl AsRef<str>, document: &T) -> Result<(), Failure> {
        let key = key.as_ref();
        let mut text = TEXT.take();
        text.clear();
        serde_json::to_writer(&mut text, document).map_err(|error| {
            Failure::permanent(format_args!("cannot write document `{key}` of collection `{}`: {error}", self.name))
        })?;
        // Cannot fail: serde_json writes UTF-8.
        documents::put(self.name, key, str::from_utf8(&text).expect("UTF-8"));
        TEXT.set(text);
        Ok(())
    }
}

impl<T: Default + Serialize + DeserializeOwned> Collection<T> {
    /// Changes the document at a key, or a new one where there is none, and answers what `change` answers.
    pub fn update<R>(&self, key: impl AsRef<str>, change: impl FnOnce(&mut T) -> R) -> Result<R, Failure> {
        let key = key.as_ref();
        let mut document = self.get(key)?.unwrap_or_default();
        let answer = change(&mut document);
        self.put(key, &document)?;
        Ok(answer)
    }
}

fn parse<T: DeserializeOwned>(collection: &str, key: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::permanent(format_args!(
            "document `{key}` of collection `{collection}` is no {}: {error}; when the type was changed, give new fields \
             `#[serde(default)]` or rebuild the projection",
            std::any::type_name::<T>()
        ))
    })
}

/// The documents of [`Collection::scan`], each with its key.
pub struct Scan<T> {
    collection: &'static str,
    prefix: String,
    after: Option<String>,
    page: IntoIter<documents::Entry>,
    more: bool,
    document: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for Scan<T> {
    type Item = Result<(String, T), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && self.more {
            let page = documents::scan(self.collection, &self.prefix, self.after.as_deref(), PAGE);
            self.more = page.len() == PAGE as usize;
            self.after = page.last().map(|entry| entry.key.clone());
            self.page = page.into_iter();
        }
        let documents::Entry { key, value } = self.page.next()?;
        Some(parse(self.collection, &key, &value).map(|document| (key, document)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::testing::TestHost;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Count {
        count: u64,
    }

    const COUNTS: Collection<Count> = Collection::new("counts");

    struct Counting;

    impl Projection for Counting {
        const NAME: &str = "counting";
        const COLLECTIONS: &[&str] = &[COUNTS.name(), "texts"];
        type Data = ();

        fn handle(event: &Event, (): ()) -> Result<(), Failure> {
            COUNTS.update(event.stream_id(), |count| count.count += 1)?;
            if event.event_type() == "Refused" { Err(Failure::permanent("refused")) } else { Ok(()) }
        }
    }

    #[test]
    fn documents_are_typed() {
        let _host = TestHost::<Counting>::new();
        assert_eq!(COUNTS.get("a").unwrap(), None);
        COUNTS.put("a", &Count { count: 2 }).unwrap();
        assert_eq!(COUNTS.update("a", |count| std::mem::replace(&mut count.count, 3)), Ok(2));
        assert_eq!(COUNTS.get("a").unwrap(), Some(Count { count: 3 }));
        COUNTS.delete("a");
        assert_eq!(COUNTS.get("a").unwrap(), None);
    }

    #[test]
    fn a_document_of_another_type_is_named() {
        let _host = TestHost::<Counting>::new();
        Collection::new("counts").put("a", &"text".to_owned()).unwrap();
        let failure = COUNTS.get("a").unwrap_err();
        for part in ["document `a`", "collection `counts`", "Count", "serde(default)"] {
            assert!(failure.reason().contains(part), "{failure:?} lacks {part}");
        }
    }

    #[test]
    fn a_document_that_is_no_json_is_named() {
        let _host = TestHost::<Counting>::new();
        let odd = [((1, 2), 3)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
        assert!(Collection::new("counts").put("a", &odd).unwrap_err().reason().contains("key must be a string"));
    }

    #[test]
    fn a_scan_goes_over_pages_in_order() {
        let _host = TestHost::<Counting>::new();
        let texts = Collection::<u32>::new("texts");
        for number in (0..3 * PAGE).rev() {
            texts.put(format!("a{number:05}"), &number).unwrap();
        }
        texts.put("b", &0).unwrap();
        let found = texts.scan("a").collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(found.len(), 3 * PAGE as usize);
        assert!(
            found
                .iter()
                .enumerate()
                .all(|(index, (key, number))| *number == index as u32 && *key == format!("a{index:05}"))
        );
        assert_eq!(texts.scan("").count(), found.len() + 1);
        assert_eq!(texts.scan("c").count(), 0);
    }

    #[test]
    fn a_failure_leaves_no_trace() {
        let mut host = TestHost::<Counting>::new();
        host.handle("Count-a", "Counted", "{}").unwrap();
        assert_eq!(host.handle("Count-a", "Refused", "{}"), Err(Failure::permanent("refused")));
        assert_eq!(COUNTS.get("a").unwrap(), Some(Count { count: 1 }));
    }
}
