//! Secrets and ConfigMaps that objects of admins name, each read once.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use serde::de::DeserializeOwned;

use super::Cluster;
use crate::error::Fault;
use crate::sources::{self, Wanted};

impl Cluster {
    /// What is there of this in a namespace.
    ///
    /// # Errors
    /// When the API server does not give it. What is not there is no error.
    pub async fn secrets(
        &self,
        namespace: &str,
        wanted: &[Wanted],
    ) -> Result<BTreeMap<Wanted, sources::Secret>, Fault> {
        let mut found = BTreeMap::new();
        let mut secrets: BTreeMap<String, Option<Secret>> = BTreeMap::new();
        let mut maps: BTreeMap<String, Option<ConfigMap>> = BTreeMap::new();
        for wanted in wanted {
            let bytes = match wanted {
                Wanted::Secret { name, key } => {
                    let secret = self.once(namespace, &mut secrets, name).await?;
                    secret.and_then(|secret| secret.data.as_ref()?.get(key)).map(|bytes| bytes.0.clone())
                }
                Wanted::ConfigMap { name, key } => {
                    let map = self.once(namespace, &mut maps, name).await?;
                    map.and_then(|map| map.data.as_ref()?.get(key)).map(|text| text.clone().into_bytes())
                }
            };
            if let Some(bytes) = bytes {
                found.insert(wanted.clone(), sources::Secret::new(bytes));
            }
        }
        Ok(found)
    }

    async fn once<'a, K>(
        &self,
        namespace: &str,
        read: &'a mut BTreeMap<String, Option<K>>,
        name: &str,
    ) -> Result<Option<&'a K>, Fault>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        if !read.contains_key(name) {
            let object = self.get::<K>(&(namespace.to_owned(), name.to_owned())).await?;
            read.insert(name.to_owned(), object.and_then(|object| object.0.ok()));
        }
        Ok(read.get(name).and_then(Option::as_ref))
    }
}
