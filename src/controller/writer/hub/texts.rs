//! The texts of the files as they were last seen or written. They are packed: one is needed again only when the ConfigMap is lost or
//! edited, and takes many times the room.

use super::Hub;
use crate::controller::cache::{ObjectKey, Packed};
use crate::controller::index::SetId;
use crate::controller::writer::found::Remembered;
use crate::flags::{self, File};

/// Whether the text of a file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller::writer) enum Keeps {
    /// It is.
    Text,
    /// Its namespace has more than it may have in memory: what tells one text from another is.
    Digest,
}

impl Hub {
    /// The file of [`Hub::remembered`], where its text is kept.
    pub(in crate::controller::writer) fn last_good(&self, set: &SetId, output: &ObjectKey) -> Option<File> {
        self.unpack(&self.remembered(set, output)?.text?)
    }

    fn unpack(&self, text: &Packed) -> Option<File> {
        flags::parse(std::str::from_utf8(&self.2.unpack(text).ok()?).ok()?).ok()
    }

    /// Remembers what a file holds.
    pub(in crate::controller::writer) fn keep_last_good(
        &self,
        set: &SetId,
        output: &ObjectKey,
        text: &str,
        serial: u64,
        keeps: Keeps,
    ) {
        let sha256 = flags::sha256_hex(text.as_bytes());
        let mut inner = self.lock();
        let outputs = inner.files.get_mut(set).map(|kept| &mut kept.outputs);
        let kept = outputs.and_then(|outputs| outputs.iter_mut().find(|(known, _)| known == output));
        let Some((_, kept)) = kept else { return };
        let before = kept.take().filter(|known| *known.sha256 == *sha256).and_then(|known| known.text);
        let text = match keeps {
            Keeps::Text => Some(before.unwrap_or_else(|| self.2.pack(text.as_bytes()))),
            Keeps::Digest => None,
        };
        *kept = Some(Remembered { sha256: sha256.into(), text, serial });
    }

    /// Lets go of the texts of a set's files, which its namespace has no room for any more.
    pub fn let_go_of_texts(&self, set: &SetId) {
        let mut inner = self.lock();
        let outputs = inner.files.get_mut(set).map(|kept| &mut kept.outputs);
        for (_, kept) in outputs.into_iter().flatten() {
            if let Some(kept) = kept {
                kept.text = None;
            }
        }
    }

    /// Audiences, by namespace and name, that flags in the files are rendered from as far as this process has seen them.
    pub fn audiences_in_files(&self) -> Vec<ObjectKey> {
        let texts: Vec<(String, Packed)> = {
            let inner = self.lock();
            let texts = inner.files.iter().flat_map(|(set, kept)| {
                let texts = kept.outputs.iter().filter_map(|(_, kept)| kept.as_ref()?.text.clone());
                texts.map(|text| (set.namespace.clone(), text))
            });
            texts.collect()
        };
        let files = texts.iter().filter_map(|(namespace, text)| Some((namespace, self.unpack(text)?)));
        files
            .flat_map(|(namespace, file)| {
                file.audiences().map(|name| (namespace.clone(), name)).collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_without_room_it_is_remembered_which_it_was_and_with_room_its_text_again() {
        let set = SetId { namespace: "ns".to_owned(), name: "app".to_owned(), shared: true };
        let (map, text) = (("ns".to_owned(), "app".to_owned()), "{\"flags\": {}}");
        let hub = Hub::default();
        hub.mailbox(&set);
        hub.set_outputs(&set, std::slice::from_ref(&map));
        let keep = |serial, keeps| hub.keep_last_good(&set, &map, text, serial, keeps);
        let known = || {
            let known = hub.remembered(&set, &map).unwrap();
            (known.serial, *known.sha256 == *flags::sha256_hex(text.as_bytes()), known.text.is_some())
        };
        keep(1, Keeps::Text);
        assert_eq!(known(), (1, true, true));
        hub.let_go_of_texts(&set);
        assert_eq!((known(), hub.last_good(&set, &map).is_some()), ((1, true, false), false));
        keep(2, Keeps::Digest);
        assert_eq!(known(), (2, true, false));
        keep(2, Keeps::Text);
        assert_eq!((known(), hub.last_good(&set, &map).is_some()), ((2, true, true), true));
    }
}
