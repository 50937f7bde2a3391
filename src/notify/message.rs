//! What a message says: a function of what happened and of the channel's settings.

use minijinja::{Value, context};

use crate::api::notificationchannel::{NotificationChannelSpec, OutboxEntry, Subject, Template};
use crate::api::{MicroTime, Percent, Reason, Severity};

use super::{template, text, words};

/// Most bytes of the first line.
const LONGEST_TITLE: usize = 240;
/// Most bytes of what follows it.
const LONGEST_TEXT: usize = 2800;
/// Most bytes of a fact.
const LONGEST_FACT: usize = 240;

/// A message in words, before it takes the form of a kind of channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The first line.
    pub title: String,
    /// What follows it.
    pub text: String,
    /// What is known besides: names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Where people look at the rollout.
    pub link: Option<String>,
    /// What it says at more length, where it is a digest.
    pub details: Details,
    /// What is wrong with the channel's own words, so that the default ones stand here.
    pub problem: Option<String>,
}

/// What a message says at more length than its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Details {
    /// Nothing: the text is all.
    #[default]
    None,
    /// A digest of rollouts.
    Sections(Vec<Section>),
    /// A report about cohorts.
    Chapters(Vec<Chapter>),
}

/// A report about one cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Namespace of the cohort.
    pub namespace: String,
    /// Name of the CohortSet, or of the rollout that has the cohort for itself.
    pub set: String,
    /// Name of the cohort.
    pub cohort: String,
    /// What people call it.
    pub title: String,
    /// Who these users are, and which time the report is about; a line each.
    pub about: Vec<String>,
    /// All of it in a line.
    pub summary: String,
    /// What it says.
    pub sections: Vec<Section>,
}

/// A part of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is about.
    pub heading: &'static str,
    /// One line a rollout.
    pub rows: Vec<Row>,
}

/// What there is to say of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Namespace and name of the rollout.
    pub rollout: String,
    /// The same for people.
    pub name: String,
    /// What there is to say.
    pub says: String,
    /// The percentage that it is about, where it is about one.
    pub percent: Option<Percent>,
}

/// The words of an entry in a channel.
pub fn message(spec: &NotificationChannelSpec, entry: &OutboxEntry) -> Message {
    let (link, unlinked) = match link(spec, entry) {
        Ok(link) => (link, None),
        Err(problem) => (None, Some(problem)),
    };
    let default = (default_title(entry), text::lines(&entry.message, LONGEST_TEXT));
    let (title, words, problem) = match own(spec, entry, link.as_deref()) {
        Ok(own) => (own.0.unwrap_or(default.0), own.1.unwrap_or(default.1), unlinked),
        Err(problem) => (default.0, default.1, Some(problem)),
    };
    Message { title, text: words, facts: facts(entry), link, details: Details::None, problem }
}

/// What is wrong with the templates of a channel, each with its field: tried with an example.
pub fn problems(spec: &NotificationChannelSpec) -> Vec<String> {
    let mut problems = Vec::new();
    let example = example();
    let found = link(spec, &example);
    let variables = variables(&example, found.as_ref().ok().and_then(|link| link.as_deref()));
    for (i, template) in spec.templates.iter().enumerate() {
        for (field, source) in [("title", &template.title), ("text", &template.text)] {
            let said = source.as_ref().map(|source| template::render(source, &variables));
            if let Some(Err(error)) = said {
                problems.push(format!("spec.templates[{i}].{field}: {error}"));
            }
        }
    }
    problems.extend(found.err());
    problems
}

/// The first line where nobody says anything else.
fn default_title(entry: &OutboxEntry) -> String {
    text::line(&format!("{}: {}", name(entry), words::headline(entry.reason)), LONGEST_TITLE)
}

/// What people call the feature.
pub fn name(entry: &OutboxEntry) -> &str {
    entry.rollout.title.as_deref().unwrap_or(&entry.rollout.name)
}

type Words = (Option<String>, Option<String>);

