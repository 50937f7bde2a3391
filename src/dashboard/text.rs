//! The templates, and how texts that people wrote get into them.
//!
//! There is one way: every value that a template prints is spelt out where it would hide or turn something, and then
//! escaped. Nothing of an object is ever marked as safe.

use std::collections::BTreeMap;

use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value, escape_formatter};

use crate::api::MicroTime;
use crate::plan::calendar;
use crate::visible;

/// The values of a template: each by the name of a variable or by `name => expression`, and `..more`, of which those before count
/// first. Nothing is moved into it.
macro_rules! context {
    (@value $key:ident) => { $crate::dashboard::text::value(&$key) };
    (@value $key:ident => $value:expr) => { $crate::dashboard::text::value(&$value) };
    ($($key:ident $(=> $value:expr)?),* $(, ..$more:expr)* $(,)?) => {
        $crate::dashboard::text::merged(
            minijinja::Value::from_pairs([
                $((stringify!($key), $crate::dashboard::text::context!(@value $key $(=> $value)?))),*
            ]),
            [$($more),*],
        )
    };
    (..$first:expr $(, ..$more:expr)* $(,)?) => {
        $crate::dashboard::text::merged($first, [$($more),*])
    };
}
pub(super) use context;

/// Anything as a template reads it.
pub fn value<T: serde::Serialize + ?Sized>(value: &T) -> Value {
    Value::from(Serde(value))
}

/// The values of the first, and those of the others that it has not.
pub fn merged<const N: usize>(first: Value, more: [Value; N]) -> Value {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for part in more.into_iter().rev().chain([first]) {
        for key in part.try_iter().into_iter().flatten() {
            if let (Some(name), Ok(value)) = (key.as_str(), part.get_item(&key)) {
                all.insert(name.to_owned(), value);
            }
        }
    }
    Value::from_pairs(all)
}

/// Name and text of each template.
const TEMPLATES: [(&str, &str); 14] = [
    ("base.html", include_str!("templates/base.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("list.html", include_str!("templates/list.html")),
    ("rollout.html", include_str!("templates/rollout.html")),
    ("act.html", include_str!("templates/act.html")),
    ("playbooks.html", include_str!("templates/playbooks.html")),
    ("playbook.html", include_str!("templates/playbook.html")),
    ("files.html", include_str!("templates/files.html")),
    ("file.html", include_str!("templates/file.html")),
    ("try.html", include_str!("templates/try.html")),
    ("enter.html", include_str!("templates/enter.html")),
    ("left.html", include_str!("templates/left.html")),
    ("again.html", include_str!("templates/again.html")),
    ("problem.html", include_str!("templates/problem.html")),
];

/// The templates, compiled.
///
/// # Errors
/// A template is broken, which a test holds not to happen.
pub fn templates() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
    env.set_formatter(shown);
    env.add_filter("own", own);
    env.add_filter("width", width);
    env.add_filter("told", told);
    env.add_function("time", time);
    env.add_function("far", far);
    env.add_function("names", names);
    for (name, text) in TEMPLATES {
        env.add_template(name, text)?;
    }
    Ok(env)
}

/// Prints a value: whatever is a text is spelt out first, then escaped.
fn shown(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => {
            out.write_str(&escaped(&visible::text(text))).map_err(|_| Error::from(ErrorKind::WriteFailure))
        }
        _ => escape_formatter(out, state, value),
    }
}

/// What somebody is editing, given back as it was written: escaped, and nothing else.
fn own(text: &str) -> Value {
    Value::from_safe_string(escaped(text))
}

/// A text as it may stand in an element and in an attribute's quotes.
pub fn escaped(text: &str) -> String {
    // It cannot stand in a page at all.
    visible::markup(text).replace('\0', "")
}

/// Thousandths of a per cent as part of a width of 100.
fn width(thousandths: u32) -> String {
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    format!("{whole}.{rest:03}")
}

/// A sentence of the operator: text as any, and the instants in it as times.
fn told(text: &str, options: Kwargs) -> Result<Value, Error> {
    let zone: Option<String> = options.get("zone")?;
    options.assert_all_used()?;
    let plain = |part: &str| escaped(&visible::text(part));
    let (mut out, mut after) = (String::new(), 0);
    for (from, to, at) in instants(text) {
        out += &plain(text.get(after..from).unwrap_or_default());
        out += &element(at, zone.as_deref());
        after = to;
    }
    out += &plain(text.get(after..).unwrap_or_default());
    Ok(Value::from_safe_string(out))
}

/// The instants that a text names, each with where it begins and ends.
fn instants(text: &str) -> impl Iterator<Item = (usize, usize, MicroTime)> + '_ {
    text.match_indices('Z').filter_map(|(last, _)| {
        let before = text.get(..last)?;
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T');
        let from = before.trim_end_matches(is_part).len();
        let to = last + 1;
        Some((from, to, text.get(from..to)?.parse().ok()?))
    })
}

/// Whether a text names this instant, to the second.
fn names(text: &str, instant: &str) -> bool {
    let Ok(wanted) = instant.parse::<MicroTime>() else { return false };
    instants(text).any(|(_, _, at)| at.as_second() == wanted.as_second())
}

/// How far an instant is away.
fn far(instant: &str, now: &str) -> Result<String, Error> {
    Ok(distance(parsed(instant)?, parsed(now)?))
}

fn parsed(text: &str) -> Result<MicroTime, Error> {
    text.parse().map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("no instant: {error}")))
}

