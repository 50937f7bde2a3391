//! YAML as kubectl reads it, with the line of every field.
//!
//! kubectl's reader follows YAML 1.1: a bare `on`, `off`, `yes`, `no`, `y` or `n` is a boolean, `010` is eight. What
//! is accepted here must be what the API server gets, so the scalars are resolved by those rules and not by YAML 1.2.

use std::collections::BTreeMap;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

mod scalar;

use scalar::resolve;

/// Values of one document above which its aliases count as an attack on memory.
const MOST_VALUES: usize = 200_000;
/// Lists and maps of either style inside of each other above which the parser refuses a document.
const MOST_NESTED: usize = 64;
/// Nesting above which what aliases unfold to is refused.
const MOST_DEPTH: usize = 2 * MOST_NESTED;

/// One document of a file.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Its text.
    pub text: String,
    /// The content; null for an empty document.
    pub value: Value,
    /// Line of each field, by its path: `spec.phases[0].name`. The document itself is the empty path.
    pub lines: BTreeMap<String, usize>,
    /// Scalars that look like words and are read as booleans, by path, as they are written.
    pub bare: BTreeMap<String, String>,
    /// What is wrong with the text: line, path and message.
    pub problems: Vec<(usize, String, String)>,
}

/// Every document of a text. One that cannot be parsed has a null value and a problem; the others are still read.
pub fn documents(text: &str) -> Vec<Document> {
    let parts = split(text).into_iter().flat_map(|(line, text)| json_values(text, line));
    parts.map(|(line, text)| document(text, line)).filter(|d| !d.is_empty()).collect()
}

impl Document {
    /// Whether a word stands anywhere in its text.
    pub fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }

    fn is_empty(&self) -> bool {
        self.value.is_null() && self.problems.is_empty()
    }
}

/// The path of a key inside of `parent`.
pub fn key_path(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The path of an item of the list at `parent`.
pub fn item_path(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The documents of a text and the lines before each, split as kubectl does: at lines of `---` and a comment at most.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---").map(str::trim);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#')) {
            documents.push((start_line, text.get(start..at).unwrap_or_default()));
            (start, start_line) = (at + line.len(), i + 1);
        }
        at += line.len();
    }
    documents.push((start_line, text.get(start..).unwrap_or_default()));
    documents
}

/// The JSON values that stand one after the other in a text, as kubectl reads them; a text that is something else stays
/// whole.
fn json_values(text: &str, lines_before: usize) -> Vec<(usize, &str)> {
    if !text.trim_start().starts_with('{') {
        return vec![(lines_before, text)];
    }
    let mut values = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let mut start = 0;
    while let Some(value) = stream.next() {
        let end = stream.byte_offset();
        let (Ok(_), Some(value)) = (value, text.get(start..end)) else { return vec![(lines_before, text)] };
        let before = text.get(..start).unwrap_or_default();
        values.push((lines_before + before.matches('\n').count(), value));
        start = end;
    }
    values
}

/// The value of a text that is JSON. YAML reads most of JSON, but not all of its escapes.
fn json(text: &str) -> Option<Value> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

fn document(text: &str, lines_before: usize) -> Document {
    let mut document = Document { text: text.to_owned(), ..Document::default() };
    match parse(text) {
        Ok(None) => {}
        Ok(Some(root)) => {
            let mut reader = Reader { document: &mut document, lines_before, values: 0 };
            let value = reader.value(&root, String::new(), 0);
            document.value = value;
        }
        Err(_) if json(text).is_some() => {
            let blank = text.len() - text.trim_start().len();
            let line = lines_before + 1 + text.get(..blank).unwrap_or_default().matches('\n').count();
            document.lines.insert(String::new(), line);
            document.value = json(text).unwrap_or_default();
        }
        Err(error) => {
            let line = lines_before + error.marker().line().max(1);
            let message = format!("is no YAML, at column {}: {}", error.marker().col() + 1, error.info());
            document.problems.push((line, String::new(), message));
        }
    }
    document
}

/// A parsed node; aliases share theirs.
struct Node {
    line: usize,
    kind: Kind,
}

enum Kind {
    Scalar { text: String, plain: bool, tag: Option<String> },
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

fn parse(text: &str) -> Result<Option<Rc<Node>>, ScanError> {
    let mut options = Options::default();
    (options.flow_nesting_limit, options.block_nesting_limit) = (MOST_NESTED, MOST_NESTED);
    let events = Box::new(Parser::new_from_str_with_options(text, options));
    let mut builder = Builder { events, anchors: BTreeMap::new() };
    while let Some((event, span)) = builder.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::DocumentEnd | Event::StreamEnd => return Ok(None),
            event => {
                let root = builder.node(event, span)?;
                // Errors after the root, such as a stray indentation, must not be lost.
                while builder.next()?.is_some() {}
                return Ok(root);
            }
        }
    }
    Ok(None)
}

type Events<'a> = Box<dyn Iterator<Item = Result<(Event<'a>, Span), ScanError>> + 'a>;

