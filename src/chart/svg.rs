//! Writes SVG: elements in order, attributes and text escaped, numbers short.

use std::fmt::Write;

use super::style::{PALETTE, RULES};
use crate::visible::{line, markup};

/// An SVG document in the making. Elements that are opened are closed at the end, so what comes out is well-formed.
pub struct Svg {
    out: String,
    open: Vec<&'static str>,
}

/// Where the look of a picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It stands in the picture, which is a file of its own.
    Own,
    /// The page that the picture is a part of has it, as [`RULES`], with colours of its own: the policy of a page may
    /// allow no style inside of it.
    OfPage,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Text, escaped when it is written.
    Text(&'a str),
    /// A number, written with two decimals at most; one that is no number as 0.
    Number(f64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Value<'a> {
        Value::Text(text)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

/// The attributes of an element: name and value.
pub type Attributes<'a> = &'a [(&'static str, Value<'a>)];

impl Svg {
    /// A document of this size in pixels, with a name and a description for those who do not see it.
    pub fn new(width: f64, height: f64, title: &str, description: &str, look: Look) -> Svg {
        let mut svg = Svg { out: String::new(), open: Vec::new() };
        let (w, h) = (number(width), number(height));
        svg.open(
            "svg",
            &[
                ("xmlns", "http://www.w3.org/2000/svg".into()),
                ("class", "sluice-chart".into()),
                ("width", width.into()),
                ("height", height.into()),
                ("viewBox", format!("0 0 {w} {h}").as_str().into()),
                ("role", "img".into()),
                ("aria-label", title.into()),
            ],
        );
        svg.words("title", title);
        svg.words("desc", description);
        if look == Look::Own {
            svg.out.push_str("<style>");
            svg.out.push_str(PALETTE);
            svg.out.push_str(RULES);
            svg.out.push_str("</style>\n");
        }
        svg
    }

    /// Begins an element that holds others.
    pub fn open(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str(">\n");
        self.open.push(name);
    }

    /// Ends the element that was begun last.
    pub fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            let _ = writeln!(self.out, "</{name}>");
        }
    }

    /// An element that holds nothing.
    pub fn element(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str("/>\n");
    }

    /// The same with a text that shows while somebody points at it.
    pub fn element_with_tip(&mut self, name: &'static str, attributes: Attributes<'_>, tip: &str) {
        if tip.is_empty() {
            return self.element(name, attributes);
        }
        self.tag(name, attributes);
        let _ = writeln!(self.out, "><title>{}</title></{name}>", escape(tip));
    }

    /// A line of text, whose baseline begins, is centred or ends (`start`, `middle`, `end`) at a point.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: &'static str, class: &'static str, text: &str) {
        self.tag(
            "text",
            &[("x", x.into()), ("y", y.into()), ("text-anchor", anchor.into()), ("class", class.into())],
        );
        let _ = writeln!(self.out, ">{}</text>", escape(text));
    }

    /// A rectangle with rounded corners.
    pub fn rect(&mut self, area: Area, radius: f64, class: &str, tip: &str) {
        let Area { x, y, width, height } = area;
        self.element_with_tip(
            "rect",
            &[
                ("x", x.into()),
                ("y", y.into()),
                ("width", width.max(0.0).into()),
                ("height", height.max(0.0).into()),
                ("rx", radius.into()),
                ("class", class.into()),
            ],
            tip,
        );
    }

    /// A straight line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &'static str) {
        self.element(
            "line",
            &[
                ("x1", x1.into()),
                ("y1", y1.into()),
                ("x2", x2.into()),
                ("y2", y2.into()),
                ("class", class.into()),
            ],
        );
    }

    /// A line through points; it is lifted where a point is `None`.
    pub fn polyline(&mut self, points: impl IntoIterator<Item = Option<(f64, f64)>>, class: &str) {
        let mut d = String::new();
        let mut drawing = false;
        for point in points {
            if let Some((x, y)) = point {
                let _ = write!(d, "{}{} {}", if drawing { "L" } else { "M" }, number(x), number(y));
            }
            drawing = point.is_some();
        }
        if !d.is_empty() {
            self.element("path", &[("d", d.as_str().into()), ("class", class.into())]);
        }
    }

    /// The document.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn words(&mut self, name: &'static str, text: &str) {
        let _ = writeln!(self.out, "<{name}>{}</{name}>", escape(text));
    }

    fn tag(&mut self, name: &'static str, attributes: Attributes<'_>) {
        let _ = write!(self.out, "<{name}");
        for (name, value) in attributes {
            let value = match value {
                Value::Text(text) => escape(text),
                Value::Number(value) => number(*value),
            };
            let _ = write!(self.out, " {name}=\"{value}\"");
        }
    }
}

