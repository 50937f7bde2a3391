//! Room in the ConfigMap: Kubernetes takes 1 MiB, and the last part of it is kept free for lowering.

use serde_json::Value;

use super::canonical;
use super::file::{File, compose};
use super::fragment::{Fragment, LiveFlag, live};

/// Most bytes that a file may have.
pub const LIMIT: usize = 1_048_576;
/// Most bytes that a file may have after anything but a lowering: 95 % of [`LIMIT`].
pub const RAISE_LIMIT: usize = LIMIT / 20 * 19;

/// Most changes that turn out not to fit. Each of them takes a copy of the whole file, and a thousand rollouts can ask for room in
/// a file that has none.
const MISFITS: usize = 32;

// How often the thread has tried whether something fits.
#[cfg(test)]
thread_local!(pub(super) static TRIED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

/// What fits.
pub(super) struct Fitted {
    pub(super) file: File,
    pub(super) text: String,
    /// Indices of the changes that do not fit, with the size the file would have had.
    pub(super) too_large: Vec<(usize, usize)>,
    pub(super) set_too_large: Option<usize>,
}

/// Applies the FlagSet's part and the changes to `base` as far as they fit; `all` is `base` with every change.
///
/// Lowerings go first and may use the whole limit; a flag that becomes no longer always fits. What makes its flag longer by no
/// less than one that did not fit is not tried, nor is anything longer once [`MISFITS`] did not.
pub(super) fn fit(base: File, mut all: File, set: Option<File>, changes: &[(usize, &Fragment)]) -> Fitted {
    if let Some(set) = &set {
        apply_set(&mut all, set);
    }
    let text = compose(&all);
    if text.len() <= RAISE_LIMIT {
        return Fitted { file: all, text, too_large: Vec::new(), set_too_large: None };
    }
    let mut room = Room { text: compose(&base), file: base };
    let mut too_large = Vec::new();
    let (lowering, raising): (Vec<_>, Vec<_>) =
        changes.iter().partition(|(_, fragment)| lowers(room.file.live(&fragment.key), live(&fragment.body)));
    for (index, fragment) in lowering {
        too_large.extend(room.put(fragment, LIMIT).map(|size| (index, size)));
    }
    let set_too_large = set.and_then(|set| room.change(RAISE_LIMIT, |file| apply_set(file, &set)));
    let mut misfits: Vec<usize> = Vec::new();
    for (index, fragment) in raising {
        let longer = room.lengthens(fragment);
        let is_hopeless =
            |bytes: &usize| misfits.len() >= MISFITS || misfits.iter().any(|misfit| misfit <= bytes);
        let size = match longer.filter(is_hopeless) {
            Some(bytes) => Some(room.text.len() + bytes),
            None => room.put(fragment, RAISE_LIMIT).inspect(|_| misfits.extend(longer)),
        };
        too_large.extend(size.map(|size| (index, size)));
    }
    Fitted { file: room.file, text: room.text, too_large, set_too_large }
}

struct Room {
    file: File,
    text: String,
}

impl Room {
    /// By how many bytes a change makes its flag longer, if it does.
    fn lengthens(&self, fragment: &Fragment) -> Option<usize> {
        let length = |body: &Value| canonical::text(body).len();
        let before = self.file.members.get(&fragment.key).map_or(0, length);
        length(&fragment.body).checked_sub(before).filter(|bytes| *bytes > 0)
    }

    fn put(&mut self, fragment: &Fragment, limit: usize) -> Option<usize> {
        self.change(limit, |file| {
            file.members.insert(fragment.key.clone(), fragment.body.clone());
            file.statics.remove(&fragment.key);
        })
    }

    /// Makes a change if it fits, else says the size it would have made.
    fn change(&mut self, limit: usize, change: impl FnOnce(&mut File)) -> Option<usize> {
        #[cfg(test)]
        TRIED.set(TRIED.get() + 1);
        let mut file = self.file.clone();
        change(&mut file);
        let text = compose(&file);
        if text.len() > limit && text.len() > self.text.len() {
            return Some(text.len());
        }
        *self = Room { file, text };
        None
    }
}

fn apply_set(file: &mut File, set: &File) {
    file.statics.clone_from(&set.statics);
    file.metadata.clone_from(&set.metadata);
    file.set.clone_from(&set.set);
    let members = &file.members;
    file.statics.retain(|key, _| !members.contains_key(key));
}

/// Whether a change gives no cohort more, to the same audience.
fn lowers(old: Option<LiveFlag>, new: Option<LiveFlag>) -> bool {
    let (Some(old), Some(new)) = (old, new) else {
        return false;
    };
    old.audience == new.audience
        && new.served.iter().all(|(cohort, percent)| {
            let before = old.served.iter().find(|(name, _)| name == cohort);
            before.is_some_and(|(_, before)| percent <= before)
        })
}
