//! The places that one file is written to: ConfigMaps, and a FeatureFlag where one is asked for.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DynamicObject;

use super::found::Found;
use super::{config_map, feature_flag};
use crate::api::FlagSet;
use crate::api::flagset::{FileOutput, Output};
use crate::controller::cache::{ObjectKey, Stored};
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::error::Fault;
use crate::flags::{self, Keys, LiveFlag};

/// One place.
pub(super) enum Target {
    /// A key of a ConfigMap.
    ConfigMap(Output),
    /// A FeatureFlag of this name.
    FeatureFlag(String),
}

/// The object that is there.
pub(super) enum Over {
    ConfigMap(Stored<ConfigMap>),
    FeatureFlag(Box<DynamicObject>),
}

/// The places of a set, ConfigMaps first: they need nothing installed.
pub(super) fn targets(set: &SetId, flag_set: Option<&FlagSet>) -> Vec<Target> {
    let maps = config_map::outputs(set, flag_set).into_iter().map(Target::ConfigMap);
    let flag = flag_set.and_then(|set| set.spec.feature_flag.as_ref());
    maps.chain(flag.map(|reference| Target::FeatureFlag(reference.name.clone()))).collect()
}

/// ConfigMaps, and FeatureFlags, that are kept up to date for a FlagSet that is gone: as many as one has outputs, and had others before.
const MOST_LEFT: usize = 20;

/// The places that still hold files of a FlagSet that is gone: the objects marked as its own, and not more than one can have.
///
/// # Errors
/// When they cannot be listed.
pub(super) async fn left_behind(ctx: &Context, set: &SetId) -> Result<Vec<Target>, Fault> {
    let keys = ctx.signing.keys(ctx).await?;
    let maps = config_map::left_behind(ctx, set, &keys, MOST_LEFT).await?.into_iter().map(Target::ConfigMap);
    let flags = feature_flag::left_behind(ctx, set, MOST_LEFT).await?.into_iter().map(Target::FeatureFlag);
    Ok(maps.chain(flags).collect())
}

impl Target {
    /// As a FlagSet's status names it.
    pub(super) fn as_output(&self) -> FileOutput {
        match self {
            Target::ConfigMap(Output { config_map, key, .. }) => FileOutput {
                config_map: Some(config_map.clone()),
                key: Some(key.clone()),
                ..FileOutput::default()
            },
            Target::FeatureFlag(name) => {
                FileOutput { feature_flag: Some(name.clone()), ..FileOutput::default() }
            }
        }
    }

    /// The place that a status names.
    pub(super) fn of_output(output: FileOutput) -> Option<Target> {
        let of_map = |config_map: String| {
            let whole = Output::default_for(&config_map);
            Target::ConfigMap(Output { key: output.key.unwrap_or_else(|| whole.key.clone()), ..whole })
        };
        output.config_map.map(of_map).or(output.feature_flag.map(Target::FeatureFlag))
    }

    /// Kind and name, for people.
    pub(super) fn title(&self) -> String {
        self.as_output().title()
    }

    /// Why no object of this name may be made, where the operator's administrators do not allow it. What is there goes on.
    pub(super) fn is_not_allowed(&self, ctx: &Context) -> Option<String> {
        let Target::ConfigMap(output) = self else { return None };
        let names = &ctx.output_names;
        (!names.allow(&output.config_map)).then(|| {
            format!(
                "{} may not be made: the operator allows files under the names {names} only",
                self.title()
            )
        })
    }