/// A rectangle of the page, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Text as it may stand in an element or an attribute: on one line, with nothing that XML reads or forbids.
pub fn escape(text: &str) -> String {
    // XML has no way to write these two.
    markup(&line(text)).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// A number with two decimals at most.
fn number(value: f64) -> String {
    let value = if value.is_finite() { (value * 100.0).round() / 100.0 } else { 0.0 };
    // Minus zero is a number of its own.
    if value == 0.0 { "0".to_owned() } else { format!("{value}") }
}

/// About how wide a text is at a size of letters, in the same unit as the size.
pub fn text_width(text: &str, size: f64) -> f64 {
    let width = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' | '-' | '/' => {
            0.34
        }
        'm' | 'w' | 'M' | 'W' | '%' | '→' | '…' => 0.88,
        'A'..='Z' => 0.68,
        c if c.is_ascii() => 0.57,
        c if u32::from(c) >= 0x1100 => 1.05,
        _ => 0.62,
    };
    text.chars().map(width).sum::<f64>() * size
}

/// As much of a text as fits into a width, with an ellipsis where that is not all of it.
pub fn fitting(text: &str, size: f64, room: f64) -> String {
    if text_width(text, size) <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        if text_width(&out, size) + text_width("…", size) > room {
            out.pop();
            break;
        }
    }
    format!("{}…", out.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_tenant_writes_stays_text() {
        let mut svg = Svg::new(10.0, 10.0, "</title><script>alert(1)</script>", "a & b", Look::Own);
        svg.text((1.0, 2.0), "start", "label", "<b>\u{1b}[2J \"x\" 'y' \u{202e}\u{ffff}");
        svg.rect(Area { x: 0.0, y: 0.0, width: -3.0, height: f64::NAN }, 0.0, "\" onload=\"x", "tip]]>");
        let text = svg.finish();
        assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("class=\"&quot; onload=&quot;x\""), "{text}");
        assert!(
            text.contains("&lt;b&gt;\\u{1b}[2J &quot;x&quot; &#39;y&#39; \\u{202e}\u{fffd}</text>"),
            "{text}"
        );
        assert!(text.contains("width=\"0\" height=\"0\""), "{text}");
        assert!(text.trim_end().ends_with("</svg>"), "{text}");
    }

    #[test]
    fn numbers_are_short_and_are_numbers() {
        for (value, written) in
            [(1.0, "1"), (-0.001, "0"), (2.0 / 3.0, "0.67"), (f64::INFINITY, "0"), (-1.5, "-1.5")]
        {
            assert_eq!(number(value), written);
        }
    }

    #[test]
    fn a_line_is_lifted_where_there_is_no_point() {
        let mut svg = Svg::new(1.0, 1.0, "", "", Look::Own);
        svg.polyline([Some((0.0, 1.0)), Some((1.0, 1.0)), None, Some((2.0, 0.5))], "curve");
        assert!(svg.finish().contains("d=\"M0 1L1 1M2 0.5\""));
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fitting("short", 10.0, 100.0), "short");
        let cut = fitting("a name that is far too long for its place", 10.0, 80.0);
        assert!(cut.ends_with('…') && text_width(&cut, 10.0) <= 80.0, "{cut}");
    }
}