/// An instant in a zone, as an element from which the browser makes the reader's own time.
///
/// `time(instant, zone=name, now=instant)`: with `now` it says how long ago or how soon that is, too.
fn time(instant: Value, options: Kwargs) -> Result<Value, Error> {
    let Some(text) = instant.as_str() else { return Ok(Value::from("")) };
    let at = parsed(text)?;
    let zone: Option<String> = options.get("zone")?;
    let now: Option<String> = options.get("now")?;
    options.assert_all_used()?;
    let relative = match now {
        Some(now) => format!(" <span class=\"ago\">({})</span>", distance(at, parsed(&now)?)),
        None => String::new(),
    };
    Ok(Value::from_safe_string(format!("{}{relative}", element(at, zone.as_deref()))))
}

fn element(at: MicroTime, zone: Option<&str>) -> String {
    let zone = zone.and_then(calendar::zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let zoned = at.to_zoned(zone);
    let shown = zoned.strftime("%a %-d %b %Y, %H:%M %Z");
    let minutes = zoned.offset().seconds() / 60;
    format!("<time datetime=\"{at}\" data-offset=\"{minutes}\">{shown}</time>")
}

/// How far away an instant is, in the largest unit that says enough.
pub fn distance(at: MicroTime, now: MicroTime) -> String {
    let seconds = at.duration_since(now).as_secs();
    let (count, unit) = match seconds.unsigned_abs() {
        0..60 => return if seconds > 0 { "in a moment" } else { "just now" }.to_owned(),
        s @ 60..5_400 => ((s + 30) / 60, "min"),
        s @ 5_400..129_600 => ((s + 1_800) / 3_600, "h"),
        s => ((s + 43_200) / 86_400, "d"),
    };
    if seconds > 0 { format!("in {count} {unit}") } else { format!("{count} {unit} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, value: &str) -> String {
        let env = templates().unwrap();
        env.render_named_str("test.html", template, context! { value }).unwrap()
    }

    #[test]
    fn what_stands_first_counts() {
        let base = context! { a => 1, b => 1, c => 1 };
        let all = context! { b => 2, ..context! { c => 3, ..base } };
        let read = |name: &str| all.get_attr(name).unwrap().to_string();
        assert_eq!(["a", "b", "c"].map(read), ["1", "2", "3"]);
    }

    #[test]
    fn what_people_wrote_is_text_wherever_it_is_printed() {
        let hostile = "</script><img src=x onerror=\"alert('1')\">\u{202e}\u{200b}&\u{0}";
        for template in [
            "<p>{{ value }}</p>",
            "<a title=\"{{ value }}\">",
            "{{ value ~ '' }}",
            "{{ [value]|join(',') }}",
            "{{ value|told }}",
            "{{ (value ~ '2025-09-08T16:00:00Z' ~ value)|told(zone='Europe/Berlin') }}",
        ] {
            let page = rendered(template, hostile);
            assert!(!page.contains("<img") && !page.contains("</script"), "{page}");
            assert!(!page.contains('\u{202e}') && !page.contains('\u{0}'), "{page:?}");
            assert!(!page.contains("onerror=\""), "{page}");
        }
        let edited = rendered("<textarea>{{ value|own }}</textarea>", "a\tb\n</textarea><script>");
        assert_eq!(edited, "<textarea>a\tb\n&lt;/textarea&gt;&lt;script&gt;</textarea>");
    }

    #[test]
    fn an_instant_within_a_sentence_is_a_time() {
        let shown = rendered(
            "{{ value|told(zone='America/Los_Angeles') }}",
            "the hold before ga/half lasts until 2025-09-08T16:00:00Z; AZ 12:00Z and 2025-99-08T16:00:00Z are none",
        );
        assert_eq!(
            shown,
            "the hold before ga/half lasts until <time datetime=\"2025-09-08T16:00:00Z\" data-offset=\"-420\">\
             Mon 8 Sep 2025, 09:00 PDT</time>; AZ 12:00Z and 2025-99-08T16:00:00Z are none"
        );
        let text = "due at 2025-09-08T16:00:00Z";
        assert!(names(text, "2025-09-08T16:00:00.250000Z") && !names(text, "2025-09-08T16:00:01Z"));
        assert!(!names(text, "no instant") && !names("", "2025-09-08T16:00:00Z"));
    }

    #[test]
    fn times_are_in_the_zone_of_the_rollout_and_say_how_far_they_are() {
        let shown = rendered(
            "{{ time(value, zone='America/Los_Angeles', now='2025-09-08T14:00:00Z') }}",
            "2025-09-08T16:00:00.000000Z",
        );
        assert_eq!(
            shown,
            "<time datetime=\"2025-09-08T16:00:00Z\" data-offset=\"-420\">Mon 8 Sep 2025, 09:00 PDT</time> \
             <span class=\"ago\">(in 2 h)</span>"
        );
        let t = |text: &str| text.parse::<MicroTime>().unwrap();
        let from = t("2025-09-08T00:00:00Z");
        for (to, said) in [
            ("2025-09-08T00:00:30Z", "in a moment"),
            ("2025-09-07T23:59:30Z", "just now"),
            ("2025-09-07T23:00:00Z", "60 min ago"),
            ("2025-09-10T00:00:00Z", "in 2 d"),
        ] {
            assert_eq!(distance(t(to), from), said);
        }
    }
}