    /// Where the spec names it, for people.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Target::ConfigMap(_) => "outputs",
            Target::FeatureFlag(_) => "featureFlag",
        }
    }

    /// Under which name its file is remembered.
    pub(super) fn memory_key(&self, set: &SetId) -> ObjectKey {
        match self {
            Target::ConfigMap(output) => (set.namespace.clone(), output.config_map.clone()),
            Target::FeatureFlag(name) => feature_flag::memory_key(set, name),
        }
    }

    /// What is there; `None` where the cluster knows no such kind.
    ///
    /// # Errors
    /// When it cannot be read, and when there is no key that would tell what is Sluice's.
    pub(super) async fn read(
        &self,
        ctx: &Context,
        set: &SetId,
        flag_set: Option<&FlagSet>,
    ) -> Result<Option<Found<Over>>, Fault> {
        let keys = ctx.signing.keys(ctx).await?;
        let found = self.read_by(ctx, set, flag_set, &keys).await?;
        if found.as_ref().is_some_and(Found::is_edited)
            // It may be signed with a key that this process has not heard of yet.
            && let Some(newer) = ctx.signing.newer(ctx, &keys).await
        {
            return self.read_by(ctx, set, flag_set, &newer).await;
        }
        Ok(found)
    }

    async fn read_by(
        &self,
        ctx: &Context,
        set: &SetId,
        flag_set: Option<&FlagSet>,
        keys: &Keys,
    ) -> Result<Option<Found<Over>>, Fault> {
        match self {
            // A new rollout's file is made without a look for one.
            Target::ConfigMap(_) if !set.shared && config_map::is_absent(ctx, &self.memory_key(set)) => {
                Ok(Some(Found::Nothing))
            }
            Target::ConfigMap(output) => {
                let found = config_map::read(ctx, set, flag_set, output, keys).await?;
                Ok(Some(found.map(Over::ConfigMap)))
            }
            Target::FeatureFlag(name) => {
                let found = feature_flag::read(ctx, set, flag_set, name, keys).await?;
                Ok(found.map(|found| found.map(|object| Over::FeatureFlag(Box::new(object)))))
            }
        }
    }

    /// Reads it past the cache, where there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn refresh(&self, ctx: &Context, set: &SetId) -> Result<(), Fault> {
        match self {
            Target::ConfigMap(_) => config_map::refresh(ctx, &self.memory_key(set)).await.map(drop),
            Target::FeatureFlag(_) => Ok(()),
        }
    }

    /// The bytes as they come back from there.
    pub(super) fn spelling(&self, text: String) -> String {
        match self {
            Target::ConfigMap(_) => text,
            Target::FeatureFlag(_) => flags::feature_flag::spelling(&text),
        }
    }

    /// Writes the file over what was found, or into a new object, signed as the version of this serial.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn write(
        &self,
        ctx: &Context,
        set: &SetId,
        over: Option<&Over>,
        text: &str,
        serial: u64,
    ) -> Result<(), Fault> {
        let owner = set.owner();
        let place = match self {
            Target::ConfigMap(output) => config_map::place(set, &owner, output),
            Target::FeatureFlag(name) => feature_flag::place(set, &owner, name),
        };
        let signature = ctx.signing.keys(ctx).await?.sign(&place, serial, text);
        match (self, over) {
            (Target::ConfigMap(output), over) => {
                let over = over.and_then(|over| match over {
                    Over::ConfigMap(stored) => Some(stored),
                    Over::FeatureFlag(_) => None,
                });
                config_map::write(ctx, set, output, over, text, &signature).await
            }
            (Target::FeatureFlag(name), over) => {
                let over = over.and_then(|over| match over {
                    Over::FeatureFlag(object) => Some(&**object),
                    Over::ConfigMap(_) => None,
                });
                feature_flag::write(ctx, set, name, over, text, &signature).await
            }
        }
    }
}

/// What the file of a set says of a flag key: of any rollout, living or not, as far as somebody vouches for it.
///
/// # Errors
/// When the file could not be read.
pub async fn live_flag(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    flag: &str,
) -> Result<Option<LiveFlag>, Fault> {
    for output in config_map::outputs(set, flag_set) {
        let target = Target::ConfigMap(output);
        let file = match target.read(ctx, set, flag_set).await? {
            Some(Found::Trusted { file, .. }) => Some(file),
            // Better what this process remembers, if it does.
            Some(Found::Edited { .. } | Found::Nothing) => ctx.hub.last_good(set, &target.memory_key(set)),
            Some(Found::Strangers(_)) | None => None,
        };
        if let Some(live) = file.and_then(|file| file.live(flag)) {
            return Ok(Some(live));
        }
    }
    Ok(None)
}

impl Over {
    /// Why no write to it can be taken, whoever may write, where its content says so.
    pub(super) fn unwritable(&self, is_former: bool) -> Option<String> {
        match self {
            Over::ConfigMap(stored) => config_map::unwritable(stored, is_former),
            Over::FeatureFlag(_) => None,
        }
    }

    /// Whether it carries the marks of this set.
    pub(super) fn is_marked(&self, set: &SetId) -> bool {
        match self {
            Over::ConfigMap(stored) => config_map::is_marked(set, stored),
            Over::FeatureFlag(object) => feature_flag::is_marked(set, &**object),
        }
    }
}
