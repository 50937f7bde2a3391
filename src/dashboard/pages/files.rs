//! The files that apps read, and what one user gets from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use minijinja::Value;

use super::list::{LISTING, notice};
use super::{Problem, base, file_link, link, query, rollout_link, show};
use crate::api::{FeatureRollout, FlagSet, Percent};
use crate::bounds::{self, VALUE, measure};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::form::Fields;
use crate::dashboard::read::{self, ReadError, Seen, said};
use crate::dashboard::row::Row;
use crate::dashboard::text::context;
use crate::flags::{self, File, LiveFlag};

/// Most bytes of a context that is evaluated.
const MOST_CONTEXT: usize = 16 * 1024;
/// Most attributes that are listed.
const MOST_ATTRIBUTES: usize = 20;

/// Every file that the rollouts of the person are in.
pub async fn all(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let circle = visitor.person.circle();
    let board = &circle.rollouts.board;
    board.listed(LISTING).await;
    let mut files: BTreeMap<(String, &'static str, String), Vec<Arc<Row>>> = BTreeMap::new();
    for row in board.rows() {
        let (kind, name) = match &row.flag_set {
            Some(set) => ("flagset", set.clone()),
            None => ("rollout", row.id.name.clone()),
        };
        files.entry((row.id.namespace.clone(), kind, name)).or_default().push(row);
    }
    let told: Vec<Value> = files
        .iter()
        .map(|((namespace, kind, name), rows)| {
            let rows: Vec<Value> = rows
                .iter()
                .map(|row| {
                    context! { link => rollout_link(&row.id.namespace, &row.id.name), title => row.title }
                })
                .collect();
            let of = if *kind == "flagset" { "FlagSet" } else { "the rollout itself" };
            context! { link => file_link(namespace, kind, name), namespace, name, kind => of, rows }
        })
        .collect();
    let values = context! { files => told, notices => Vec::from_iter(notice(&board.standing())), ..base(&app, Some(&visitor), "files") };
    show(&app, "files.html", values)
}

/// One file.
pub async fn page(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    uri: Uri,
) -> Response {
    let client = &visitor.person.client;
    let flag_set = match kind.as_str() {
        "flagset" => match read::own::<FlagSet>(client, &namespace, &name).await {
            Ok(set) => Some(set),
            Err(ReadError::Unreadable(why)) => {
                let why = format!("FlagSet {name} cannot be read: {why}");
                return Problem::Later(why).page(&app, Some(&visitor));
            }
            Err(ReadError::Fault(fault)) => return Problem::from(fault).page(&app, Some(&visitor)),
        },
        "rollout" => None,
        _ => return Problem::Missing("there is no such file".to_owned()).page(&app, Some(&visitor)),
    };
    let place = read::place(flag_set.as_ref(), &name);
    let (text, problem) = match read::file(client, &namespace, &place).await {
        Ok(Some(text)) => (Some(text), None),
        Ok(None) => (None, Some(format!("There is no ConfigMap {} with a key {} yet.", place.0, place.1))),
        Err(fault) => (None, Some(said(&fault))),
    };
    let link = file_link(&namespace, &kind, &name);
    let kind = if flag_set.is_some() { "FlagSet" } else { "Rollout without a FlagSet" };
    let start = context! {
        namespace, name, kind, link, config_map => place.0, key => place.1, ..base(&app, Some(&visitor), "files")
    };
    let fields = query(&uri);
    // Whoever may write the ConfigMap may have written anything.
    let _place = app.files.acquire().await;
    let read = |text| flags::parse_within(text, bounds::json::FILE_DECODED);
    let values = match text.as_deref().map(read) {
        Some(Ok(file)) => {
            let size = text.as_deref().map(str::len);
            let flags: Vec<Value> =
                file.flags().into_iter().map(|(key, body)| flag(&link, &file, &key, &body)).collect();
            let asked = asked(&visitor, &file, &fields).await;
            let mut attributes = BTreeSet::new();
            for (_, body) in file.flags() {
                body.get("targeting").into_iter().for_each(|rules| looked_at(rules, &mut attributes));
            }
            let attributes: Vec<String> = attributes.into_iter().take(MOST_ATTRIBUTES).collect();
            context! { flags, attributes, size, text, ..context! { ..asked, ..start } }
        }
        Some(Err(error)) => context! { problem => format!("The file cannot be read: {error}"), ..start },
        None => context! { problem, ..start },
    };
    show(&app, "file.html", values)
}

/// The attributes of a user that a part of the rules of a flag looks at, by which people know what to ask for.
fn looked_at(part: &serde_json::Value, found: &mut BTreeSet<String>) {
    match part {
        serde_json::Value::Object(fields) => {
            let name = fields.get("var").map(|var| var.get(0).unwrap_or(var));
            // Within a loop over a list the empty name is the element; flagd's own are no attributes.
            let name = name.and_then(serde_json::Value::as_str);
            found.extend(name.filter(|name| !name.is_empty() && !name.starts_with('$')).map(str::to_owned));
            fields.values().for_each(|field| looked_at(field, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| looked_at(item, found)),
        _ => {}
    }
}

fn flag(file_link: &str, file: &File, key: &str, body: &serde_json::Value) -> Value {
    let live = file.rollout_of(key);
    let variants: Vec<String> = body
        .get("variants")
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let bar = |(name, percent): &(String, Percent)| {
        context! {
            name, served => percent.to_string(), served_width => percent.thousandths(),
            pending_width => percent.thousandths(),
        }
    };
    context! {
        key,
        link => format!("{}#ask", link(file_link, &[("flag", key)])),
        variants => variants.join(", "),
        rollout => live.as_ref().map(|live| live.rollout.clone()),
        rollout_link => live.as_ref().map(|live| rollout_link(&live.namespace, &live.rollout)),
        served => live.as_ref().map(|live| live.served.iter().map(bar).collect::<Vec<_>>()),
        revision => live.as_ref().map_or_else(|| "–".to_owned(), |live| live.revision.to_string()),
    }
}

/// What one user gets, where somebody asks.
async fn asked(visitor: &Visitor, file: &File, fields: &Fields) -> Value {
    let example = "{\"targetingKey\": \"user-1\"}";
    let context_text = fields.whole("context").unwrap_or(example);
    let asked = fields.text("flag");
    let start = context! { asked, context => context_text };
    let (Some(key), Some(_)) = (asked, fields.text("context")) else { return start };
    match evaluated(visitor, file, key, context_text).await {
        Ok(result) => context! { result, ..start },
        Err(wrong) => context! { wrong, ..start },
    }
}

async fn evaluated(visitor: &Visitor, file: &File, key: &str, text: &str) -> Result<Value, String> {
    if text.len() > MOST_CONTEXT {
        return Err(format!("the context is longer than {MOST_CONTEXT} bytes"));
    }
    let context: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("the context is no JSON: {error}"))?;
    measure(&context, VALUE).map_err(|excess| format!("the context {excess}"))?;
    let serde_json::Value::Object(context) = context else {
        return Err("the context is no JSON object".to_owned());
    };
    let live = file.rollout_of(key);
    let seen = match &live {
        Some(live) => owner(visitor, live).await,
        None => None,
    };
    let plan = seen.as_ref().and_then(|seen| seen.plan.as_ref().ok());
    let audience = plan.map(|plan| &plan.audience);
    let found = flags::evaluate(file, key, &context, audience).map_err(|error| error.to_string())?;
    let served = found.cohort.as_deref().zip(live.as_ref()).and_then(|(cohort, live)| {
        let (_, percent) = live.served.iter().find(|(name, _)| name == cohort)?;
        Some(percent.to_string())
    });
    let share = plan.zip(found.cohort.as_deref()).and_then(|(plan, name)| plan.cohort(name)?.share);
    let bucket = plan.and_then(|plan| {
        let user = context.get(&plan.feature.bucket_by)?.as_str()?;
        let bucket = Percent::from_thousandths(flags::bucket(&plan.feature.salt, user))?;
        let text = bucket.to_string();
        Some(format!("{text}: has the feature where its cohort is served more than {text}"))
    });
    let reason = serde_json::to_value(found.reason).unwrap_or_default();
    Ok(context! {
        value => found.value.to_string(),
        variant => found.variant.unwrap_or_else(|| "–".to_owned()),
        reason => reason.as_str(),
        cohort => found.cohort.unwrap_or_else(|| match audience {
            Some(_) => "none takes this user in".to_owned(),
            None => "not known: the flag is static, or its rollout cannot be read".to_owned(),
        }),
        served,
        share => share.map(|share| share.to_string()),
        bucket => bucket.unwrap_or_else(|| "not known: the user has no such attribute, or nobody is split".to_owned()),
    })
}

/// The rollout of a flag, where the person may read it and it still is the one that wrote the flag.
async fn owner(visitor: &Visitor, live: &LiveFlag) -> Option<Seen> {
    let seen = read::rollout(&visitor.person.client, &live.namespace, &live.rollout).await.ok()?;
    let is_it = |rollout: &FeatureRollout| rollout.metadata.uid.as_deref() == Some(live.uid.as_str());
    is_it(&seen.rollout).then_some(seen)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_flag_looks_at_is_known_from_its_rules() {
        let rules = json!({"if": [
            {"some": [{"merge": [{"var": "email"}]}, {"==": [{"var": ""}, "a"]}]}, "enabled",
            {"in": [{"var": ["segment", "none"]}, ["A"]]}, "enabled",
            {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}, ["enabled", 5]]},
        ]});
        let mut found = BTreeSet::new();
        looked_at(&rules, &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["email", "segment", "targetingKey"]);
    }
}
