//! What `sluice plan --live` prints.

use serde_json::{Value, json};

use crate::api::{MicroTime, Percent};
use crate::cli::output::table::table;
use crate::cli::plan::live::Outlook;
use crate::engine::forecast::edit::{Edit, Effect, Moment, Onward};
use crate::engine::forecast::timeline::timeline;
use crate::visible::line;

/// What a set of effects is called in a heading.
fn words(effects: &[Effect]) -> String {
    let word = |effect: &Effect| match effect {
        Effect::Refused => "refused",
        Effect::Lowers => "▼ lowers",
        Effect::Pauses => "pauses",
        Effect::Raises => "▲ raises",
        Effect::Resumes => "resumes",
        Effect::ChangesLater => "changes later",
    };
    match effects {
        [] => "nothing changes".to_owned(),
        effects => effects.iter().map(word).collect::<Vec<_>>().join(", "),
    }
}

/// For people: a heading for each rollout, what happens at once, and its cohorts now and later.
pub fn to_text(outlooks: &[(String, Outlook<'_>)], now: MicroTime) -> String {
    let mut out = String::new();
    for (name, outlook) in outlooks {
        if !out.is_empty() {
            out.push('\n');
        }
        match outlook {
            Outlook::New(plan) => {
                let first = timeline(plan, now).entries.first().map(|entry| entry.at.to_string());
                let first = first.unwrap_or_else(|| "never".to_owned());
                out.push_str(&format!("{}: new; its first step would be entered {first}\n", line(name)));
            }
            Outlook::Unknown(why) => out.push_str(&format!("{}: {}\n", line(name), line(why))),
            Outlook::Edited(edit) => {
                out.push_str(&format!("{}: {}\n", line(name), words(&edit.effects())));
                out.push_str(&edited(edit));
            }
        }
    }
    out
}

fn edited(edit: &Edit) -> String {
    let mut out = String::new();
    for refused in &edit.refused {
        out.push_str(&format!("  the API server refuses it: {}\n", line(refused)));
    }
    for happens in &edit.after.happens {
        out.push_str(&format!("  at once: {}\n", line(happens)));
    }
    if let Some(waiting) = &edit.after.waits_for {
        out.push_str(&format!("  then waits for {}: {}\n", waiting.check.as_str(), line(&waiting.message)));
    }
    if edit.effects().is_empty() {
        return out;
    }
    let of = |list: &[(String, Percent)], name: &str| {
        list.iter().find(|(cohort, _)| cohort == name).map(|(_, percent)| *percent)
    };
    let mut names: Vec<&str> = edit.served.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(
        edit.after
            .at_once
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| of(&edit.served, name).is_none()),
    );
    let shown =
        |percent: Option<Percent>| percent.map_or_else(|| "-".to_owned(), |percent| percent.to_string());
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            let (was, is) = (of(&edit.served, name), of(&edit.after.at_once, name));
            let mark = match (was.unwrap_or_default(), is.unwrap_or_default()) {
                (was, is) if is < was => " ▼",
                (was, is) if is > was => " ▲",
                _ => "",
            };
            vec![
                (*name).to_owned(),
                shown(was),
                format!("{}{mark}", shown(is)),
                later(edit.before.as_ref(), name),
                later(Some(&edit.after), name),
            ]
        })
        .collect();
    let table = table(&["COHORT", "NOW", "AT ONCE", "LATER, AS STORED", "LATER, BY THE FILES"], &rows);
    out.extend(table.lines().map(|line| format!("  {line}\n")));
    out
}

/// The later percentages of a cohort, each with its time: `75% 2025-10-06T16:00:00Z`.
fn later(onward: Option<&Onward>, cohort: &str) -> String {
    const SHOWN: usize = 4;
    let Some(onward) = onward else { return "invalid".to_owned() };
    let of = |list: &[(String, Percent)]| list.iter().find(|(name, _)| name == cohort).map(|(_, p)| *p);
    let mut last = of(&onward.at_once);
    let mut changes = Vec::new();
    for Moment { at, cohorts } in &onward.later {
        let percent = of(cohorts);
        if percent != last {
            let lower = if percent < last { "▼ " } else { "" };
            changes.push(format!("{lower}{} {at:.0}", percent.unwrap_or_default()));
            last = percent;
        }
    }
    let more = changes.len().saturating_sub(SHOWN);
    changes.truncate(SHOWN);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    if changes.is_empty() { "-".to_owned() } else { format!("{}{more}", changes.join(", ")) }
}

/// For programs: a stable contract.
pub fn to_json(name: &str, outlook: &Outlook<'_>) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or_default();
    let mut value = json!({"namespace": namespace, "name": name});
    let Some(fields) = value.as_object_mut() else { return value };
    match outlook {
        Outlook::New(_) => _ = fields.insert("effects".to_owned(), json!(["New"])),
        Outlook::Unknown(why) => {
            fields.insert("effects".to_owned(), json!(["Unknown"]));
            fields.insert("message".to_owned(), json!(why));
        }
        Outlook::Edited(edit) => {
            let effects: Vec<&str> = edit.effects().iter().map(|effect| effect.as_str()).collect();
            fields.insert("effects".to_owned(), json!(effects));
            fields.insert("refused".to_owned(), json!(edit.refused));
            fields.insert("now".to_owned(), cohorts(&edit.served));
            fields.insert("asStored".to_owned(), edit.before.as_ref().map_or(Value::Null, onward_json));
            fields.insert("byTheFiles".to_owned(), onward_json(&edit.after));
        }
    }
    value
}

fn onward_json(onward: &Onward) -> Value {
    let later =
        onward.later.iter().map(|moment| json!({"at": moment.at, "cohorts": cohorts(&moment.cohorts)}));
    json!({
        "atOnce": cohorts(&onward.at_once),
        "happens": onward.happens,
        "waitsFor": onward.waits_for,
        "pauses": onward.pauses,
        "later": later.collect::<Vec<_>>(),
        "completedAt": onward.completed_at,
    })
}

fn cohorts(list: &[(String, Percent)]) -> Value {
    list.iter()
        .map(|(name, percent)| (name.clone(), Value::from(percent.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
