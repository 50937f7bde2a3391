//! A changelog in three forms: Markdown for people, JSON for programs, and an Atom feed (RFC 4287).

use std::fmt::Write;

use jiff::tz::TimeZone;
use serde_json::json;

use super::Entry;
use crate::api::MicroTime;
use crate::visible;

/// Keys of the ConfigMap for Markdown, JSON and Atom.
pub const KEYS: [&str; 3] = ["changelog.md", "changelog.json", "changelog.atom"];
/// Most bytes of the three texts together: half of what a ConfigMap takes.
const MOST_BYTES: usize = 512 * 1024;

/// What stands over the entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heading {
    /// A URN that stays the same.
    pub id: String,
    /// Title of the changelog.
    pub title: String,
    /// Name of who writes it, for the feed.
    pub author: String,
    /// The page that it belongs to.
    pub link: Option<String>,
    /// When it began: the feed has to say when it changed last, also while nothing is in it.
    pub since: MicroTime,
}

/// The texts by their keys, in the order of [`KEYS`].
pub type Texts = [String; 3];

/// The three texts of the newest entries that they have room for. The same entries always give the same bytes.
pub fn texts(heading: &Heading, entries: &[Entry]) -> Texts {
    let mut room = MOST_BYTES;
    let mut parts = Vec::with_capacity(entries.len());
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        let part = (markdown(entry), json(entry), atom(entry));
        let size = part.0.len() + part.1.len() + part.2.len();
        let Some(left) = room.checked_sub(size) else { break };
        room = left;
        parts.push(part);
        kept.push(entry);
    }
    let mut texts = [markdown_head(heading), json_head(heading), atom_head(heading, &kept)];
    for (i, (markdown, json, atom)) in parts.iter().enumerate() {
        texts[0].push_str(markdown);
        texts[1].push_str(if i == 0 { "\n" } else { ",\n" });
        texts[1].push_str(json);
        texts[2].push_str(atom);
    }
    if parts.is_empty() {
        texts[0].push_str("\nNothing yet.\n");
    }
    texts[1].push_str("\n]}\n");
    texts[2].push_str("</feed>\n");
    texts
}

fn day(at: MicroTime) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

fn instant(at: MicroTime) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What is said of a feature that nobody has any more.
fn withdrawal(entry: &Entry) -> Option<String> {
    entry.withdrawn_at.map(|at| format!("Taken back on {}.", day(at)))
}

fn markdown_head(heading: &Heading) -> String {
    format!("# {}\n", visible::markdown(&heading.title))
}

fn markdown(entry: &Entry) -> String {
    let mut out = format!("\n## {}: {}\n", day(entry.published_at), visible::markdown(&entry.title));
    if let Some(withdrawal) = withdrawal(entry) {
        let _infallible = write!(out, "\n*{withdrawal}*\n");
    }
    if let Some(body) = entry.body.as_deref().map(str::trim).filter(|body| !body.is_empty()) {
        out.push('\n');
        for line in body.lines() {
            out.push_str(&markdown_line(line.trim()));
            out.push('\n');
        }
    }
    if let Some(link) = &entry.link {
        let _infallible = write!(out, "\n[Read more](<{link}>)\n");
    }
    out
}

/// A line that begins nothing but a paragraph: no list, rule, or underlined heading.
fn markdown_line(line: &str) -> String {
    let text = visible::markdown(line);
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if text.starts_with(['-', '+', '=']) {
        return format!("\\{text}");
    }
    if number.len() < text.len() && number.starts_with(['.', ')']) {
        let digits = text.get(..text.len() - number.len()).unwrap_or_default();
        return format!("{digits}\\{number}");
    }
    text
}

fn json_head(heading: &Heading) -> String {
    let mut head = json!({"id": heading.id, "title": heading.title});
    if let Some(link) = &heading.link {
        head["link"] = link.as_str().into();
    }
    let text = head.to_string();
    format!("{},\"entries\":[", text.strip_suffix('}').unwrap_or(&text))
}

fn json(entry: &Entry) -> String {
    let text = serde_json::to_string(entry).unwrap_or_else(|_| "{}".to_owned());
    visible::json(&text).into_owned()
}

fn atom_head(heading: &Heading, entries: &[&Entry]) -> String {
    let updated = entries.iter().map(|entry| entry.updated_at).max().unwrap_or(heading.since);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>
<feed xmlns=\"http://www.w3.org/2005/Atom\">
<id>{}</id>
<title>{}</title>
<updated>{}</updated>
<author><name>{}</name></author>
<generator>Sluice</generator>
",
        xml(&heading.id),
        xml(&heading.title),
        instant(updated),
        xml(&heading.author),
    );
    if let Some(link) = &heading.link {
        let _infallible = writeln!(out, "<link rel=\"alternate\" href=\"{}\"/>", xml(link));
    }
    out
}

fn atom(entry: &Entry) -> String {
    let mut out = format!(
        "<entry>
<id>{}</id>
<title>{}</title>
<published>{}</published>
<updated>{}</updated>
",
        xml(&entry.id),
        xml(&entry.title),
        instant(entry.published_at),
        instant(entry.updated_at),
    );
    if let Some(link) = &entry.link {
        let _infallible = writeln!(out, "<link rel=\"alternate\" href=\"{}\"/>", xml(link));
    }
    let words = [withdrawal(entry), Some(entry.body.clone().unwrap_or_else(|| entry.title.clone()))];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let _infallible =
        write!(out, "<content type=\"text\">{}</content>\n</entry>\n", xml(&words.join("\n\n")));
    out
}

/// A text as XML takes it: what nobody sees is spelt out, and what no document may have is left out.
fn xml(text: &str) -> String {
    let is_allowed = |c: &char| !matches!(c, '\u{fffe}' | '\u{ffff}');
    visible::markup(&visible::text(text).chars().filter(is_allowed).collect::<String>())
}
