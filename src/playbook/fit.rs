//! What gives way where a status would be too large.

use crate::api::PlaybookStatus;

/// Most bytes of a status, with room left for its conditions: 16 KiB in all.
const MOST: usize = 14 * 1024;

/// Leaves out the success of the last rollouts by name, and counts them, then the last of what is blocked, then why criteria of the
/// playbook have no value. What is left fits: phases and milestones are few, and their names are short.
pub(super) fn fit(status: &mut PlaybookStatus) {
    let mut over = size(status).saturating_sub(MOST);
    while over > 0 {
        let Some(last) = status.success.pop() else { break };
        status.success_omitted = status.success_omitted.saturating_add(1);
        over = over.saturating_sub(bytes(&last));
    }
    let mut over = size(status).saturating_sub(MOST);
    while over > 0 {
        let Some(last) = status.blocked.pop() else { break };
        over = over.saturating_sub(bytes(&last));
    }
    if size(status) > MOST {
        status.criteria.iter_mut().for_each(|criterion| criterion.message = None);
    }
}

fn size(status: &PlaybookStatus) -> usize {
    bytes(status)
}

fn bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |bytes| bytes.len())
}
