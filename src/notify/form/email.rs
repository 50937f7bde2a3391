//! Letters: plain text, and the same as HTML.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::{Message as Letter, MultiPart};
use minijinja::{AutoEscape, Environment, Value, context};

use crate::api::MicroTime;
use crate::notify::channel::Mail;
use crate::notify::message::{Chapter, Details, Message, Row, Section};
use crate::notify::{cohorts, digest};

/// The HTML of every letter.
const HTML: &str = include_str!("email.html");

/// What a letter is about: `id` stays the same however often it is sent, and letters with the same `thread` belong together.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// What tells it from every other.
    pub id: &'a str,
    /// What it belongs to, if to anything.
    pub thread: Option<&'a str>,
}

/// A letter as it goes over the wire.
///
/// # Errors
/// What cannot be written.
pub fn letter(mail: &Mail, message: &Message, about: About<'_>, now: MicroTime) -> Result<Vec<u8>, String> {
    let domain = mail.from.email.domain();
    let id = |id: &str| format!("<{}@{domain}>", id.replace('/', "."));
    let since = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
    let mut builder = Letter::builder()
        .from(mail.from.clone())
        .subject(message.title.clone())
        .date(UNIX_EPOCH + since)
        .message_id(Some(id(about.id)));
    for to in &mail.to {
        builder = builder.to(to.clone());
    }
    if let Some(thread) = about.thread {
        builder = builder.references(id(thread));
    }
    let html = html(message)?;
    let letter = builder.multipart(MultiPart::alternative_plain_html(text(message), html));
    letter.map(|letter| letter.formatted()).map_err(|error| error.to_string())
}

/// The text of a letter.
pub fn text(message: &Message) -> String {
    let words = match &message.details {
        Details::None => message.text.clone(),
        // All of it: a letter may be longer than what chats take.
        Details::Sections(sections) => digest::plain(sections),
        Details::Chapters(chapters) => chapters.iter().map(chapter_text).collect::<Vec<_>>().join("\n"),
    };
    let facts: String = message.facts.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let link = message.link.iter().map(|link| format!("{link}\n")).collect();
    let parts = [message.title.clone(), words, facts, link];
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

/// The HTML of a letter. What others wrote is text in it, whatever it holds.
///
/// # Errors
/// What is wrong with the template, which is this program's.
pub fn html(message: &Message) -> Result<String, String> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let template =
        environment.template_from_named_str("letter.html", HTML).map_err(|error| error.to_string())?;
    let pairs = |pairs: &[(String, String)]| -> Value {
        pairs.iter().map(|(a, b)| Value::from(vec![a.clone(), b.clone()])).collect::<Vec<_>>().into()
    };
    let facts: Vec<(String, String)> =
        message.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let (sections, chapters): (Vec<Value>, Vec<Value>) = match &message.details {
        Details::None => (Vec::new(), Vec::new()),
        Details::Sections(sections) => (sections.iter().map(section).collect(), Vec::new()),
        Details::Chapters(chapters) => (Vec::new(), chapters.iter().map(chapter).collect()),
    };
    let lines: Vec<String> = match message.details {
        Details::None => message.text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        Details::Sections(_) | Details::Chapters(_) => Vec::new(),
    };
    let variables = context! {
        title => message.title.as_str(),
        lines => lines,
        facts => pairs(&facts),
        sections => sections,
        chapters => chapters,
        link => message.link.clone(),
    };
    template.render(variables).map_err(|error| error.to_string())
}

/// A report about a cohort in the text of a letter.
fn chapter_text(chapter: &Chapter) -> String {
    let line = "=".repeat(chapter.title.chars().count());
    format!("{}\n{line}\n{}", chapter.title, cohorts::plain(chapter))
}

fn chapter(chapter: &Chapter) -> Value {
    let sections: Vec<Value> = chapter.sections.iter().map(section).collect();
    context! {
        title => chapter.title.as_str(),
        about => chapter.about.clone(),
        summary => chapter.summary.as_str(),
        sections => sections,
    }
}

fn section(section: &Section) -> Value {
    let rows: Vec<Value> = section.rows.iter().map(row).collect();
    context! { heading => section.heading, alarms => section.heading == digest::ATTENTION, rows => rows }
}

fn row(row: &Row) -> Value {
    let percent = row.percent.map(|percent| format!("{:.1}", f64::from(percent.thousandths()) / 1000.0));
    context! { name => row.name.as_str(), says => row.says.as_str(), percent => percent }
}
