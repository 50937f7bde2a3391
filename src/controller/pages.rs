//! Lists that are read page by page, so that no long answer is held in memory and no action waits behind one.

use std::fmt::Debug;

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

use crate::error::{Fault, call};

/// Objects in one page.
const PAGE: u32 = 100;

/// Gives every object of a list that has these labels to `take`.
///
/// # Errors
/// When a page cannot be read; what came before has been given by then.
pub async fn each<K>(api: Api<K>, labels: &str, mut take: impl FnMut(K)) -> Result<(), Fault>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().labels(labels).limit(PAGE);
    loop {
        let page = call(api.list(&params)).await?;
        page.items.into_iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}