/// What the channel's own templates say.
fn own(spec: &NotificationChannelSpec, entry: &OutboxEntry, link: Option<&str>) -> Result<Words, String> {
    if spec.templates.is_empty() {
        return Ok((None, None));
    }
    let variables = variables(entry, link);
    let mut own = [None, None];
    for (field, own) in ["title", "text"].into_iter().zip(&mut own) {
        let source = |template: &Template| match field {
            "title" => template.title.clone(),
            _ => template.text.clone(),
        };
        let of = |is_of: &dyn Fn(&Template) -> bool| {
            spec.templates
                .iter()
                .enumerate()
                .filter(|(_, template)| is_of(template))
                .find_map(|(i, template)| Some((i, source(template)?)))
        };
        let found = of(&|template| template.reason == Some(entry.reason))
            .or_else(|| of(&|template| template.reason.is_none()));
        if let Some((i, source)) = found {
            let said = template::render(&source, &variables);
            *own = Some(said.map_err(|error| format!("spec.templates[{i}].{field}: {error}"))?);
        }
    }
    let [title, words] = own;
    Ok((
        title.map(|title| text::line(&title, LONGEST_TITLE)).filter(|title| !title.is_empty()),
        words.map(|words| text::lines(&words, LONGEST_TEXT)),
    ))
}

/// Where people look at the rollout.
fn link(spec: &NotificationChannelSpec, entry: &OutboxEntry) -> Result<Option<String>, String> {
    let Some(source) = &spec.link else { return Ok(None) };
    let link =
        template::render(source, &variables(entry, None)).map_err(|error| format!("spec.link: {error}"))?;
    let link = link.trim();
    match url::Url::parse(link) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.as_str().len() <= 2048 => {
            Ok(Some(url.as_str().to_owned()))
        }
        _ => Err("spec.link: it gives no URL".to_owned()),
    }
}

fn variables(entry: &OutboxEntry, link: Option<&str>) -> Value {
    let rollout = &entry.rollout;
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    context! {
        namespace => rollout.namespace.as_str(),
        name => rollout.name.as_str(),
        uid => rollout.uid.as_str(),
        title => name(entry),
        owner => or_empty(&rollout.owner),
        attempt => rollout.attempt,
        seq => entry.seq,
        at => second(entry),
        reason => entry.reason.as_str(),
        severity => entry.severity.as_str(),
        headline => words::headline(entry.reason),
        message => entry.message.as_str(),
        who => entry.who.as_str(),
        trigger => or_empty(&entry.trigger),
        phase => or_empty(&rollout.phase),
        step => or_empty(&rollout.step),
        exposure => or_empty(&rollout.exposure),
        served => or_empty(&rollout.served),
        link => link.unwrap_or_default(),
    }
}

/// A message to try templates with.
pub fn example() -> OutboxEntry {
    let text = |text: &str| Some(text.to_owned());
    OutboxEntry {
        rollout: Subject {
            namespace: "maya".to_owned(),
            name: "dreams".to_owned(),
            uid: "00000000-0000-0000-0000-000000000000".to_owned(),
            attempt: 1,
            title: text("Dreams"),
            owner: text("team-dreams"),
            phase: text("ga"),
            step: text("1/2"),
            exposure: text("50%"),
            served: text("everyone=50%"),
            is_rolled_back: false,
        },
        seq: 1,
        at: MicroTime::UNIX_EPOCH,
        reason: Reason::StepEntered,
        severity: Severity::Info,
        message: "step 1 of ga".to_owned(),
        who: "schedule".to_owned(),
        trigger: None,
        queued_at: MicroTime::UNIX_EPOCH,
        attempts: 0,
        retry_at: None,
    }
}

/// The instant to the second, UTC.
pub fn second(entry: &OutboxEntry) -> String {
    format!("{:.0}", entry.at)
}

/// What people want to know at a glance.
fn facts(entry: &OutboxEntry) -> Vec<(&'static str, String)> {
    let rollout = &entry.rollout;
    let step = match (&rollout.phase, &rollout.step) {
        (Some(phase), Some(step)) => Some(format!("{phase} ({step})")),
        (phase, step) => phase.clone().or_else(|| step.clone()),
    };
    let severity = (entry.severity > Severity::Info).then(|| entry.severity.as_str().to_owned());
    let facts = [
        ("Severity", severity),
        ("Rollout", Some(format!("{}/{}", rollout.namespace, rollout.name))),
        ("Step", step),
        ("Served", rollout.served.clone()),
        ("Exposure", rollout.exposure.clone()),
        ("Trigger", entry.trigger.clone()),
        ("By", Some(entry.who.clone()).filter(|who| !who.is_empty())),
        ("Owner", rollout.owner.clone()),
        ("At", Some(second(entry))),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, text::line(&value?, LONGEST_FACT))))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