struct Builder<'a> {
    events: Events<'a>,
    anchors: BTreeMap<usize, Rc<Node>>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, ScanError> {
        for event in self.events.by_ref() {
            let (event, span) = event?;
            if !matches!(event, Event::Comment(..)) {
                return Ok(Some((event, span)));
            }
        }
        Ok(None)
    }

    /// The node that begins with `event`. What is open is in a list of its own, so nothing is called once a level.
    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Option<Rc<Node>>, ScanError> {
        let mut open: Vec<Open> = Vec::new();
        let mut next = (event, span);
        loop {
            let line = next.1.start.line();
            let done = match next.0 {
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = style == ScalarStyle::Plain;
                    let tag = tag.as_deref().map(full_tag);
                    let kind = Kind::Scalar { text: text.into_owned(), plain, tag };
                    Some(self.keep(line, anchor, kind))
                }
                Event::SequenceStart(_, anchor, _) => {
                    open.push(Open { line, anchor, key: None, kind: Kind::List(Vec::new()) });
                    None
                }
                Event::MappingStart(_, anchor, _) => {
                    open.push(Open { line, anchor, key: None, kind: Kind::Map(Vec::new()) });
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop().map(|open| self.keep(open.line, open.anchor, open.kind))
                }
                Event::Alias(id) => self.anchors.get(&id).cloned(),
                _ => None,
            };
            if let Some(node) = done {
                match open.last_mut() {
                    Some(open) => open.add(node),
                    None => return Ok(Some(node)),
                }
            }
            next = match self.next()? {
                Some(next) if !open.is_empty() => next,
                _ => return Ok(None),
            };
        }
    }

    fn keep(&mut self, line: usize, anchor: usize, kind: Kind) -> Rc<Node> {
        let node = Rc::new(Node { line, kind });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        node
    }
}

/// A list or a map whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    /// In a map, the key whose value comes next.
    key: Option<Rc<Node>>,
    kind: Kind,
}

impl Open {
    fn add(&mut self, node: Rc<Node>) {
        match &mut self.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match self.key.take() {
                Some(key) => entries.push((key, node)),
                None => self.key = Some(node),
            },
            Kind::Scalar { .. } => {}
        }
    }
}

fn full_tag(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

struct Reader<'a> {
    document: &'a mut Document,
    lines_before: usize,
    values: usize,
}

impl Reader<'_> {
    fn problem(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        self.document.problems.push((self.lines_before + node.line, path.to_owned(), message.into()));
    }

    fn value(&mut self, node: &Node, path: String, depth: usize) -> Value {
        self.values += 1;
        if self.values == MOST_VALUES || depth == MOST_DEPTH {
            self.problem(node, &path, "is too deep or too large: its aliases unfold without end");
        }
        if self.values >= MOST_VALUES || depth >= MOST_DEPTH {
            return Value::Null;
        }
        self.document.lines.entry(path.clone()).or_insert(self.lines_before + node.line);
        match &node.kind {
            Kind::Scalar { text, plain, tag } => match resolve(text, *plain, tag.as_deref()) {
                Ok(value) => {
                    if value.is_boolean() && !matches!(text.to_ascii_lowercase().as_str(), "true" | "false") {
                        self.document.bare.insert(path, text.clone());
                    }
                    value
                }
                Err(message) => {
                    self.problem(node, &path, message);
                    Value::Null
                }
            },
            Kind::List(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items.map(|(i, item)| self.value(item, item_path(&path, i), depth + 1)).collect(),
                )
            }
            Kind::Map(entries) => self.map(entries, &path, depth),
        }
    }

    fn map(&mut self, entries: &[(Rc<Node>, Rc<Node>)], path: &str, depth: usize) -> Value {
        let mut map = Map::new();
        let mut merged: Vec<&Rc<Node>> = Vec::new();
        for (key, value) in entries {
            let Kind::Scalar { text, plain, tag } = &key.kind else {
                self.problem(key, path, "has a key that is no string");
                continue;
            };
            if *plain && tag.is_none() && text == "<<" {
                merged.push(value);
                continue;
            }
            let name = match resolve(text, *plain, tag.as_deref()) {
                Ok(Value::Bool(read)) => {
                    self.problem(
                        key,
                        &key_path(path, text),
                        format!("the key {text} is read as a boolean by kubectl: quote it"),
                    );
                    read.to_string()
                }
                Ok(Value::String(name)) => name,
                Ok(other) => other.to_string(),
                Err(_) => text.clone(),
            };
            let at = key_path(path, &name);
            // The key's line is where the field is, whatever its value spans.
            self.document.lines.insert(at.clone(), self.lines_before + key.line);
            let value = self.value(value, at.clone(), depth + 1);
            if map.insert(name, value).is_some() {
                self.problem(key, &at, "stands twice: the last one would win unseen");
            }
        }
        for node in merged {
            self.merge(node, path, depth, &mut map);
        }
        Value::Object(map)
    }

    /// `<<: *anchor` adds the keys that the map itself does not have.
    fn merge(&mut self, node: &Node, path: &str, depth: usize, into: &mut Map<String, Value>) {
        let sources: Vec<&Node> = match &node.kind {
            Kind::Map(_) => vec![node],
            Kind::List(items) => items.iter().map(Rc::as_ref).collect(),
            Kind::Scalar { .. } => Vec::new(),
        };
        if sources.is_empty() {
            self.problem(node, path, "`<<` merges a map or a list of maps");
        }
        for source in sources {
            if let Value::Object(more) = self.value(source, path.to_owned(), depth + 1) {
                for (key, value) in more {
                    into.entry(key).or_insert(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
