//! Which objects are read, and how they are asked for.

use kube::Resource;
use kube::api::{ApiResource, DynamicObject, GetParams, ListParams, WatchParams};

use super::Made;

/// Objects in one answer to a list, which is as much as an action may have to wait for.
const PAGE: u32 = 100;
/// Seconds after which the API server ends a watch, so that it is begun anew elsewhere.
const WATCH_SECONDS: u32 = 290;

/// Objects of one kind, everywhere or in one namespace.
#[derive(Clone, Debug)]
pub struct Scope {
    kind: String,
    path: String,
    labels: Option<String>,
    fields: Option<String>,
    is_metadata: bool,
    is_noted: bool,
    page: u32,
    seconds: u32,
}

impl Scope {
    /// Those of a namespace, or of all.
    pub fn of<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> Scope {
        Scope::at(K::kind(&()).into_owned(), K::url_path(&(), namespace))
    }

    /// The same of a kind that is not known to this program.
    pub fn of_resource(resource: &ApiResource, namespace: Option<&str>) -> Scope {
        Scope::at(resource.kind.clone(), DynamicObject::url_path(resource, namespace))
    }

    fn at(kind: String, path: String) -> Scope {
        Scope {
            kind,
            path,
            labels: None,
            fields: None,
            is_metadata: false,
            is_noted: false,
            page: PAGE,
            seconds: WATCH_SECONDS,
        }
    }

    /// Only those with these labels.
    pub fn labels(self, labels: &str) -> Scope {
        Scope { labels: Some(labels.to_owned()), ..self }
    }

    /// Only those with these fields.
    pub fn fields(self, fields: &str) -> Scope {
        Scope { fields: Some(fields.to_owned()), ..self }
    }

    /// Only their metadata.
    pub fn metadata(self) -> Scope {
        Scope { is_metadata: true, ..self }
    }

    /// With a note of those that a list has and that cannot be read: no watch tells of them.
    pub fn noted(self) -> Scope {
        Scope { is_noted: true, ..self }
    }

    /// So many of them in each answer to a list.
    pub fn pages_of(self, page: u32) -> Scope {
        Scope { page, ..self }
    }

    /// With watches that the API server ends after so many seconds: then it is asked again whether they may be.
    pub fn lasting(self, seconds: u32) -> Scope {
        Scope { seconds, ..self }
    }

    /// The same under another name, beside a watch of the same kind: what is told of the one is not told of the other.
    pub fn called(self, kind: &str) -> Scope {
        Scope { kind: kind.to_owned(), ..self }
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn is_noted(&self) -> bool {
        self.is_noted
    }

    /// Where they are.
    pub fn request(&self) -> kube::core::Request {
        kube::core::Request::new(&self.path)
    }

    /// Asks for the one of this name.
    pub fn named(&self, name: &str) -> Made {
        let params = GetParams::default();
        match self.is_metadata {
            true => self.request().get_metadata(name, &params),
            false => self.request().get(name, &params),
        }
    }

    pub(super) fn list(&self, next: Option<&str>) -> Made {
        let params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(self.page),
            continue_token: next.map(str::to_owned),
            ..ListParams::default()
        };
        match self.is_metadata {
            true => self.request().list_metadata(&params),
            false => self.request().list(&params),
        }
    }

    pub(super) fn watch(&self, version: &str) -> Made {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(self.seconds),
            bookmarks: true,
            ..WatchParams::default()
        };
        match self.is_metadata {
            true => self.request().watch_metadata(&params, version),
            false => self.request().watch(&params, version),
        }
    }
}
